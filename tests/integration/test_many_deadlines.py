"""One record of the log that fires very many deadlines: it is cut into many commits, in bounded memory, and a worker
may be killed between any two of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.integration.disturbance import gauge, kill, reached, send_all
from tests.integration.pipeline import PARTITIONS, Pipeline, write_events
from tests.services import KafkaServer, RedisServer
from tracker.child import free_port
from tracker.domain.events import Event, Item

PEOPLE = 200_000
AT = 1_772_400_000_000
TOPICS = ("journey.dropoffs", "journey.sessions", "journey.transitions")
MORE_MEMORY = 150 * 1024 * 1024


def carts(people: int) -> Iterator[Event]:
    """Everybody puts something into a cart at the same moment; each then has a session and a drop-off to end."""
    for number in range(people):
        line = Item(product_id="dress", quantity=1, price=899.0)
        yield Event(
            event_id=f"e{number}", type="product_added", ts=AT, customer_id=f"p{number}", items=[line], currency="NOK"
        )


async def count(kafka: KafkaServer, topic: str) -> tuple[int, int]:
    """(records, different keys) that a reader of committed records sees."""
    keys: set[bytes] = set()
    records = 0
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        max_partition_fetch_bytes=8 * 1024 * 1024,
    )
    async with consumer:
        partitions = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for found in (await consumer.getmany(timeout_ms=200)).values():
                records += len(found)
                keys.update(record.key for record in found)
    return records, len(keys)


class Fired(NamedTuple):
    """What it took: from the first drop-off to the last (s), the most bytes that a worker which only fires deadlines
    had more than at its start, the records and different people on each topic."""

    seconds: float
    memory: float
    found: dict[str, tuple[int, int]]


async def fire(kafka: KafkaServer, namespace: str, folder: Path, people: int, kills: int) -> Fired:
    """Fold everybody's cart, then let time jump; kill the worker so often while the deadlines fire."""
    port = free_port()
    with RedisServer(aof=True) as own:
        # What a worker needs follows from these two, for each partition; nothing else may.
        bounds = {"TRACKER_BATCH_DEADLINES": "2000", "TRACKER_STATE_CACHE": "1000"}
        pipeline = Pipeline(kafka, own, namespace, folder, TRACKER_METRICS_PORT=str(port), **bounds)
        await asyncio.to_thread(pipeline.run, "topics")
        end = await send_all(pipeline, kafka, write_events(folder / "carts.jsonl", carts(people)))
        began = most = 0.0
        for life in range(kills + 1):
            first = said = 0.0
            with pipeline.worker() as worker:
                while reached(pipeline, own) < end:
                    assert worker.poll() is None, pipeline.worker_log()
                    memory = gauge(port, "process_resident_memory_bytes") or 0.0
                    first = first or memory
                    if life:  # everybody is folded, and only deadlines fire
                        most = max(most, memory - first)
                    said = gauge(port, 'tracker_outputs_total{topic="journey.dropoffs"}') or said
                    if said:
                        began = began or time.monotonic()
                    if life < kills and said > people / (kills + 2):
                        kill(worker)
                        break
                    await asyncio.sleep(0.2)
                else:
                    assert life == kills, "it was through before the worker could be killed"
                    await asyncio.sleep(2)  # the last transaction
        found = {topic: await count(kafka, namespace + topic) for topic in TOPICS}
        return Fired(time.monotonic() - began, most, found)


async def test_a_record_that_fires_very_many_deadlines(kafka: KafkaServer, namespace: str, tmp_path: Path) -> None:
    fired = await fire(kafka, namespace, tmp_path, PEOPLE, kills=3)
    assert fired.found == dict.fromkeys(TOPICS, (PEOPLE, PEOPLE))
    assert fired.memory < MORE_MEMORY
