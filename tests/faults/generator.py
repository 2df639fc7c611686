"""The open-loop generator: writes a plan's records to the raw topics at their time, whatever the tracker does.

It goes by the wall clock: where the broker was away, everything that was due meanwhile is written at once, as fast as
the broker takes it, and the schedule stays. A marker follows once everything before it is acknowledged. What may not
have arrived is written again, so the raw topics may hold copies; the judge counts what is really there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

from tests.faults.lives import CLICKS, ORDERS
from tests.faults.plan import TICK, Plan, Timeline, mark_after
from tests.faults.poison import KEY, poison
from tracker.broker.discard import FAILURES, discard
from tracker.wire.control import Progress, control_headers, encode_control

CHUNK = 5000
PATIENCE = 20.0
"""Seconds until a write that is not acknowledged is tried again with a new producer."""


class Raw(NamedTuple):
    """A record of a raw topic (without the namespace)."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class Generator:
    """Writes `plan` through `brokers`; topics have `prefix` in front."""

    def __init__(self, plan: Plan, brokers: str, prefix: str) -> None:
        self.written = 0
        """Records acknowledged so far, markers left out."""
        self.poisoned = 0
        """Records that are no events, among those written or still to be."""
        self.rewritten = 0
        """Writes that had to be tried again."""
        self.behind = 0.0
        """The longest (s) that anything was written after it was due."""
        self._plan = plan
        self._brokers = brokers
        self._prefix = prefix
        self._producer: AIOKafkaProducer | None = None
        self._random = Random(f"{plan.seed}/poison")
        self._poison: list[Raw] = []

    async def run(self) -> None:
        """Write everything, each thing at its time; ends with the last marker but the final one."""
        plan, timeline = self._plan, Timeline(self._plan)
        begun = time.monotonic()
        done = 0
        while done < plan.ticks:
            await asyncio.sleep(max(begun + (done + 1) * TICK - time.monotonic(), 0))
            due = min(int((time.monotonic() - begun) / TICK), plan.ticks)
            self.behind = max(self.behind, time.monotonic() - begun - (done + 1) * TICK)
            records: list[Raw] = []
            while done < due and len(records) < CHUNK:
                done += 1
                records += [Raw(s.topic, s.partition, s.key, s.value) for s in timeline.until(plan.time_of(done))]
            taken, self._poison = self._poison, []
            await self.write([*records, *taken])
            self.written += len(records) + len(taken)
            await self.mark(mark_after(plan.time_of(done)))

    def add_poison(self, count: int) -> None:
        """Write so many records that are no events with the next round, or at the end."""
        random = self._random
        for _ in range(count):
            value, headers = poison(random)
            topic = random.choice((CLICKS, ORDERS))
            self._poison.append(Raw(topic, random.randrange(self._plan.partitions), KEY, value, headers))
        self.poisoned += count

    async def mark(self, ts: int) -> None:
        """Say in every raw partition that everything before `ts` is written."""
        progress = Progress(ts)
        value, headers = encode_control(progress), control_headers(progress)
        partitions = range(self._plan.partitions)
        await self.write([Raw(topic, p, None, value, headers) for topic in (CLICKS, ORDERS) for p in partitions])

    async def finish(self) -> None:
        """What was still to be written, and the final marker."""
        await self.write(self._poison)
        self.written += len(self._poison)
        self._poison = []
        await self.mark(self._plan.last_mark)

    async def close(self) -> None:
        """Release the producer."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await discard(producer)

    async def write(self, records: Sequence[Raw]) -> None:
        """Write them and wait until the broker has every one, however often that takes."""
        while True:
            try:
                async with asyncio.timeout(PATIENCE):
                    producer = await self._open()
                    futures = [
                        await producer.send(
                            self._prefix + topic, value, key, partition=partition, headers=list(headers)
                        )
                        for topic, partition, key, value, headers in records
                    ]
                    answers = await asyncio.gather(*futures, return_exceptions=True)
                for answer in answers:
                    if isinstance(answer, BaseException):
                        raise answer
            except FAILURES:
                self.rewritten += 1
                await self.close()
                await asyncio.sleep(0.2)
            else:
                return

    async def _open(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._brokers,
                acks="all",
                linger_ms=2,
                max_batch_size=256 * 1024,
                compression_type="snappy",
                request_timeout_ms=10_000,
                retry_backoff_ms=50,
            )
            try:
                await producer.start()
            except BaseException:
                await discard(producer)
                raise
            self._producer = producer
        return self._producer
