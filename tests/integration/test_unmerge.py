"""A visitor who was wrongly taken for a customer, taken apart by the command while the tracker runs."""

from __future__ import annotations

import asyncio
import json
import secrets
from pathlib import Path

from tests.integration.disturbance import TOPICS, assert_once
from tests.integration.pipeline import PARTITIONS, Pipeline, write_events
from tests.services import KafkaServer, RedisServer
from tracker.domain.events import Event, Item
from tracker.wire.partition import partition_of

TEN = 1_772_445_600_000
MINUTE = 60_000
DAY = 24 * 60 * MINUTE


def test_a_wrong_link_is_taken_apart(kafka: KafkaServer, redis_server: RedisServer, tmp_path: Path) -> None:
    place = partition_of(b"c:kari", PARTITIONS)
    tablet = next(f"tablet{n}" for n in range(99) if partition_of(f"a:tablet{n}".encode(), PARTITIONS) != place)
    dress = [Item("dress", price=100.0)]
    before = [
        Event("1", "product_viewed", TEN, anonymous_id=tablet, items=dress),
        Event("2", "order_completed", TEN + MINUTE, anonymous_id=tablet, order_id="O1", value=100.0, currency="NOK"),
        Event("3", "identified", TEN + 2 * MINUTE, anonymous_id=tablet, customer_id="kari"),
        Event("4", "order_completed", TEN + 3 * MINUTE, customer_id="kari", order_id="O2", value=50.0, currency="NOK"),
        Event("5", "product_added", TEN + 4 * MINUTE, anonymous_id=tablet, items=dress, currency="NOK"),
    ]
    after = [
        Event("6", "page_viewed", TEN + DAY, anonymous_id=tablet),
        Event("7", "identified", TEN + DAY + MINUTE, anonymous_id=tablet, customer_id="kari"),
        Event("8", "product_viewed", TEN + DAY + 2 * MINUTE, anonymous_id=tablet, items=dress),
    ]
    last = Event("9", "order_completed", TEN + 2 * DAY, anonymous_id=tablet, order_id="O3", value=10.0, currency="NOK")
    pipeline = Pipeline(kafka, redis_server, f"t{secrets.token_hex(3)}.", tmp_path)
    pipeline.run("topics")

    def shown(person: str) -> tuple[str, int, dict[str, float], bool]:
        found = json.loads(pipeline.run("journey", "--json", person))
        return found["person_id"], found["order_count"], found["revenue"], found["cart"] is not None

    with pipeline.worker():
        pipeline.run("replay", str(write_events(tmp_path / "before.jsonl", before)))
        assert shown(f"a:{tablet}") == ("c:kari", 2, {"NOK": 150.0}, True)
        assert "two people" in pipeline.run("unmerge", tablet, "kari")
        pipeline.run("replay", str(write_events(tmp_path / "after.jsonl", after)))
        assert shown(f"a:{tablet}") == (f"a:{tablet}", 1, {"NOK": 100.0}, True)
        assert shown("c:kari") == ("c:kari", 1, {"NOK": 50.0}, False)
        again = pipeline.run("unmerge", tablet, "kari")
        assert "two people" in again, "it may be run again"
        pipeline.run("replay", str(write_events(tmp_path / "last.jsonl", [last])))
        assert shown(f"a:{tablet}")[:3] == (f"a:{tablet}", 2, {"NOK": 110.0})
    assert_once({topic: asyncio.run(pipeline.read(topic)) for topic in TOPICS})
    counters = pipeline.counters()
    assert (counters["people"], counters["orders"], counters["revenue:NOK"]) == (2, 3, 160 * 10_000)
