"""People who are known to be the same by an order, a cart or a checkout alone, through the real commands and over four
partitions: the claims of an id, the visitor and the customer mostly live in three different ones.

Each story is told of many people at once; what `tracker journey` answers is asked at the end.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.integration.disturbance import TOPICS, assert_once
from tests.integration.pipeline import PARTITIONS, Pipeline, write_events
from tests.services import KafkaServer, RedisServer
from tracker.domain.events import Event, Item
from tracker.wire.partition import partition_of

TEN = 1_772_445_600_000
MINUTE = 60_000
LATER = 24 * 60
"""Minutes after which the second recording begins: in which order events of one recording come in is open."""
PEOPLE = range(12)
CART, BOTH, CHAIN, BURNED = "cart", "both", "chain", "burned"


def events(number: int) -> Iterator[Event]:
    """All stories of one person, each with ids of its own."""

    def told(story: str, minutes: float, kind: str, who: str, **more: Any) -> Event:
        """`who` is `c`, `d` (customers) or any other letter (visitors)."""
        field = "customer_id" if who in "cd" else "anonymous_id"
        event_id = f"{story}-{number}-{minutes}-{who}"
        more |= {field: f"{story}-{who}{number}"}
        return Event(event_id, kind, int(TEN + minutes * MINUTE) + number, currency="NOK", **more)

    def named(story: str, kind: str) -> str:
        return f"{story}-{kind}{number}"

    dress = [Item("dress", price=100.0)]
    yield told(CART, 0, "product_added", "v", cart_id=named(CART, "k"), items=dress)
    yield told(CART, 20, "order_completed", "c", cart_id=named(CART, "k"), order_id=named(CART, "o"), value=100.0)
    # the design's trace 9, by a visitor
    order = named(BOTH, "o")
    yield told(BOTH, -10, "checkout_started", "v", items=dress)
    yield told(BOTH, 0, "order_completed", "c", order_id=order, value=90.0)
    yield told(BOTH, 0.005, "order_completed", "v", order_id=order, items=dress, channel="email")
    yield told(BOTH, 0.02, "payment_failed", "v", order_id=order)
    yield told(BOTH, 3, "product_viewed", "v", items=dress)
    # phone and laptop share a cart, laptop and backend a checkout
    yield told(CHAIN, 0, "product_added", "p", cart_id=named(CHAIN, "k"), items=dress)
    yield told(CHAIN, 5, "checkout_started", "l", cart_id=named(CHAIN, "k"), checkout_id=named(CHAIN, "t"))
    yield told(CHAIN, 10, "order_completed", "c", checkout_id=named(CHAIN, "t"), order_id=named(CHAIN, "o"), value=80.0)
    # two customers name a cart before a visitor does
    yield told(BURNED, 0, "cart_viewed", "c", cart_id=named(BURNED, "k"))
    yield told(BURNED, 1, "cart_viewed", "d", cart_id=named(BURNED, "k"))
    yield told(BURNED, LATER, "product_added", "v", cart_id=named(BURNED, "k"), items=dress)


class Told(NamedTuple):
    """What came out, and the tracker that can still be asked."""

    outputs: dict[str, list[dict[str, Any]]]
    pipeline: Pipeline

    def of(self, topic: str, person: str) -> list[dict[str, Any]]:
        """What a topic has of one person."""
        return [one for one in self.outputs["journey." + topic] if one["person_id"] == person]

    def journey(self, *asked: str) -> dict[str, Any]:
        """The answer of `tracker journey`."""
        found: dict[str, Any] = json.loads(self.pipeline.run("journey", "--json", *asked))
        return found


@pytest.fixture(scope="module")
def told(kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("claims")
    pipeline = Pipeline(kafka, redis_server, f"t{secrets.token_hex(3)}.", folder)
    pipeline.run("topics")
    everything = sorted((event for number in PEOPLE for event in events(number)), key=lambda event: event.ts)
    with pipeline.worker():
        for part, second in (("first", False), ("second", True)):
            some = [event for event in everything if (event.ts >= TEN + LATER * MINUTE) is second]
            pipeline.run("replay", str(write_events(folder / f"{part}.jsonl", some)))
    outputs = {topic: asyncio.run(pipeline.read(topic)) for topic in TOPICS}
    assert_once(outputs)
    return Told(outputs, pipeline)


def test_ids_visitors_and_customers_live_in_all_partitions() -> None:
    places = {
        tuple(partition_of(f"{key}{number}".encode(), PARTITIONS) for key in ("cart:cart-k", "a:cart-v", "c:cart-c"))
        for number in PEOPLE
    }
    assert any(len(set(place)) == 3 for place in places)


def test_a_guests_cart_and_the_backends_order_are_one_journey(told: Told) -> None:
    for number in PEOPLE:
        customer = f"c:cart-c{number}"
        (session,) = told.of("sessions", customer)
        assert (session["started_at"], session["ended_at"]) == (TEN + number, TEN + 20 * MINUTE + number)
        moves = told.of("transitions", customer)
        assert len({move["journey_id"] for move in moves}) == 1
        assert [move["order_id"] for move in moves if move["direction"] == "converted"] == [f"cart-o{number}"]
        assert not told.of("dropoffs", customer) + told.of("dropoffs", f"a:cart-v{number}")


def test_a_purchase_that_browser_and_backend_send_counts_once_and_nothing_drops_off(told: Told) -> None:
    for number in PEOPLE:
        found = told.journey(f"c:both-c{number}")
        assert (found["order_count"], found["revenue"]) == (1, {"NOK": 90.0})
        assert found["anonymous_ids"] == [f"both-v{number}"]
        assert not told.of("dropoffs", f"c:both-c{number}") + told.of("dropoffs", f"a:both-v{number}")


def test_links_go_on_over_several_ids(told: Told) -> None:
    for number in PEOPLE:
        found = told.journey(f"a:chain-p{number}")
        assert found["person_id"] == f"c:chain-c{number}"
        assert sorted(found["anonymous_ids"]) == [f"chain-l{number}", f"chain-p{number}"]
        assert not told.of("dropoffs", f"c:chain-c{number}")


def test_what_two_customers_name_links_nobody(told: Told) -> None:
    for number in PEOPLE:
        (dropped,) = told.of("dropoffs", f"a:burned-v{number}")
        assert (dropped["reason"], dropped.get("customer_id")) == ("cart_abandoned", None)


def test_people_orders_and_revenue_are_counted_once(told: Told) -> None:
    counters, everybody = told.pipeline.counters(), len(PEOPLE)
    assert counters["people"] == 6 * everybody
    assert counters["orders"] == 3 * everybody
    assert counters["revenue:NOK"] == everybody * (100 + 90 + 80) * 10_000
