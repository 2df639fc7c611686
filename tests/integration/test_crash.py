"""Workers that are killed, ended and joined by others in the middle of a replay: what comes out is what comes out
of an undisturbed one, id by id and to the last counter."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.integration.disturbance import SMALL_BATCHES, Workload, assert_undisturbed, kill, outcome, replaying
from tests.integration.pipeline import Pipeline
from tests.services import KafkaServer, RedisServer


@pytest.fixture
def pipeline(kafka: KafkaServer, redis_server: RedisServer, namespace: str, tmp_path: Path) -> Pipeline:
    pipeline = Pipeline(kafka, redis_server, namespace, tmp_path, **SMALL_BATCHES)
    pipeline.run("topics")
    return pipeline


async def test_nothing_is_lost_or_doubled_when_the_worker_is_killed_twice(
    kafka: KafkaServer, redis_server: RedisServer, pipeline: Pipeline, workload: Workload
) -> None:
    async with replaying(pipeline, kafka, workload.recording) as replay:
        for part in (0.2, 0.6):
            with pipeline.worker() as worker:
                await replay.reach("journey.transitions", int(part * workload.transitions))
                kill(worker)
        with pipeline.worker():
            await replay.finish()
    assert_undisturbed(await outcome(pipeline, redis_server), workload.expected)


async def test_a_second_worker_takes_over_from_one_that_is_killed(
    kafka: KafkaServer, redis_server: RedisServer, pipeline: Pipeline, workload: Workload
) -> None:
    async with replaying(pipeline, kafka, workload.recording) as replay:
        with pipeline.worker() as first:
            await replay.reach("journey.transitions", int(0.1 * workload.transitions))
            with pipeline.worker():
                await replay.reach("journey.transitions", int(0.5 * workload.transitions))
                kill(first)
                assert replay.running
                await replay.finish()
    assert_undisturbed(await outcome(pipeline, redis_server), workload.expected)


async def test_workers_that_are_told_to_end_leave_the_rest_to_the_next(
    kafka: KafkaServer, redis_server: RedisServer, pipeline: Pipeline, workload: Workload
) -> None:
    async with replaying(pipeline, kafka, workload.recording) as replay:
        for part in (0.2, 0.4, 0.6):
            with pipeline.worker() as worker:
                await replay.reach("journey.transitions", int(part * workload.transitions))
                worker.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(worker.wait, 20) == 0
        with pipeline.worker():
            await replay.finish()
    assert_undisturbed(await outcome(pipeline, redis_server), workload.expected)
