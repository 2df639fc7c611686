"""The track stage of one worker: its partitions, and the announcements of how far they have come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from aiokafka import AIOKafkaConsumer

from tracker.domain.units import NEVER
from tracker.errors import SettingError, Unavailable
from tracker.health import Health
from tracker.stream.ports import OutRecord, Publisher
from tracker.stream.processor import PartitionProcessor
from tracker.stream.track import TrackContext, TrackPartition, now
from tracker.wire.control import Passed, control_headers, encode_control

log = logging.getLogger(__name__)

ANNOUNCE = 0.5
"""Seconds between two `passed` records."""

COUNT_SOURCES = 60.0
"""Seconds between two looks at how many partitions the raw topics have."""


class TrackStage:
    """Owns the partitions of the log that the consumer group gives this worker."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        context: TrackContext,
        make_publisher: Callable[[int], Publisher],
        ask: Callable[[], Awaitable[object]],
        health: Health,
        count_sources: Callable[[], Awaitable[Sequence[str]]],
        *,
        batch: int,
    ) -> None:
        """`ask` asks the broker something on a connection of its own, to tell a consumer that hangs from a broker
        that is away; `count_sources` names the raw partitions that there are now."""
        self._count_sources = count_sources
        self._context = context
        self._processor = PartitionProcessor(
            "track",
            consumer,
            [context.topics.events],
            lambda partition: TrackPartition(partition.partition, self._context, make_publisher(partition.partition)),
            context.metrics,
            ask,
            health,
            batch=batch,
        )
        self._announced: dict[int, tuple[int, int]] = {}

    async def start(self) -> None:
        """Join the group. Raises `Unavailable`."""
        await self._processor.start()

    async def run(self) -> None:
        """Announce how far the partitions have come, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._processor.keep_alive())
            group.create_task(self._announce())
            group.create_task(self._watch_sources())

    async def stop(self) -> None:
        """Finish the batches under way and leave the group."""
        await self._processor.stop()

    async def _watch_sources(self) -> None:
        while True:
            await asyncio.sleep(COUNT_SOURCES)
            try:
                await self._take_new_sources()
            except (Unavailable, SettingError) as error:
                log.warning("the partitions of the raw topics could not be counted, trying again: %s", error)

    async def _take_new_sources(self) -> None:
        """Time waits for raw partitions that came since. One that is gone retires only with the next start: that it
        cannot be seen for a moment is no reason to let time go on without it."""
        config, found = self._context.config, await self._count_sources()
        new = [source for source in found if source not in config.sources]
        if new:
            log.info("time waits for %s from now on", ", ".join(new))
            gone = [source for source in config.sources if source not in found]
            config = msgspec.structs.replace(config, sources=(*found, *gone))
            self._context = self._context._replace(config=config)
        # In each round: a partition that was paused, or to whose log nothing could be written, has yet to hear of it.
        for owned in list(self._processor.owned.values()):
            if isinstance(owned, TrackPartition):
                await owned.use(config)

    async def _announce(self) -> None:
        while True:
            await asyncio.sleep(ANNOUNCE)
            try:
                await self._announce_once()
            except Unavailable as error:
                log.warning("how far time has come could not be announced, trying again: %s", error)

    async def _announce_once(self) -> None:
        """Append (w0, w1) of every partition that got further to every partition of the log."""
        context = self._context
        passed = {
            partition.partition: owned.passed
            for partition, owned in self._processor.owned.items()
            if isinstance(owned, TrackPartition) and owned.passed[0] > NEVER
        }
        if all(self._announced.get(partition) == marks for partition, marks in passed.items()):
            return
        record = Passed(passed)
        value, headers, at = encode_control(record), control_headers(record), now()
        await context.append(
            [
                OutRecord(context.topics.events, partition, None, value, headers, at)
                for partition in range(context.partitions)
            ]
        )
        self._announced = passed
