"""Redis that crashes or fails over in the middle of a replay: what comes out is what comes out of an undisturbed run,
id by id and to the last counter, however much Redis has lost."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path

import pytest

from tests.integration.disturbance import (
    SMALL_BATCHES,
    Workload,
    assert_undisturbed,
    outcome,
    recovered,
    replaying,
    tracked,
)
from tests.integration.pipeline import PARTITIONS, Pipeline
from tests.redis_servers import SentinelRedis, wait
from tests.services import KafkaServer, RedisServer
from tests.waiting import until
from tracker.child import free_port

AWAY = 3.0
REBUILDING = "rebuilding from the log, nothing is published twice"

log = logging.getLogger(__name__)


def whole_log(pipeline: Pipeline) -> str:
    return (pipeline.folder / "worker.log").read_text()


@pytest.mark.parametrize("fsync", ["everysec", "always"])
async def test_a_redis_that_is_killed_comes_back_with_its_append_only_file(
    kafka: KafkaServer, namespace: str, tmp_path: Path, workload: Workload, fsync: str
) -> None:
    port = free_port()
    with RedisServer({"appendfsync": fsync}, aof=True) as own:
        pipeline = Pipeline(kafka, own, namespace, tmp_path, TRACKER_METRICS_PORT=str(port), **SMALL_BATCHES)
        await asyncio.to_thread(pipeline.run, "topics")
        with pipeline.worker():
            async with replaying(pipeline, kafka, workload.recording) as replay:
                for part in (0.2, 0.5):
                    await replay.reach("journey.transitions", int(part * workload.transitions))
                    killed = time.monotonic()
                    own.kill()
                    await until(lambda: tracked(port, "paused") == PARTITIONS, "every partition pauses")
                    await asyncio.to_thread(own.start)
                    await recovered(port, killed, replay)
                await replay.finish()
        assert REBUILDING not in whole_log(pipeline)  # the system had it, though the disk may not
        assert_undisturbed(await outcome(pipeline, own), workload.expected)


async def test_a_machine_that_crashes_loses_what_was_not_yet_on_disk(
    kafka: KafkaServer, namespace: str, tmp_path: Path, workload: Workload
) -> None:
    """With `everysec` that is a second or two. A process that is killed loses nothing, so the file is cut instead."""
    port = free_port()
    with RedisServer(aof=True) as own:
        pipeline = Pipeline(kafka, own, namespace, tmp_path, TRACKER_METRICS_PORT=str(port), **SMALL_BATCHES)
        await asyncio.to_thread(pipeline.run, "topics")
        with pipeline.worker():
            async with replaying(pipeline, kafka, workload.recording) as replay:
                await replay.reach("journey.transitions", int(0.2 * workload.transitions))
                file = next(own.folder.glob("appendonlydir/*.incr.aof"))
                synced = file.stat().st_size
                await replay.reach("journey.transitions", int(0.5 * workload.transitions))
                killed = time.monotonic()
                own.kill()
                assert file.stat().st_size > synced
                os.truncate(file, synced)
                await until(lambda: tracked(port, "paused") == PARTITIONS, "every partition pauses")
                await asyncio.to_thread(own.start)
                await recovered(port, killed, replay)
                await replay.finish()
        assert REBUILDING in whole_log(pipeline)
        assert_undisturbed(await outcome(pipeline, own), workload.expected)


async def test_sentinels_promote_a_replica_that_has_every_commit(
    kafka: KafkaServer, namespace: str, tmp_path: Path, workload: Workload
) -> None:
    """Commits wait for the replica, so nothing is folded again. Promoted, it has none itself: partitions pause until
    the former master is back as one."""
    port = free_port()
    with SentinelRedis() as own:
        env = {"TRACKER_METRICS_PORT": str(port), "TRACKER_REDIS_WAIT_REPLICAS": "1", **SMALL_BATCHES}
        pipeline = Pipeline(kafka, own, namespace, tmp_path, **env)
        await asyncio.to_thread(pipeline.run, "topics")
        with pipeline.worker():
            async with replaying(pipeline, kafka, workload.recording) as replay:
                await replay.reach("journey.transitions", int(0.3 * workload.transitions))
                own.master.kill()
                await until(lambda: own.master_port() == own.replica.port, "the replica is master")
                await until(lambda: tracked(port, "paused") == PARTITIONS, "every partition waits for a replica")
                await asyncio.sleep(AWAY)
                assert tracked(port, "paused") == PARTITIONS
                assert replay.running
                started = time.monotonic()
                await asyncio.to_thread(own.master.start)
                await recovered(port, started, replay)
                await replay.finish()
        assert REBUILDING not in whole_log(pipeline)
        assert_undisturbed(await outcome(pipeline, own), workload.expected)


async def test_sentinels_promote_a_replica_that_lags_behind(
    kafka: KafkaServer, namespace: str, tmp_path: Path, workload: Workload
) -> None:
    """Without waiting, what the replica did not have is folded again and not published again."""
    port = free_port()
    with SentinelRedis() as own:
        pipeline = Pipeline(kafka, own, namespace, tmp_path, TRACKER_METRICS_PORT=str(port), **SMALL_BATCHES)
        await asyncio.to_thread(pipeline.run, "topics")
        with pipeline.worker():
            async with replaying(pipeline, kafka, workload.recording) as replay:
                await replay.reach("journey.transitions", int(0.2 * workload.transitions))
                with own.master.client() as master:
                    master.execute_command("ACL", "SETUSER", "default", "-psync", "-sync")
                    master.client_kill_filter(_type="replica")
                await replay.reach("journey.transitions", int(0.5 * workload.transitions))
                killed = time.monotonic()
                own.master.kill()
                await until(lambda: own.master_port() == own.replica.port, "the replica is master")
                log.info("from fault to another master: %.1f s", time.monotonic() - killed)
                await until(lambda: REBUILDING in whole_log(pipeline), "the partitions are behind the broker")
                await recovered(port, killed, replay)
                await replay.finish()
                await asyncio.to_thread(own.master.start)  # it comes back with writes that nobody else has
                await asyncio.to_thread(wait, lambda: _follows(own.master, own.replica), "it follows")
        assert_undisturbed(await outcome(pipeline, own), workload.expected)


def _follows(replica: RedisServer, master: RedisServer) -> bool:
    with replica.client() as store:
        info = store.info("replication")
    return bool(info["role"] == "slave" and info["master_port"] == master.port)
