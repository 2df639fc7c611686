"""The bench for tests of ingest; a workload to disturb the product with, and what an undisturbed run makes of it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from tests.integration.bench import Bench, prepare, producing
from tests.integration.disturbance import SMALL_BATCHES, Workload, assert_once, outcome, told_by_one_name
from tests.integration.pipeline import Pipeline, write_events
from tests.services import KafkaServer, RedisServer

VISITORS = 2200


@pytest.fixture(scope="session")
def workload(kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Workload:
    """Made once per run."""
    folder = tmp_path_factory.mktemp("undisturbed")
    recording = write_events(folder / "visitors.jsonl", told_by_one_name(VISITORS))
    pipeline = Pipeline(kafka, redis_server, f"t{secrets.token_hex(3)}.", folder, **SMALL_BATCHES)
    pipeline.run("topics")
    with pipeline.worker():
        pipeline.run("replay", str(recording))
    expected = asyncio.run(outcome(pipeline, redis_server))
    assert_once(expected.outputs)
    return Workload(recording, expected)


@pytest.fixture
async def bench(kafka: KafkaServer, namespace: str) -> AsyncIterator[Bench]:
    async with producing(kafka.bootstrap) as producer:
        bench = Bench(kafka.bootstrap, namespace, producer)
        await prepare(bench)
        yield bench
