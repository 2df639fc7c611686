"""A raw topic that gets another partition under running workers: time waits for it, too."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from tests.integration.pipeline import PARTITIONS, Pipeline, write_events
from tests.services import KafkaServer, RedisServer
from tests.waiting import until
from tracker.domain.events import Event, Item
from tracker.wire.control import Config, source_name

T0 = 1_772_442_000_000
DAY = 86_400_000
IMPATIENT = """
import functools
import tracker.stream.stage as stage
import tracker.wiring.parts as parts
from tracker.cli import main

stage.COUNT_SOURCES = 0.5
parts.make_consumer = functools.partial(parts.make_consumer, metadata_max_age_ms=500)
main(prog_name="tracker")
"""
"""A worker that looks twice a second instead of once a minute."""


def sources(redis_server: RedisServer, namespace: str) -> list[tuple[str, ...]]:
    """Those in force in each partition."""
    with redis_server.client() as store:
        stored = [store.get(f"{namespace}{{p{partition}}}:s:config") for partition in range(PARTITIONS)]
    return [msgspec.json.decode(config, type=Config).sources for config in stored if config is not None]


def visit(number: int, at: int) -> list[Event]:
    """Somebody puts something into a cart and goes."""
    return [Event(f"e{number}", "product_added", at, customer_id=f"p{number}", items=[Item("dress", price=499.0)])]


async def test_time_waits_for_a_raw_partition_that_came_later(
    kafka: KafkaServer, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    pipeline = Pipeline(kafka, redis_server, namespace, tmp_path, TRACKER_RAW_TOPICS="shop.clicks")
    await asyncio.to_thread(pipeline.run, "topics")
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    write_events(first, visit(1, T0))
    write_events(second, visit(2, T0 + 3 * DAY))
    with pipeline.worker(command=[sys.executable, "-c", IMPATIENT]):
        await asyncio.to_thread(pipeline.run, "replay", str(first))
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        try:
            await admin.create_partitions({f"{namespace}shop.clicks": NewPartitions(total_count=PARTITIONS + 1)})
        finally:
            await admin.close()
        new = source_name(f"{namespace}shop.clicks", PARTITIONS)

        def known() -> bool:
            found = sources(redis_server, namespace)
            return len(found) == PARTITIONS and all(new in one for one in found)

        await until(known, "every partition has the new source")
        await asyncio.to_thread(pipeline.run, "replay", str(second))
    said = await pipeline.read("journey.dropoffs")
    assert sorted(message["person_id"] for message in said) == ["c:p1", "c:p2"]
