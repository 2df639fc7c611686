"""Without transactions: whatever is killed, every output is there, and one that is there twice says the same, by the
same id."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.integration.disturbance import SMALL_BATCHES, TOPICS, Workload, identity, kill, outcome, reached, replaying
from tests.integration.pipeline import PARTITIONS, Broker, Pipeline
from tests.services import KafkaServer, RedisServer
from tests.waiting import until
from tracker.broker.embedded import embedded_broker
from tracker.stream.recording import read_recording

SILENCE_MS = 3000
"""Nothing more to read after that; the embedded broker does not say where a topic ends."""


def distinct(payloads: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each output once, ordered by its id; one that comes again must be the same."""
    known: dict[tuple[str, int], dict[str, Any]] = {}
    for payload in payloads:
        assert known.setdefault(identity(payload), payload) == payload
    return [known[name] for name in sorted(known)]


def folded(pipeline: Pipeline, redis_server: RedisServer, goal: int) -> bool:
    return reached(pipeline, redis_server) > goal


async def read_all(brokers: str, topic: str) -> list[dict[str, Any]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=brokers, group_id=None, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, partition) for partition in range(PARTITIONS)])
        payloads: list[dict[str, Any]] = []
        while polled := await consumer.getmany(timeout_ms=SILENCE_MS):
            payloads += [json.loads(record.value) for records in polled.values() for record in records]
        return payloads
    finally:
        await consumer.stop()


async def test_a_worker_killed_twice_on_kafka_without_its_transactions(
    kafka: KafkaServer, redis_server: RedisServer, namespace: str, tmp_path: Path, workload: Workload
) -> None:
    pipeline = Pipeline(kafka, redis_server, namespace, tmp_path, TRACKER_DELIVERY="at_least_once", **SMALL_BATCHES)
    await asyncio.to_thread(pipeline.run, "topics")
    async with replaying(pipeline, kafka, workload.recording) as replay:
        for part in (0.2, 0.6):
            with pipeline.worker() as worker:
                await replay.reach("journey.transitions", int(part * workload.transitions))
                kill(worker)
        with pipeline.worker():
            await replay.finish()
    found = await outcome(pipeline, redis_server)
    for topic, expected in workload.expected.outputs.items():
        assert distinct(found.outputs[topic]) == expected, topic
    assert found.states == workload.expected.states
    assert found.counters == workload.expected.counters


async def test_a_worker_killed_on_the_embedded_broker(
    redis_server: RedisServer, namespace: str, tmp_path: Path, workload: Workload
) -> None:
    recording = read_recording([workload.recording])
    async with embedded_broker() as brokers:
        pipeline = Pipeline(Broker(brokers), redis_server, namespace, tmp_path, **SMALL_BATCHES)
        await asyncio.to_thread(pipeline.run, "topics")
        replay = asyncio.create_task(asyncio.to_thread(pipeline.run, "replay", str(workload.recording)))
        for part in (0.3, 0.7):
            with pipeline.worker() as worker:
                goal = recording.first + int(part * (recording.last - recording.first))
                await until(partial(folded, pipeline, redis_server, goal), "a part is folded", 90)
                assert not replay.done()
                kill(worker)
        with pipeline.worker():
            await replay
        for topic in TOPICS:
            expected = workload.expected.outputs[topic]
            assert distinct(await read_all(brokers, namespace + topic)) == expected, topic
