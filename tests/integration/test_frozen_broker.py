"""A broker whose process is stopped (SIGSTOP): it takes connections and says nothing. The worker waits for it, however
long, unless another broker answers: then it is the consumer that hangs, and the watchdog ends it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.integration.disturbance import SMALL_BATCHES, Workload, assert_undisturbed, gauge, outcome, reached, send_all
from tests.integration.pipeline import PARTITIONS, Pipeline
from tests.services import KafkaServer, RedisServer
from tests.waiting import until
from tracker.broker.kafka import make_consumer, partitions_of
from tracker.child import free_port
from tracker.errors import Unavailable
from tracker.health import Health
from tracker.metrics import Metrics
from tracker.stream import watchdog
from tracker.stream.ports import Record
from tracker.stream.processor import PartitionProcessor

FROZEN = 25.0
"""Seconds: longer than a session, a transaction, and what a publisher waits."""


@contextmanager
def frozen(server: KafkaServer) -> Iterator[None]:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


async def test_a_broker_that_is_frozen_for_longer_than_any_time_out_is_waited_for(
    redis_server: RedisServer, namespace: str, tmp_path: Path, workload: Workload
) -> None:
    port = free_port()
    running = 'tracker_partitions{stage="track",state="running"}'
    sent = 'tracker_outputs_total{topic="journey.transitions"}'
    with KafkaServer() as own:
        pipeline = Pipeline(own, redis_server, namespace, tmp_path, TRACKER_METRICS_PORT=str(port), **SMALL_BATCHES)
        await asyncio.to_thread(pipeline.run, "topics")
        end = await send_all(pipeline, own, workload.recording)
        with pipeline.worker() as worker:
            await until(lambda: (gauge(port, sent) or 0) > 0.3 * workload.transitions, "some transitions are out")
            with frozen(own):
                assert reached(pipeline, redis_server) < end, "the tracker was through before"
                await asyncio.sleep(FROZEN)
                assert gauge(port, 'tracker_partitions{stage="track",state="stopped"}') == 0
            await until(lambda: gauge(port, running) == PARTITIONS, "every partition runs again", 90)
            await until(lambda: reached(pipeline, redis_server) >= end, "everything is tracked", 60)
            assert worker.poll() is None
        assert_undisturbed(await outcome(pipeline, redis_server), workload.expected)


class Reading:
    """A stage that only reads."""

    steps = 0

    async def assign(self) -> int:
        return 0

    async def handle(self, records: Sequence[Record], following: int) -> None:
        self.steps += 1

    async def idle(self) -> None:
        self.steps += 1

    def leave(self) -> None:
        pass

    async def release(self) -> None:
        pass

    def behind(self) -> float | None:
        return None


async def test_a_consumer_that_hears_nothing_while_others_do_is_found_and_one_whose_broker_is_away_is_not(
    kafka: KafkaServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "ASK_TIMEOUT", 1.0)
    topic = f"{namespace}log"
    with KafkaServer() as own:
        admin = AIOKafkaAdminClient(bootstrap_servers=own.bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic(topic, 1, 1)])
        await admin.close()
        asked = own.bootstrap

        async def ask() -> None:
            await partitions_of(asked, topic)

        consumer = make_consumer(own.bootstrap, f"{namespace}group", topic)
        processor = PartitionProcessor(
            "track", consumer, [topic], lambda _: Reading(), Metrics(), ask, Health(), batch=10
        )
        await processor.start()
        try:
            at = TopicPartition(topic, 0)
            await until(lambda: at in processor.owned and consumer.last_poll_timestamp(at), "it reads")
            dog = processor._watchdog

            async def look(pause: float = 0.0) -> None:
                for _ in range(watchdog.PATIENCE + 3):
                    await asyncio.sleep(pause)
                    await dog.look()

            await look(pause=0.2)  # an idle consumer hears from its broker each 50 ms
            with frozen(own):
                await asyncio.sleep(1)
                await look()
                asked = kafka.bootstrap  # a broker that answers
                with pytest.raises(Unavailable, match=f"reading {topic}/0 got no further"):
                    await look()
        finally:
            await processor.stop()
