"""Redis that is there and does not serve: full, read-only, loading, or slow. Partitions pause, or only wait, and go on
by themselves; nothing is skipped, nothing comes twice, and the worker's memory stays what it was."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.integration.disturbance import SMALL_BATCHES, Replay, Workload, assert_undisturbed, gauge, outcome, replaying
from tests.integration.pipeline import PARTITIONS, Pipeline
from tests.services import KafkaServer, RedisServer
from tests.waiting import until
from tracker.child import free_port

AWAY = 3.0
MORE_MEMORY = 64 * 1024 * 1024
"""What a worker may take more while it cannot commit: a fetch for each partition, and what those records become."""
_LOADING = {"key-load-delay": "5000", "loading-process-events-interval-bytes": "1024"}
"""Redis' own tests load slowly in this way: so many µs for each key."""


class Disturbed:
    """A replay on a Redis of its own, 30 % through."""

    def __init__(self, own: RedisServer, replay: Replay, port: int) -> None:
        self.redis = own
        self._replay = replay
        self._port = port

    def tracked(self, state: str) -> float | None:
        return gauge(self._port, f'tracker_partitions{{stage="track",state="{state}"}}')

    @property
    def memory(self) -> float:
        """Bytes of the worker."""
        found = gauge(self._port, "process_resident_memory_bytes")
        assert found is not None
        return found

    async def command(self, *words: str) -> None:
        """Ask Redis something; it may be too busy to answer."""

        def ask() -> None:
            with redis.Redis.from_url(self.redis.url, socket_timeout=30) as client:
                client.execute_command(*words)

        await asyncio.to_thread(ask)

    async def paused(self) -> None:
        """All of track pauses, stays so for a while, and takes no more memory."""
        before = self.memory
        await until(lambda: self.tracked("paused") == PARTITIONS, "every partition pauses")
        await asyncio.sleep(AWAY)
        assert self.tracked("paused") == PARTITIONS
        assert self._replay.running
        assert self.memory < before + MORE_MEMORY

    async def goes_on(self) -> None:
        await until(lambda: self.tracked("running") == PARTITIONS, "every partition runs again")
        assert self.tracked("stopped") == 0
        await self._replay.finish()


class Bench:
    def __init__(self, kafka: KafkaServer, namespace: str, folder: Path, workload: Workload) -> None:
        self._kafka = kafka
        self._namespace = namespace
        self._folder = folder
        self._workload = workload

    @contextlib.asynccontextmanager
    async def disturbed(self, options: dict[str, str] | None = None, *, aof: bool = False) -> AsyncIterator[Disturbed]:
        """A replay to be disturbed, and a look at what came of it."""
        port = free_port()
        with RedisServer(options, aof=aof) as own:
            pipeline = Pipeline(
                self._kafka, own, self._namespace, self._folder, TRACKER_METRICS_PORT=str(port), **SMALL_BATCHES
            )
            await asyncio.to_thread(pipeline.run, "topics")
            with pipeline.worker() as worker:
                async with replaying(pipeline, self._kafka, self._workload.recording) as replay:
                    await replay.reach("journey.transitions", int(0.3 * self._workload.transitions))
                    yield Disturbed(own, replay, port)
                assert worker.poll() is None
            assert_undisturbed(await outcome(pipeline, own), self._workload.expected)


@pytest.fixture
def bench(kafka: KafkaServer, namespace: str, tmp_path: Path, workload: Workload) -> Bench:
    return Bench(kafka, namespace, tmp_path, workload)


async def test_a_full_redis(bench: Bench) -> None:
    async with bench.disturbed() as run:
        await run.command("CONFIG", "SET", "maxmemory", "1mb")
        await run.paused()
        await run.command("CONFIG", "SET", "maxmemory", "0")
        await run.goes_on()


async def test_a_redis_that_has_become_a_read_only_replica(bench: Bench) -> None:
    async with bench.disturbed() as run:
        # Of a primary that does not answer, so that it keeps what it has.
        await run.command("REPLICAOF", "127.0.0.1", str(free_port()))
        await run.paused()
        await run.command("REPLICAOF", "NO", "ONE")
        await run.goes_on()


async def test_a_replica_that_will_not_even_answer_reads(bench: Bench) -> None:
    async with bench.disturbed({"replica-serve-stale-data": "no"}) as run:
        await run.command("REPLICAOF", "127.0.0.1", str(free_port()))
        await run.paused()
        await run.command("REPLICAOF", "NO", "ONE")
        await run.goes_on()


async def test_a_redis_that_is_still_loading(bench: Bench) -> None:
    async with bench.disturbed(_LOADING, aof=True) as run:
        await run.command("BGREWRITEAOF")  # what it loads as a snapshot it answers about meanwhile
        await asyncio.to_thread(rewritten, run.redis.url)
        await asyncio.to_thread(run.redis.kill)
        starting = asyncio.create_task(asyncio.to_thread(run.redis.start))
        assert await loading(run.redis.port, starting), "it was up before anybody could see it load"
        await until(lambda: run.tracked("paused") == PARTITIONS, "every partition pauses")
        assert not starting.done(), "it pauses because Redis loads"
        await starting
        await run.goes_on()


def rewritten(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        while client.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(0.05)


async def loading(port: int, starting: asyncio.Task[None]) -> bool:
    """Whether Redis has answered that it loads before it was up."""

    def ask() -> bool:
        with redis.Redis(port=port, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client:  # its own waits it out
            try:
                client.get("x")
            except redis.exceptions.BusyLoadingError:
                return True
            except redis.RedisError:
                pass
        return False

    while not starting.done():
        if await asyncio.to_thread(ask):
            return True
        await asyncio.sleep(0.05)
    return False


async def test_a_redis_that_is_slow_is_waited_for(bench: Bench) -> None:
    async with bench.disturbed() as run:
        for _ in range(3):
            await run.command("CLIENT", "PAUSE", "1500", "ALL")
            await asyncio.sleep(2)
        assert run.tracked("running") == PARTITIONS
        await run.goes_on()


async def test_a_redis_that_says_nothing_for_longer_than_anybody_waits(bench: Bench) -> None:
    async with bench.disturbed() as run:
        await run.command("CLIENT", "PAUSE", "25000", "ALL")
        await run.paused()
        await run.goes_on()
