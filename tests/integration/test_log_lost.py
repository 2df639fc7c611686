"""A log that no longer has what is to be read stops the partition, loudly, with the ways out; nothing is skipped."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from tests.integration.pipeline import PARTITIONS, Pipeline
from tests.services import KafkaServer, RedisServer

_EXAMPLE = str(Path(__file__).parents[2] / "docs" / "examples" / "dropoffs.jsonl")


async def _stops(pipeline: Pipeline, words: str) -> None:
    (pipeline.folder / "worker.log").write_text("")
    with pipeline.worker():
        deadline = time.monotonic() + 60
        while words not in pipeline.worker_log():
            assert time.monotonic() < deadline, pipeline.worker_log()
            await asyncio.sleep(0.1)
        assert "has stopped; its events wait in the log" in pipeline.worker_log()


async def test_a_log_that_was_deleted_before_it_was_folded_stops_the_partition(
    kafka: KafkaServer, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    pipeline = Pipeline(kafka, redis_server, namespace, tmp_path)
    pipeline.run("topics")
    with pipeline.worker():
        pipeline.run("replay", _EXAMPLE)
    log = f"{namespace}journey.events"
    event = {"event_id": "1", "type": "page_viewed", "ts": 1_772_500_000_000, "customer_id": "x"}
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        for partition in range(PARTITIONS):
            await producer.send_and_wait(log, json.dumps(event).encode(), key=b"c:x", partition=partition)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    everything = {TopicPartition(log, partition): RecordsToDelete(-1) for partition in range(PARTITIONS)}
    await admin.delete_records(everything)
    await admin.close()
    await _stops(pipeline, "deleted before it was folded (TRACKER_EVENTS_RETENTION)")


async def test_a_log_that_was_made_anew_stops_the_partition(
    kafka: KafkaServer, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    pipeline = Pipeline(kafka, redis_server, namespace, tmp_path)
    pipeline.run("topics")
    with pipeline.worker():
        pipeline.run("replay", _EXAMPLE)
    log = f"{namespace}journey.events"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    # With the topic its committed offsets go, as they do in Kafka: that alone says that something was lost.
    await admin.delete_topics([log])
    deadline = time.monotonic() + 20
    while log in await admin.list_topics():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    await admin.create_topics([NewTopic(log, PARTITIONS, 1)])
    await admin.close()
    await _stops(pipeline, "the broker has no committed position: it was lost")
