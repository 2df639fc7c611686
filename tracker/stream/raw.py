"""One raw partition: its batches go to the log, its clock says how far time has come, its offset is committed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from tracker.metrics import Metrics, Tally
from tracker.settings import Settings
from tracker.stream.canonical import LOG_APPEND_TIME, Canonical
from tracker.stream.flow import Flow
from tracker.stream.ports import Dialects, OutRecord
from tracker.stream.sources import EventSource, SourceClock, WallSource
from tracker.wire.control import source_name
from tracker.wire.identities import Identities
from tracker.wire.sealing import Seal
from tracker.wire.topics import Topics

SAY_EVERY_EVENT_MS = 60_000
"""In a backlog the mark is said for each minute of event time, though not more often than once a batch."""
RELEASE_TIMEOUT = 3.0

log = logging.getLogger(__name__)


class RawContext(NamedTuple):
    """What every raw partition of a worker shares. `append` writes to the log and awaits the acknowledgement;
    `partitions` has the number of partitions by topic; `dialects` reads raw records; `flow` says whose turn it is;
    `wake` asks for a watermark record now; `floors` are the marks that this process has said."""

    consumer: AIOKafkaConsumer
    append: Callable[[Sequence[OutRecord]], Awaitable[None]]
    topics: Topics
    partitions: Mapping[str, int]
    dialects: Dialects
    settings: Settings
    metrics: Metrics
    record_bytes: int
    now: Callable[[], int]
    flow: Flow
    wake: Callable[[], None]
    floors: dict[str, int]


class RawPartition:
    """One raw partition. `clock.mark` covers what is acknowledged, `committable` is the offset to commit for it."""

    def __init__(self, partition: TopicPartition, context: RawContext) -> None:
        self.name = source_name(partition.topic, partition.partition)
        self.said: int | None = None
        self.steps = 0
        self._partition = partition
        self._context = context
        self._wall = context.settings.clock == "wall"
        self._tally = Tally()
        self._clock: SourceClock
        self._canonical: Canonical
        self._done: int | None = None
        self._marker: int | None = None
        self._committed: int | None = None
        self._warned = False

    @property
    def mark(self) -> int | None:
        """Every event with a lesser `ts` is in the log."""
        return self._clock.mark

    @property
    def committable(self) -> int | None:
        """The offset to commit, if it is not committed. A progress marker is committed once it was said: nobody
        sends it again."""
        offset = self._done if self._marker is None else self._marker
        return offset if offset != self._committed else None

    @property
    def ahead(self) -> bool:
        """Whether there is something to say that cannot wait."""
        mark = self.mark
        if mark is None or mark == self.said:
            return False
        return self._marker is not None or (self.said is not None and mark - self.said >= SAY_EVERY_EVENT_MS)

    async def assign(self) -> int:
        """The offset to read from: after what is acknowledged, else what is committed, else the first there is."""
        context, partition = self._context, self._partition
        floor = context.floors.get(self.name)
        if self._wall:
            self._clock = WallSource(context.settings.out_of_orderness, floor)
        else:
            self._clock = EventSource(floor)
        # New with every assignment: what was to be sent before it may never have arrived.
        self._tally.clear()
        self._canonical = Canonical(
            context.topics,
            context.partitions,
            context.dialects.reader(partition.topic),
            self._tally,
            context.record_bytes,
            wall=self._wall,
            bots=context.settings.bots,
            identities=Identities(context.settings.customer_ids, context.settings.blocked_ids),
            seal=Seal(context.settings.dead_letters, context.settings.dead_letters_key),
        )
        offset = self._done if self._marker is None else self._marker
        if offset is None:
            offset = self._committed = await context.consumer.committed(partition)
            self.steps += 1
        start: int = (await context.consumer.beginning_offsets([partition]))[partition]
        if offset is None:
            return start
        if offset < start:
            log.error("%s: offsets %d to %d were deleted before they were read", self.name, offset, start - 1)
        return max(offset, start)

    async def handle(self, records: Sequence[Any], following: int) -> None:
        """Append what the records become. Raises `Unavailable`; then all of them are read again."""
        began = time.perf_counter()
        self._look(following)
        self._check_timestamps(records[0])
        context = self._context
        await context.dialects.learn(record.value for record in records)
        out, marker = self._canonical.take(records, self._clock, context.now())
        if out:
            await context.append(out)
        if marker is not None:
            self._marker = marker
        self._acknowledge(following)
        took = time.perf_counter() - began
        ahead = self._wall and context.flow.is_ahead(self.mark, context.now())
        self._tally.waits += ahead
        context.metrics.flush("ingest", self._tally, took, publish=took)
        if ahead:
            await context.flow.wait()

    async def idle(self) -> None:
        """Nothing to read, which says something about time as well."""
        following = await self._context.consumer.position(self._partition)
        self._look(following)
        self._acknowledge(following)

    def leave(self) -> None:
        """See `PartitionStage`: a batch is one step, and nothing can end it sooner."""

    async def release(self) -> None:
        """Commit what is acknowledged, so that the next owner need not repeat it."""
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT):
                await commit(self._context.consumer, [self])
        except (KafkaError, TimeoutError) as error:
            log.info("%s: the next owner repeats what was not committed: %r", self.name, error)

    def behind(self) -> float | None:
        """See `PartitionStage`: a raw partition is as far behind as the records that it still has to read."""
        return None

    def offset_to_commit(self) -> tuple[TopicPartition, int] | None:
        """(partition, offset), None where there is nothing to commit."""
        offset = self.committable
        return None if offset is None else (self._partition, offset)

    def committed(self, offset: int) -> None:
        """The broker has this offset now."""
        self._committed = offset

    def told(self, mark: int) -> None:
        """This mark is in the log."""
        self.said = mark
        if self.mark == mark:
            self._marker = None

    def _look(self, following: int) -> None:
        """Note what the broker last said of the partition's end. Must come right after polling: no other response
        can have arrived in between."""
        consumer, partition = self._context.consumer, self._partition
        if partition in consumer.assignment():
            at = consumer.last_poll_timestamp(partition)
            if at is not None:
                self._clock.answered(following, consumer.highwater(partition), at)

    def _acknowledge(self, following: int) -> None:
        self._done = following
        if self._clock.acknowledge() == self.said:
            self._marker = None  # it says nothing new
        elif self.ahead:
            self._context.wake()

    def _check_timestamps(self, record: Any) -> None:
        if self._wall and record.timestamp_type != LOG_APPEND_TIME and not self._warned:
            self._warned = True
            log.warning(
                "topic %s has message.timestamp.type=CreateTime: its producers say when a record came, so the wall "
                "clock at reading bounds their times. Topics made by `tracker topics` have LogAppendTime",
                self._partition.topic,
            )


async def commit(consumer: AIOKafkaConsumer, sources: Sequence[RawPartition]) -> bool:
    """Commit what is acknowledged. False where the group is being rebalanced: then nothing may be said that rests
    on it."""
    offsets = {pair[0]: (source, pair[1]) for source in sources if (pair := source.offset_to_commit())}
    if offsets:
        try:
            await consumer.commit({partition: offset for partition, (_, offset) in offsets.items()})
        except (CommitFailedError, IllegalStateError) as error:
            log.info("offsets were not committed, the group is being rebalanced: %s", error)
            return False
        for source, offset in offsets.values():
            source.committed(offset)
    return True
