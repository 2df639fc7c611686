"""The largest that a shop can send, through the real pipeline: nothing of it stops a partition, and whoever it is about
still drops off, with every product id."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

from aiokafka import AIOKafkaProducer

from tests.integration.disturbance import gauge
from tests.integration.pipeline import Pipeline, write_events
from tests.services import KafkaServer, RedisServer
from tracker.child import free_port
from tracker.domain.events import Event, Item

NOON = 1_772_400_000_000
HOUR = 3_600_000
LONGEST = "\U0001f457" * 1024
"""Four bytes for each of the characters that a name may have."""
UGLIEST = "\x01" * 1024
"""Six bytes for each, in JSON."""


def events() -> Iterator[Event]:
    """Two carts of a hundred lines, of a customer and of a phone that turns out to be another customer's."""
    for number in range(100):
        line = Item(product_id=f"p{number}", quantity=1, price=1.0, name=UGLIEST, category=LONGEST)
        for name, who in (("nora", "customer_id"), ("phone", "anonymous_id")):
            event = Event(event_id=f"{name}-{number}", type="product_added", ts=NOON + number, items=[line])
            setattr(event, who, name)
            yield event
    yield Event(event_id="link", type="identified", ts=NOON + 2 * HOUR, customer_id="kari", anonymous_id="phone")


async def poison(kafka: KafkaServer, topic: str) -> None:
    """Records that are small enough for the broker, and grow as dead letters."""
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, max_request_size=8 << 20) as producer:
        for partition in range(4):
            await producer.send_and_wait(topic, b"{", partition=partition, headers=[("h", b"")] * 200_000)
            await producer.send_and_wait(topic, b"x" * 1_000_000, partition=partition)


async def test_what_is_larger_than_a_record_stops_nothing(
    kafka: KafkaServer, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    port = free_port()
    pipeline = Pipeline(kafka, redis_server, namespace, tmp_path, TRACKER_METRICS_PORT=str(port))
    await asyncio.to_thread(pipeline.run, "topics")
    await poison(kafka, f"{namespace}shop.clicks")
    with pipeline.worker():
        await asyncio.to_thread(pipeline.run, "replay", str(write_events(tmp_path / "large.jsonl", events())))
        stopped = [
            gauge(port, f'tracker_partitions{{stage="{stage}",state="stopped"}}') for stage in ("ingest", "track")
        ]
        shortened = gauge(port, 'tracker_bounds_hit_total{bound="output_shortened"}')
    assert stopped == [0, 0]
    assert shortened
    dropoffs = await pipeline.read("journey.dropoffs")
    assert {dropoff["person_id"] for dropoff in dropoffs} == {"c:nora", "c:kari"}
    for dropoff in dropoffs:
        assert {line["product_id"] for line in dropoff["cart"]["items"]} == {f"p{number}" for number in range(100)}
    letters = json.loads(await asyncio.to_thread(pipeline.run, "dead-letters", "list", "--json"))
    assert sorted(letter["reason"] for letter in letters) == ["not_json"] * 4 + ["too_large"] * 4
