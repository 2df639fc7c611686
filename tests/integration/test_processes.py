"""One worker as several processes: shared out, looked after, ended together; and the two stages in workers of their
own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from pathlib import Path

from tests.integration.disturbance import SMALL_BATCHES, Workload, assert_undisturbed, gauge, outcome, replaying
from tests.integration.pipeline import PARTITIONS, Pipeline
from tests.services import KafkaServer, RedisServer
from tests.waiting import until
from tracker.child import free_port


def two_free_ports() -> int:
    """The first of two ports in a row."""
    while True:
        port = free_port()
        with socket.socket() as probe:
            if port < 65_535 and probe.connect_ex(("127.0.0.1", port + 1)):
                return port


def children(process: subprocess.Popen[bytes]) -> set[int]:
    """The processes that this one has started and that still run."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return {int(pid) for pid, parent, state in rows if int(parent) == process.pid and not state.startswith("Z")}


def alive(pid: int) -> bool:
    listed = subprocess.run(["ps", "-p", str(pid), "-o", "stat="], capture_output=True, text=True, check=False).stdout
    return bool(listed.strip()) and not listed.strip().startswith("Z")


def running(port: int, stage: str) -> float:
    return gauge(port, f'tracker_partitions{{stage="{stage}",state="running"}}') or 0.0


def shared_out(port: int) -> bool:
    """Whether both processes serve metrics, and together run every partition of the log."""
    held = [running(port, "track"), running(port + 1, "track")]
    return sum(held) == PARTITIONS and all(held)


async def test_a_process_that_is_killed_is_started_again_and_nothing_is_lost(
    kafka: KafkaServer, redis_server: RedisServer, namespace: str, tmp_path: Path, workload: Workload
) -> None:
    port = two_free_ports()
    pipeline = Pipeline(kafka, redis_server, namespace, tmp_path, TRACKER_METRICS_PORT=str(port), **SMALL_BATCHES)
    await asyncio.to_thread(pipeline.run, "topics")
    with pipeline.worker("--processes", "2") as worker:
        await until(lambda: shared_out(port), "the partitions are shared out between two processes")
        first = children(worker)
        assert len(first) == 2
        async with replaying(pipeline, kafka, workload.recording) as replay:
            await replay.reach("journey.transitions", int(0.3 * workload.transitions))
            victim = min(first)
            os.kill(victim, signal.SIGKILL)
            assert replay.running
            await replay.finish()
        await until(lambda: shared_out(port), "the partitions are shared out again")
        second = children(worker)
        assert len(second) == 2
        assert victim not in second
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.wait, 30) == 0
    assert not [pid for pid in first | second if alive(pid)]
    assert_undisturbed(await outcome(pipeline, redis_server), workload.expected)


async def test_processes_do_not_outlive_the_one_that_looks_after_them(
    kafka: KafkaServer, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    port = two_free_ports()
    pipeline = Pipeline(kafka, redis_server, namespace, tmp_path, TRACKER_METRICS_PORT=str(port))
    await asyncio.to_thread(pipeline.run, "topics")
    with pipeline.worker("--processes", "2") as worker:
        await until(lambda: shared_out(port), "the partitions are shared out between two processes")
        started = children(worker)
        worker.kill()
        await until(lambda: not [pid for pid in started if alive(pid)], "both have ended")


async def test_the_stages_in_workers_of_their_own_do_the_same_together(
    kafka: KafkaServer, redis_server: RedisServer, namespace: str, tmp_path: Path, workload: Workload
) -> None:
    port = two_free_ports()
    pipeline = Pipeline(kafka, redis_server, namespace, tmp_path, **SMALL_BATCHES)
    await asyncio.to_thread(pipeline.run, "topics")
    pipeline.env["TRACKER_METRICS_PORT"] = str(port)
    with pipeline.worker("--only", "ingest"):
        pipeline.env["TRACKER_METRICS_PORT"] = str(port + 1)
        with pipeline.worker("--only", "track"):
            async with replaying(pipeline, kafka, workload.recording) as replay:
                await until(lambda: running(port, "ingest") and running(port + 1, "track"), "both run")
                assert running(port, "track") == running(port + 1, "ingest") == 0
                await replay.finish()
    assert_undisturbed(await outcome(pipeline, redis_server), workload.expected)
