"""The track stage: owns partitions of the log, one commit and one transaction per batch.

The life of a partition, in the order that the guarantees ask for:

1. `assign`: write the fencing token, initialise the producer, and only then read R (store) and C (broker);
   publish what the store has and the broker has not; say where to read on.
2. `handle`: scan the batch, fetch states and timers, walk it, commit it to the store, publish it with its position.
3. `release`: close the producer. The token stays until the next owner writes another.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from secrets import token_hex
from typing import NamedTuple

import msgspec

from tracker.domain.events import Event
from tracker.domain.units import NEVER
from tracker.errors import Fenced, Irreconcilable, PartitionError, Unavailable
from tracker.metrics import Metrics, Tally
from tracker.stream.marks import Marks, decode_marks, encode_marks
from tracker.stream.partition import Compile, DeadRecord, PartitionFold
from tracker.stream.ports import Commit, OutRecord, PartitionRow, Publisher, Record, Store
from tracker.wire.control import Config, control_headers, encode_control
from tracker.wire.deadletters import Origin, write_letter
from tracker.wire.encode import OutputEncoder
from tracker.wire.position import Position
from tracker.wire.topics import Topics

log = logging.getLogger(__name__)

FOLD_VERSION = 1
"""Raised when the code would fold the same records to something else."""

CONFIG_KEY = "config"
"""The config in force lies beside the states; no person id looks like it."""

IDLE_COMMIT = 1.0
"""Seconds after which a position without outputs is committed to the broker too."""


class Limits(NamedTuple):
    """Bounds of one commit, and of the states kept in memory per partition."""

    deadlines: int
    cache: int
    record_bytes: int


class TrackContext(NamedTuple):
    """What every partition of a worker shares. `append` writes records to the log and awaits their
    acknowledgement; `first_config` reads the first config record of a partition, None if it has none;
    `log_start` is a partition's first offset, `has_outputs` whether anything was published to it;
    `check_change` raises where one config cannot follow another; `wall`
    says that event time follows the wall clock."""

    store: Store
    topics: Topics
    partitions: int
    config: Config
    compile: Compile
    encoder: OutputEncoder
    decode: Callable[[bytes | None], Event]
    metrics: Metrics
    limits: Limits
    append: Callable[[Sequence[OutRecord]], Awaitable[None]]
    first_config: Callable[[int], Awaitable[Config | None]]
    log_start: Callable[[int], Awaitable[int]]
    has_outputs: Callable[[int], Awaitable[bool]]
    check_change: Callable[[Config, Config], None]
    wall: bool


class TrackPartition:
    """One partition of the log, owned by this worker."""

    def __init__(self, partition: int, context: TrackContext, publisher: Publisher) -> None:
        self.partition = partition
        self._context = context
        self._publisher = publisher
        self._tally = Tally()
        self._token = ""
        self._stored: Position | None = None
        self._published: list[Position] = []
        """Positions whose outbox entries the broker has, to be trimmed with the next commit."""
        self._told: Position | None = None
        """The position that the broker holds."""
        self._told_at = 0.0
        self.passed: tuple[int, int] = (NEVER, NEVER)
        """(w0, w1) of what is published."""
        self._fold: PartitionFold | None = None

    async def assign(self) -> int:
        """Take the partition over; answers the offset to read from. Raises `Unavailable`, `Fenced`,
        `Irreconcilable`."""
        context, partition = self._context, self.partition
        self._fold = None
        self._token = token_hex(16)
        await context.store.take(partition, self._token)
        await self._publisher.open()
        row = await context.store.row(partition)
        committed = await self._publisher.committed()
        self._stored = row.position if row is not None else None
        self._tally.clear()  # a batch that failed was not counted
        start = await context.log_start(partition)
        published = row is None and committed is None and await context.has_outputs(partition)
        resume = self._stored or Position(start)
        suppress_until = self._reconcile(row, committed, start, published)
        self._told, self._told_at = committed, time.perf_counter()
        if committed is None:
            # The broker's position comes before the first commit, so that a store without it means a loss.
            await self._tell((), resume)
        await self._publish_outbox(committed)
        config, own = await self._config(first=row is None, rebuilding=suppress_until is not None)
        self._fold = PartitionFold(
            partition,
            context.partitions,
            config,
            context.compile,
            context.encoder,
            context.decode,
            self._tally,
            cache=context.limits.cache,
            position=resume,
            marks=decode_marks(row.meta) if row is not None and row.meta else Marks(),
            suppress_until=suppress_until,
        )
        if own:
            value, headers = encode_control(context.config), control_headers(context.config)
            await context.append([OutRecord(context.topics.events, partition, None, value, headers, now())])
        self._announce()
        return self._fold.position.offset

    def _reconcile(
        self, row: PartitionRow | None, committed: Position | None, start: int, published: bool
    ) -> Position | None:
        """Compare R, C and the log's start. Answers up to where outputs were published already, None where the
        store is not behind."""
        where = f"partition {self.partition} of {self._context.topics.events}"
        if committed is None:
            if row is None and not published:
                return None
            if row is None:
                raise Irreconcilable(
                    f"{where}: neither Redis nor the broker knows a position, but outputs of this partition are there: "
                    "both were lost, and everything would be published again. Ways out: restore Redis and the consumer "
                    f"group {self._context.topics.track_group}, or begin anew under another TRACKER_NAMESPACE"
                )
            raise Irreconcilable(
                f"{where}: Redis is at {row.position.encode()}, but the broker has no committed position: it was "
                "lost, so what was published is not known. Ways out: restore the consumer group "
                f"{self._context.topics.track_group}, or begin anew under another TRACKER_NAMESPACE"
            )
        if row is None and committed == Position(start):
            return None  # a first start that got no further
        if row is not None and committed.order() <= row.position.order():
            if row.position.offset < start:
                raise Irreconcilable(
                    f"{where}: Redis is at offset {row.position.offset}, but the log begins at {start}: what lay "
                    "between was deleted before it was folded (TRACKER_EVENTS_RETENTION). Way out: accept the loss and "
                    "begin anew under another TRACKER_NAMESPACE"
                )
            return None
        behind = row.position.offset if row is not None else 0
        if behind < start:
            raise Irreconcilable(
                f"{where}: Redis is at offset {behind}, the broker at {committed.offset}, and the log begins at "
                f"{start}: what Redis lost cannot be rebuilt. Ways out: restore a Redis backup that is not older than "
                "the log, or accept the loss and begin anew under another TRACKER_NAMESPACE"
            )
        log.warning(
            "%s: Redis is at offset %d, behind the broker's %d: rebuilding from the log, nothing is published twice",
            where,
            behind,
            committed.offset,
        )
        return committed

    async def handle(self, records: Sequence[Record], following: int) -> None:
        """Fold, commit and publish a batch; `following` is the log's position after its last record."""
        while True:
            done, rest = await self._handle_some(records, following)
            if done:
                return
            records = rest

    async def release(self) -> None:
        """Give the partition up; never raises."""
        self._fold = None
        await self._publisher.close()

    def behind(self) -> float | None:
        """Seconds from the watermark to now. A recording's event time, and none yet, say nothing about that."""
        fold = self._fold
        if not self._context.wall or fold is None or fold.position.watermark <= NEVER:
            return None
        return max(now() - fold.position.watermark, 0) / 1000

    async def _handle_some(self, records: Sequence[Record], following: int) -> tuple[bool, Sequence[Record]]:
        context, fold, tally = self._context, self._fold, self._tally
        assert fold is not None
        metrics = context.metrics
        started = time.perf_counter()
        needs = fold.scan(records)
        horizon = None
        timers: list[tuple[int, bytes]] = []
        if needs.until is not None:
            limit = context.limits.deadlines
            due = await context.store.due(self.partition, needs.until, limit)
            timers = [(at, person.encode()) for at, person in due]
            horizon = timers[-1] if len(timers) == limit else None
        wanted = list(dict.fromkeys([*needs.persons, *fold.missing(key for _, key in timers)]))
        tally.cache_misses += len(wanted)
        tally.cache_hits += len(records) - len(needs.persons)
        if wanted:
            stored = await context.store.states(self.partition, [key.decode() for key in wanted])
            fold.load(zip(wanted, stored, strict=True), timers)
        else:
            fold.load((), timers)
        until = NEVER if needs.until is None else needs.until
        walked = fold.walk(records, following, until, horizon)
        at = now()
        outputs = [OutRecord(*encoded, at) for encoded in walked.outputs]
        outputs += [self._dead_letter(dead, at) for dead in walked.dead]
        self._check_sizes(outputs)
        states = walked.states
        if fold.config_changed or self._stored is None:
            states = [*states, (CONFIG_KEY, encode_control(fold.config))]
            fold.config_changed = False
        before_commit = time.perf_counter()
        await context.store.commit(
            self.partition,
            self._token,
            Commit(
                begin=self._stored,
                end=walked.position,
                meta=encode_marks(fold.marks),
                states=states,
                gone=walked.gone,
                timers=walked.timers,
                counters=walked.counters,
                outbox=_encode_outbox(outputs) if outputs else None,
                trim=self._published,
            ),
        )
        committed = time.perf_counter()
        self._stored = walked.position
        self._published = []
        if outputs or committed - self._told_at > IDLE_COMMIT:
            await self._tell(outputs, walked.position)
            if outputs:
                self._published = [walked.position]
        ended = time.perf_counter()
        self._announce()
        metrics.flush("track", tally, ended - started, committed - before_commit, ended - committed)
        watermark = walked.position.watermark
        metrics.watermark(
            self.partition,
            watermark if watermark > NEVER else None,
            fold.marks.held_by(fold.config.sources),
        )
        complete = walked.done == len(records)
        return complete, () if complete else records[walked.done :]

    async def idle(self) -> None:
        """Nothing to read: let the broker know a position that has no outputs to carry it."""
        late = time.perf_counter() - self._told_at > IDLE_COMMIT
        if late and self._stored is not None and self._told != self._stored:
            await self._tell((), self._stored)

    async def _tell(self, outputs: Sequence[OutRecord], position: Position) -> None:
        """One transaction, where the publisher does them."""
        counted = self._context.metrics.transaction if self._publisher.exactly_once else _not_counted
        try:
            await self._publisher.publish(outputs, position)
        except Fenced:
            counted("fenced")
            raise
        except Unavailable:
            counted("aborted")
            raise
        counted("committed")
        self._told, self._told_at = position, time.perf_counter()

    def _announce(self) -> None:
        fold = self._fold
        if fold is not None:
            self.passed = fold.marks.own(fold.config.sources, self._context.partitions)

    def _dead_letter(self, dead: DeadRecord, at: int) -> OutRecord:
        record = dead.record
        self._tally.dead_letters[dead.error.reason] += 1
        origin = Origin(record.topic, record.partition, record.offset, record.timestamp)
        letter = write_letter(origin, record.key, record.value, record.headers, dead.error)
        topic = self._context.topics.dead_letters
        return OutRecord(topic, self.partition, letter.key, letter.value, letter.headers, at)

    def _check_sizes(self, outputs: Sequence[OutRecord]) -> None:
        """What the broker would refuse must not be committed to the store first."""
        most = self._context.limits.record_bytes
        for output in outputs:
            if len(output.value or b"") > most:
                raise PartitionError(
                    f"an output of {len(output.value or b'')} bytes for {output.topic}/{output.partition} (key "
                    f"{output.key!r:.40}) is larger than the {most} bytes that a record may have"
                )

    async def _publish_outbox(self, committed: Position | None) -> None:
        """What a former owner committed to the store and did not get to publish."""
        reached = committed.order() if committed is not None else Position(-1).order()
        self._published = []
        for position, blob in await self._context.store.outbox(self.partition):
            if position.order() > reached:
                await self._tell(_decode_outbox(blob), position)
            self._published.append(position)

    async def _config(self, first: bool, rebuilding: bool) -> tuple[Config, bool]:
        """(config in force, whether this worker's own has to be appended to the log). The first config of a
        partition applies from its start."""
        context = self._context
        known: Config | None = None
        if not first:
            stored = (await context.store.states(self.partition, [CONFIG_KEY]))[0]
            known = _decode_config(stored) if stored is not None else None
        elif rebuilding:
            known = await context.first_config(self.partition)
        if known is None:
            return context.config, first
        context.check_change(known, context.config)
        return known, known != context.config


_encode_outbox = msgspec.msgpack.Encoder().encode
_decode_outbox = msgspec.msgpack.Decoder(list[OutRecord]).decode
_decode_config = msgspec.json.Decoder(Config).decode


def _not_counted(_: str) -> None:
    pass


def now() -> int:
    """Milliseconds since 1970, for record timestamps only: nothing that is folded depends on it."""
    return time.time_ns() // 1_000_000
