"""A workload for the tests that disturb the product, and what an undisturbed run makes of it: made once per run."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from tests.integration.disturbance import SMALL_BATCHES, Workload, assert_once, outcome, told_by_one_name
from tests.integration.pipeline import Pipeline, write_events
from tests.services import KafkaServer, RedisServer

VISITORS = 2200


@pytest.fixture(scope="session")
def workload(kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Workload:
    folder = tmp_path_factory.mktemp("undisturbed")
    recording = write_events(folder / "visitors.jsonl", told_by_one_name(VISITORS))
    pipeline = Pipeline(kafka, redis_server, f"t{secrets.token_hex(3)}.", folder, **SMALL_BATCHES)
    pipeline.run("topics")
    with pipeline.worker():
        pipeline.run("replay", str(recording))
    expected = asyncio.run(outcome(pipeline, redis_server))
    assert_once(expected.outputs)
    return Workload(recording, expected)
