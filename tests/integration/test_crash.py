"""Workers that are killed, ended and joined by others in the middle of a replay: what comes out is what comes out
of an undisturbed one, id by id and to the last counter."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.disturbance import Outcome, identity, kill, outcome, replaying, told_by_one_name
from tests.integration.pipeline import Pipeline, write_events
from tests.services import KafkaServer, RedisServer

VISITORS = 3000
SMALL_BATCHES = {"TRACKER_BATCH_RECORDS": "500", "TRACKER_BATCH_DEADLINES": "200"}


class Workload:
    """A recording and what an undisturbed run makes of it."""

    def __init__(self, recording: Path, expected: Outcome) -> None:
        self.recording = recording
        self.expected = expected
        self.transitions = len(expected.outputs["journey.transitions"])


@pytest.fixture(scope="module")
def workload(kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Workload:
    folder = tmp_path_factory.mktemp("undisturbed")
    recording = write_events(folder / "visitors.jsonl", told_by_one_name(VISITORS))
    pipeline = Pipeline(kafka, redis_server, f"t{secrets.token_hex(3)}.", folder, **SMALL_BATCHES)
    pipeline.run("topics")
    with pipeline.worker():
        pipeline.run("replay", str(recording))
    expected = asyncio.run(outcome(pipeline, redis_server))
    assert_no_duplicates(expected)
    return Workload(recording, expected)


def assert_no_duplicates(found: Outcome) -> None:
    for topic, payloads in found.outputs.items():
        repeated = [name for name, times in Counter(map(identity, payloads)).items() if times > 1]
        assert not repeated, f"{len(repeated)} ids are twice on {topic}, for example {repeated[0]}"


def assert_undisturbed(found: Outcome, expected: Outcome) -> None:
    assert_no_duplicates(found)
    assert found.rest == expected.rest
    for topic, payloads in expected.outputs.items():
        assert found.outputs[topic] == payloads, topic
    assert found.counters == expected.counters
    assert found.states == expected.states


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
