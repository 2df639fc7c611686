"""The ingest stage: raw topics in, the log out, and how far time has come.

1. A batch of a raw partition becomes records of the log, which are appended and awaited (`RawPartition`).
2. Once a second, and in a backlog for each minute of event time, the worker commits what it has read and only then
   appends a `watermark` record with the marks of its sources to every partition of the log (`Ingest`).

In this order whatever a restart reads again lies ahead of every mark that was said, so it is never late, and
track's deduplication absorbs it. Nothing is skipped: what is not acknowledged is not committed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from tracker.errors import Unavailable
from tracker.health import Health
from tracker.metrics import Metrics
from tracker.settings import Settings
from tracker.stream.flow import Board, Flow
from tracker.stream.ports import Dialects, OutRecord
from tracker.stream.processor import PartitionProcessor
from tracker.stream.raw import RawContext, RawPartition, commit
from tracker.wire.control import WatermarkMarks, control_headers, encode_control
from tracker.wire.topics import Topics

SAY_EVERY = 1.0
"""Seconds between two watermark records at the most, where nothing asks for one earlier."""
BATCH_RECORDS = 2000
STALLED = 120.0
"""Seconds after which an attempt to say something is given up."""
_WATERMARK_HEADERS = control_headers(WatermarkMarks({}))

log = logging.getLogger(__name__)


def wall_clock() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Ingest:
    """The raw partitions that the consumer group gives this worker, and its watermark records.

    `consumer` is of the ingest group, not started, and commits nothing by itself; `append` writes records and
    awaits their acknowledgement; `partitions` has the number of partitions by topic; `dialects` reads raw records; on
    `board` the workers share how far their sources are; `record_bytes` is the largest record that the broker takes;
    `ask` asks the broker something on a connection of its own."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        append: Callable[[Sequence[OutRecord]], Awaitable[None]],
        topics: Topics,
        partitions: Mapping[str, int],
        dialects: Dialects,
        board: Board,
        settings: Settings,
        metrics: Metrics,
        ask: Callable[[], Awaitable[object]],
        health: Health,
        *,
        record_bytes: int,
        now: Callable[[], int] = wall_clock,
    ) -> None:
        self._consumer = consumer
        self._append = append
        self._now = now
        self._wall = settings.clock == "wall"
        self._log = topics.events
        self._log_partitions = partitions[topics.events]
        self._wake = asyncio.Event()
        self._floors: dict[str, int] = {}
        self._flow = Flow(board)
        context = RawContext(
            consumer,
            append,
            topics,
            partitions,
            dialects,
            settings,
            metrics,
            record_bytes,
            now,
            self._flow,
            self._wake.set,
            self._floors,
        )
        self._processor = PartitionProcessor(
            "ingest",
            consumer,
            topics.raw_topics,
            lambda partition: RawPartition(partition, context),
            metrics,
            ask,
            health,
            batch=BATCH_RECORDS,
        )

    async def start(self) -> None:
        """Join the group. Raises `Unavailable`."""
        await self._processor.start()

    async def run(self) -> None:
        """Say how far time has come, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._processor.keep_alive())
            group.create_task(self._speak())
            if self._wall:
                group.create_task(self._share())

    async def stop(self) -> None:
        """Finish the batches under way, commit and leave the group."""
        await self._processor.stop()

    async def _speak(self) -> None:
        failures = 0
        while True:
            try:
                async with asyncio.timeout(SAY_EVERY):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                async with asyncio.timeout(STALLED):
                    await self._say()
                failures = 0
            except (Unavailable, KafkaError, OSError, TimeoutError) as error:
                failures += 1
                level = logging.WARNING if failures in {1, 10, 100} else logging.DEBUG
                log.log(level, "how far time has come could not be said (attempt %d): %s", failures, error)
                await asyncio.sleep(SAY_EVERY)

    async def _share(self) -> None:
        """Apart from speaking: the board may be away."""
        while True:
            await asyncio.sleep(SAY_EVERY)
            await self._flow.share(_marks(self._sources()), self._now())

    def _sources(self) -> list[RawPartition]:
        return [stage for stage in self._processor.owned.values() if isinstance(stage, RawPartition)]

    async def _say(self) -> None:
        """Commit first, say second: see the module's docstring."""
        sources = self._sources()
        marks = _marks(sources)
        if not await commit(self._consumer, sources):
            return
        if all(marks.get(source.name) == source.said for source in sources):
            return
        value, now = encode_control(WatermarkMarks(marks)), self._now()
        await self._append(
            [
                OutRecord(self._log, partition, None, value, _WATERMARK_HEADERS, now)
                for partition in range(self._log_partitions)
            ]
        )
        self._floors |= marks
        for source in sources:
            if source.name in marks:
                source.told(marks[source.name])


def _marks(sources: Sequence[RawPartition]) -> dict[str, int]:
    return {source.name: mark for source in sources if (mark := source.mark) is not None}
