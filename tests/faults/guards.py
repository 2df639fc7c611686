"""What the tests of single guards share: a small known truth, workers that stop or die at an exact point, with and
without the guard in question, and the campaign's judge at the end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.faults.campaign import environment, make_topics
from tests.faults.generator import Generator, Raw
from tests.faults.judge import Judge
from tests.faults.lives import CLICKS, ORDERS
from tests.faults.monitor import Monitor
from tests.faults.plan import Plan, Timeline, mark_after
from tests.faults.verdict import Verdict
from tests.faults.workers import TERM_WITHIN, Worker
from tests.services import KafkaServer, RedisServer
from tests.waiting import until
from tracker.wire.position import Position, decode_position
from tracker.wire.topics import Topics

PLAN = Plan(seed=11, minutes=0.05, rate=300, speed=28_800, partitions=1)
"""About 900 events of a day. One partition, so that there is one owner to be disturbed."""
MUTANT = [sys.executable, "-m", "tests.faults.mutant"]
WITHIN = 60.0
"""Seconds for one step; the machine may be busy."""


class Bench:
    """One tracker with a Redis of its own, in its namespace on the broker. Use it with `async with`; `guard` is what
    its track workers lack, None for complete ones."""

    def __init__(self, kafka: KafkaServer, store: RedisServer, namespace: str, folder: Path, guard: str | None) -> None:
        self.guarded = guard is None
        self.topics = Topics(namespace)
        self._store = store
        self._kafka = kafka
        self._folder = folder
        self._guard = guard
        self._env = environment(PLAN, namespace, kafka.bootstrap, store.url)
        self._timeline = Timeline(PLAN)
        self._ticks = 0
        self._generator = Generator(PLAN, kafka.bootstrap, namespace)
        self._monitor = Monitor(kafka.bootstrap, self.topics, PLAN.partitions)
        self._workers: list[Worker] = []

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(make_topics, self._env)
        self._watching = asyncio.create_task(self._monitor.run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        for worker in self._workers:
            worker.kill()
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        await self._generator.close()

    # Input

    async def write(self, part: float = 1.0) -> None:
        """Write the plan up to this part of it, the final marker with the last of it."""
        records: list[Raw] = []
        while self._ticks < round(part * PLAN.ticks):
            self._ticks += 1
            due = self._timeline.until(PLAN.time_of(self._ticks))
            records += [Raw(sent.topic, sent.partition, sent.key, sent.value) for sent in due]
        await self._generator.write(records)
        await self._generator.mark(self.mark)

    @property
    def mark(self) -> int:
        """The time (ms) before which everything is written."""
        return PLAN.last_mark if self._ticks == PLAN.ticks else mark_after(PLAN.time_of(self._ticks))

    # Workers

    def track(self, *at: str, **env: str) -> Worker:
        """A track worker, without the guard if the bench is; `at` are points of `tests.faults.mutant`."""
        without = [] if self._guard is None else ["--without", self._guard]
        points = [word for point in at for word in ("--at", point)]
        return self._start([*without, *points, "worker", "--only", "track"], env)

    def ingest(self, *raw_topics: str) -> Worker:
        """An ingest worker, which lacks nothing."""
        env = {"TRACKER_RAW_TOPICS": ",".join(raw_topics or (CLICKS, ORDERS))}
        return self._start(["worker", "--only", "ingest"], env)

    def _start(self, arguments: list[str], env: dict[str, str]) -> Worker:
        worker = Worker(len(self._workers) + 1, [*MUTANT, *arguments], self._env | env, self._folder)
        self._workers.append(worker)
        return worker

    async def stopped(self, worker: Worker) -> None:
        """Wait until a worker has met its point and stopped there."""
        pid = worker._process.pid
        await self.until(
            lambda: os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None, f"{worker.name} stops"
        )

    async def died(self, worker: Worker) -> None:
        """Wait until a worker has met its point and killed itself there."""
        await self.until(lambda: worker.code == -signal.SIGKILL, f"{worker.name} dies")

    async def end(self, worker: Worker) -> None:
        """SIGTERM."""
        worker.send(signal.SIGTERM)
        assert await worker.ended(TERM_WITHIN), f"{worker.name} did not end"

    # How far it is

    @property
    def published(self) -> Position:
        """C, before the log where there is none."""
        return self._monitor.committed.get(0, Position(-1))

    @property
    def folded(self) -> Position:
        """R, before the log where there is none."""
        with self._store.client() as client:
            stored: bytes | None = client.hget(f"{self.topics.prefix}{{p0}}:r", "position")
        return Position(-1) if stored is None else decode_position(stored)

    async def until(self, met: Callable[[], object], what: str, seconds: float = WITHIN) -> None:
        """Wait until something is so."""
        try:
            await until(met, what, seconds)
        except AssertionError as late:
            late.add_note(self._logs())
            raise

    async def ingested(self, *raw_topics: str) -> None:
        """Wait until all that was written to these raw topics is in the log."""
        partitions = [TopicPartition(self.topics.prefix + topic, 0) for topic in raw_topics or (CLICKS, ORDERS)]
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._kafka.bootstrap, group_id=self.topics.ingest_group, enable_auto_commit=False
        )
        await consumer.start()
        try:
            ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
            begun = time.monotonic()
            while {tp: await consumer.committed(tp) for tp in partitions} != ends:
                assert time.monotonic() - begun < WITHIN, f"not ingested in {WITHIN:.0f} s\n{self._logs()}"
                await asyncio.sleep(0.1)
        finally:
            await consumer.stop()

    async def settled(self) -> None:
        """Wait until all that was written is folded and published, and nothing is under way."""
        mark = self.mark

        def met() -> bool:
            return self.published == self.folded and self.published.watermark >= mark and self.published.due is None

        while True:
            await self.until(met, f"everything before {mark} is published")
            reached = self.published
            await asyncio.sleep(1.5)  # marks that say nothing new still move the offset for a moment
            if met() and self.published == reached:
                return

    async def largest(self, topic: str, size: int) -> None:
        """Set the largest batch (bytes) that a topic takes."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._kafka.bootstrap)
        await admin.start()
        try:
            wanted = ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": str(size)})
            (reply,) = await admin.alter_configs([wanted])
            assert reply.resources[0][0] == 0, reply
        finally:
            await admin.close()

    def flush(self) -> None:
        """FLUSHALL."""
        with self._store.client() as client:
            client.flushall()

    async def snapshot(self) -> Path:
        """Save what Redis holds."""
        return await asyncio.to_thread(self._store.snapshot)

    async def roll_back(self, snapshot: Path) -> None:
        """Crash Redis, and start it with what it held then."""
        await asyncio.to_thread(self._store.restore, snapshot)

    # The end

    async def judge(self) -> Verdict:
        """Let the workers finish and end them, then compare everything with the truth."""
        await self.settled()
        await asyncio.gather(*[self.end(worker) for worker in self._workers if worker.code is None])
        verdict = Verdict()
        await Judge(PLAN, self._kafka.bootstrap, self._store.url, self.topics, verdict).run()
        assert verdict.counts["drop-offs by the oracle"] > 0
        return verdict

    def said(self, text: str) -> bool:
        """Whether a worker has logged this."""
        return any(text in worker.log.read_text("utf-8", "replace") for worker in self._workers)

    def _logs(self) -> str:
        return "\n".join(f"{worker.name}: {_tail(worker.log)}" for worker in self._workers)


def _tail(path: Path) -> str:
    return path.read_text("utf-8", "replace")[-2000:]
