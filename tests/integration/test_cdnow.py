"""CDNOW, eighteen months of a real shop's orders: the tracker's totals against those computed from the file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.integration.pipeline import Pipeline, write_events
from tests.services import KafkaServer, RedisServer, missing
from tracker.domain.events import Event


class Purchase(NamedTuple):
    """One line of the file."""

    customer: str
    day: str
    dollars: Decimal


@pytest.fixture(scope="module")
def purchases() -> list[Purchase]:
    spec = find_spec("lifetimes")  # finds the package without importing it, and so without what it needs
    if spec is None or spec.origin is None:
        missing("the CDNOW data set", "`make test` installs it (group `data` of pyproject.toml)")
    text = (Path(spec.origin).parent / "datasets" / "CDNOW_master.txt").read_text("ascii")
    rows = [line.split() for line in text.splitlines()[1:] if line.strip()]
    return [Purchase(customer, day, Decimal(dollars)) for customer, day, _, dollars in rows]


def canonical(purchases: list[Purchase]) -> Iterator[Event]:
    """Each purchase an order of its own; those of one customer on one day are seconds apart, from noon on."""
    of_the_day: Counter[tuple[str, str]] = Counter()
    for number, (customer, day, dollars) in enumerate(purchases):
        noon = datetime.strptime(day, "%Y%m%d").replace(hour=12, tzinfo=UTC)
        yield Event(
            event_id=f"cdnow-{number}",
            type="order_completed",
            ts=int(noon.timestamp() * 1000) + 1000 * of_the_day[customer, day],
            customer_id=customer,
            order_id=f"order-{number}",
            value=float(dollars),
            currency="USD",
        )
        of_the_day[customer, day] += 1


def test_the_file_is_the_one_that_the_figures_are_known_of(purchases: list[Purchase]) -> None:
    assert len(purchases) == 69_659
    assert len({purchase.customer for purchase in purchases}) == 23_570
    assert sum(purchase.dollars for purchase in purchases) == Decimal("2500315.63")


async def test_customers_orders_revenue_and_loyal_customers_equal_those_of_the_file(
    kafka: KafkaServer, redis_server: RedisServer, namespace: str, tmp_path: Path, purchases: list[Purchase]
) -> None:
    orders_of = Counter(purchase.customer for purchase in purchases)
    loyal = {f"c:{customer}" for customer, orders in orders_of.items() if orders >= 2}

    pipeline = Pipeline(kafka, redis_server, namespace, tmp_path)
    pipeline.run("topics")
    recording = write_events(tmp_path / "cdnow.jsonl", canonical(purchases))
    with pipeline.worker():
        done = json.loads(pipeline.run("replay", "--json", str(recording), timeout=240))
    assert done["events"] == 69_659

    counters = pipeline.counters()
    assert counters["people"] == 23_570
    assert counters["orders"] == 69_659
    assert Decimal(counters["revenue:USD"]) / 10_000 == Decimal("2500315.63")

    transitions = await pipeline.read("journey.transitions")
    assert len({transition["id"] for transition in transitions}) == len(transitions)
    orders = Counter(t["person_id"] for t in transitions if t["direction"] == "converted")
    assert orders == {f"c:{customer}": count for customer, count in orders_of.items()}
    assert {t["person_id"] for t in transitions if t["to_phase"] == "lojalitet"} == loyal
    assert counters["entered:nettbutikk-5:lojalitet:*"] == len(purchases) - len(orders_of)
    assert not await pipeline.read("journey.dropoffs")
    assert not await pipeline.read("journey.late")
