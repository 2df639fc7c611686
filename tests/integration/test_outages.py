"""Redis and Kafka that go away in the middle of a replay: partitions pause and go on by themselves, and what comes
out is what comes out of an undisturbed run, id by id and to the last counter."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
import redis
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.integration.disturbance import (
    SMALL_BATCHES,
    Workload,
    answer,
    assert_undisturbed,
    flush,
    gauge,
    outcome,
    reached,
    replaying,
    send_all,
)
from tests.integration.pipeline import PARTITIONS, Pipeline
from tests.services import KafkaServer, RedisServer
from tests.waiting import until
from tracker.child import free_port

AWAY = 2.0


def tracked(port: int, state: str) -> float | None:
    return gauge(port, f'tracker_partitions{{stage="track",state="{state}"}}')


@pytest.mark.parametrize("loses", [False, True], ids=["and keeps its data", "and comes back empty"])
async def test_redis_goes_away_and_comes_back(
    kafka: KafkaServer, namespace: str, tmp_path: Path, workload: Workload, loses: bool
) -> None:
    port = free_port()
    with RedisServer(aof=not loses) as own:
        pipeline = Pipeline(kafka, own, namespace, tmp_path, TRACKER_METRICS_PORT=str(port), **SMALL_BATCHES)
        await asyncio.to_thread(pipeline.run, "topics")
        with pipeline.worker() as worker:
            async with replaying(pipeline, kafka, workload.recording) as replay:
                await replay.reach("journey.transitions", int(0.3 * workload.transitions))
                await asyncio.to_thread(own.kill if loses else own.stop)
                await until(lambda: tracked(port, "paused") == PARTITIONS, "every partition pauses")
                assert tracked(port, "running") == tracked(port, "stopped") == 0
                assert [answer(port, path) for path in ("livez", "readyz")] == [200, 200], "a new start would not help"
                await asyncio.sleep(AWAY)
                assert replay.running
                await asyncio.to_thread(own.start)
                await until(lambda: tracked(port, "running") == PARTITIONS, "every partition runs again")
                await replay.finish()
            assert worker.poll() is None
        assert_undisturbed(await outcome(pipeline, own), workload.expected)


async def test_redis_comes_back_with_an_older_snapshot(
    kafka: KafkaServer, namespace: str, tmp_path: Path, workload: Workload
) -> None:
    port = free_port()
    with RedisServer() as own:
        pipeline = Pipeline(kafka, own, namespace, tmp_path, TRACKER_METRICS_PORT=str(port), **SMALL_BATCHES)
        await asyncio.to_thread(pipeline.run, "topics")
        with pipeline.worker() as worker:
            async with replaying(pipeline, kafka, workload.recording) as replay:
                await replay.reach("journey.transitions", int(0.2 * workload.transitions))
                with redis.Redis.from_url(own.url) as store:
                    await asyncio.to_thread(store.save)  # what it loads when it starts
                before = reached(pipeline, own)
                await replay.reach("journey.transitions", int(0.5 * workload.transitions))
                await asyncio.to_thread(own.kill)
                await until(lambda: tracked(port, "paused") == PARTITIONS, "every partition pauses")
                await asyncio.to_thread(own.start)
                assert reached(pipeline, own) <= before, "it has forgotten nothing"
                await replay.finish()
            assert worker.poll() is None
        log = (tmp_path / "worker.log").read_text("utf-8")
        assert "rebuilding from the log, nothing is published twice" in log
        assert_undisturbed(await outcome(pipeline, own), workload.expected)


async def test_redis_is_emptied_under_a_worker_that_goes_on(
    kafka: KafkaServer, namespace: str, tmp_path: Path, workload: Workload
) -> None:
    with RedisServer() as own:
        pipeline = Pipeline(kafka, own, namespace, tmp_path, **SMALL_BATCHES)
        await asyncio.to_thread(pipeline.run, "topics")
        with pipeline.worker() as worker:
            async with replaying(pipeline, kafka, workload.recording) as replay:
                for part in (0.3, 0.6):
                    await replay.reach("journey.transitions", int(part * workload.transitions))
                    flush(own)
                await replay.finish()
            assert worker.poll() is None
        assert_undisturbed(await outcome(pipeline, own), workload.expected)


async def test_redis_is_emptied_while_the_worker_is_down(
    kafka: KafkaServer, namespace: str, tmp_path: Path, workload: Workload
) -> None:
    with RedisServer() as own:
        pipeline = Pipeline(kafka, own, namespace, tmp_path, **SMALL_BATCHES)
        await asyncio.to_thread(pipeline.run, "topics")
        async with replaying(pipeline, kafka, workload.recording) as replay:
            with pipeline.worker() as worker:
                await replay.reach("journey.transitions", int(0.5 * workload.transitions))
                worker.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(worker.wait, 20) == 0
            assert replay.running
            flush(own)
            with pipeline.worker():
                await replay.finish()
        assert "rebuilding from the log, nothing is published twice" in pipeline.worker_log()
        assert_undisturbed(await outcome(pipeline, own), workload.expected)

        before = reached(pipeline, own)
        flush(own)
        with pipeline.worker():
            await until(lambda: reached(pipeline, own) >= before, "the store is rebuilt")
        assert_undisturbed(await outcome(pipeline, own), workload.expected)


@pytest.mark.parametrize("crash", [False, True], ids=["in order", "by a crash"])
async def test_kafka_goes_away_and_comes_back(
    redis_server: RedisServer, namespace: str, tmp_path: Path, workload: Workload, crash: bool
) -> None:
    port = free_port()
    with KafkaServer() as own:
        pipeline = Pipeline(own, redis_server, namespace, tmp_path, TRACKER_METRICS_PORT=str(port), **SMALL_BATCHES)
        await asyncio.to_thread(pipeline.run, "topics")
        end = await send_all(pipeline, own, workload.recording)
        with pipeline.worker() as worker:
            await until(lambda: (sent(port) or 0) > 0.3 * workload.transitions, "some transitions are out")
            await asyncio.to_thread(own.kill if crash else own.stop)
            assert reached(pipeline, redis_server) < end, "the tracker was through before the broker went away"
            if not crash:  # a publisher whose broker says nothing more gives it as long as a transaction may take
                await until(lambda: tracked(port, "paused"), "partitions pause")
            await asyncio.sleep(AWAY)
            await asyncio.to_thread(own.start)
            await until(lambda: tracked(port, "running") == PARTITIONS, "every partition runs again", 60)
            await until(lambda: reached(pipeline, redis_server) >= end, "everything is tracked", 60)
            assert tracked(port, "stopped") == 0
            assert gauge(port, 'tracker_transactions_total{outcome="committed"}')
            assert worker.poll() is None
        assert_undisturbed(await outcome(pipeline, redis_server), workload.expected)


async def test_kafka_refuses_what_is_published(
    kafka: KafkaServer, redis_server: RedisServer, namespace: str, tmp_path: Path, workload: Workload
) -> None:
    port = free_port()
    pipeline = Pipeline(kafka, redis_server, namespace, tmp_path, TRACKER_METRICS_PORT=str(port), **SMALL_BATCHES)
    await asyncio.to_thread(pipeline.run, "topics")
    end = await send_all(pipeline, kafka, workload.recording)
    with pipeline.worker() as worker:
        await until(lambda: (sent(port) or 0) > 0.3 * workload.transitions, "some transitions are out")
        await allow(kafka, f"{namespace}journey.sessions", 100)
        assert reached(pipeline, redis_server) < end, "the tracker was through before"
        # One is enough: the others wait for it before they let time pass.
        await until(lambda: tracked(port, "paused"), "a partition pauses", 60)
        held = reached(pipeline, redis_server)
        await asyncio.sleep(AWAY)
        assert reached(pipeline, redis_server) == held
        await allow(kafka, f"{namespace}journey.sessions", 1_048_588)
        await until(lambda: tracked(port, "running") == PARTITIONS, "every partition runs again", 60)
        await until(lambda: reached(pipeline, redis_server) >= end, "everything is tracked", 60)
        assert worker.poll() is None
    assert_undisturbed(await outcome(pipeline, redis_server), workload.expected)


async def allow(kafka: KafkaServer, topic: str, largest: int) -> None:
    """Set the largest batch that a topic takes, in bytes."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    wanted = ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": str(largest)})
    (reply,) = await admin.alter_configs([wanted])
    assert reply.resources[0][0] == 0, reply
    await admin.close()


def sent(port: int) -> float | None:
    return gauge(port, 'tracker_outputs_total{topic="journey.transitions"}')
