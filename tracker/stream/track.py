"""One partition of the log in the hands of its owner: one commit and one transaction per batch.

Its life, in the order that the guarantees ask for:

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
from tracker.domain.lineup import decode_lineups, encode_lineups
from tracker.domain.units import NEVER
from tracker.errors import Fenced, Unavailable
from tracker.metrics import Metrics, Tally
from tracker.stream.marks import Meta, decode_meta, encode_meta
from tracker.stream.pace import Pace
from tracker.stream.partition import Compile, PartitionFold
from tracker.stream.ports import Commit, OutRecord, Publisher, Record, Store
from tracker.stream.reconcile import Contradiction, Known, reconcile
from tracker.stream.refused import Refused
from tracker.stream.settling import Settling
from tracker.wire.control import Config, control_headers, encode_control
from tracker.wire.encode import OutputEncoder
from tracker.wire.position import Position
from tracker.wire.sealing import PLAIN, Seal
from tracker.wire.topics import Topics

log = logging.getLogger(__name__)

FOLD_VERSION = 1
"""Raised when the code would fold the same records to something else."""

CONFIG_KEY = "config"
"""The config in force lies beside the states; no person id looks like it."""

LINEUPS_KEY = "lineups"
"""Beside it, what the places in states stand for that were written under earlier configs."""

ERASED_KEY = "erased"
"""Beside it, the tombstones of a partition: until when (ms) by mark."""

IDLE_COMMIT = 1.0
"""Seconds after which a position without outputs is committed to the broker too."""


class Limits(NamedTuple):
    """Bounds of one commit, and of the states kept in memory per partition."""

    records: int
    deadlines: int
    cache: int
    record_bytes: int


class TrackContext(NamedTuple):
    """What every partition of a worker shares. `append` writes records to the log and awaits their
    acknowledgement; `first_config` reads the first config record of a partition, None if it has none, and tells its
    second argument of every answer on the way, since it may have to read all of the log;
    `log_range` is a partition's first and next offset (None where the broker does not say that reliably),
    `has_outputs` whether anything was published to it;
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
    first_config: Callable[[int, Callable[[], None]], Awaitable[Config | None]]
    log_range: Callable[[int], Awaitable[tuple[int, int | None]]]
    has_outputs: Callable[[int], Awaitable[bool]]
    check_change: Callable[[Config, Config], None]
    wall: bool
    seal: Seal = PLAIN


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
        self._letters_from = 0
        """The offset from which records that cannot be folded have no dead letter yet."""
        self._ends_early = Settling()
        """The log ends before what is known of it."""
        self._forgets = Settling()
        """The broker's position lies before one that it had confirmed."""
        self._pace = Pace(context.limits.records, context.limits.deadlines)
        self._refused = Refused(partition, context.topics, self._tally, context.limits.record_bytes, context.seal)
        self._leaving = False
        self._said: Config | None = None
        """The config that this owner has seen to be in the log."""
        self.steps = 0
        """Goes up with everything that `assign` and `handle` get done: where it stands for long, something hangs."""
        self.passed: tuple[int, int] = (NEVER, NEVER)
        """(w0, w1) of what is published."""
        self._fold: PartitionFold | None = None

    async def assign(self) -> int:
        """Take the partition over; answers the offset to read from. Raises `Unavailable`, `Fenced`,
        `Irreconcilable`."""
        context, partition = self._context, self.partition
        self._fold = None
        self._tally.clear()  # a batch that failed was not counted
        self._ends_early.begin()
        self._forgets.begin()
        self._token = token_hex(16)
        await context.store.take(partition, self._token)
        self.steps += 1
        await self._publisher.open()
        self.steps += 1
        row = await context.store.row(partition)
        committed = await self._publisher.committed()
        self._stored = row.position if row is not None else None
        meta = decode_meta(row.meta) if row is not None and row.meta else Meta()
        self._check_broker(meta.told, committed)
        start, end = await context.log_range(partition)
        first = row is None and committed in {None, Position(start)}
        known = Known(self._stored, committed, start, end, first and await context.has_outputs(partition))
        self.steps += 1
        suppress_until = self._reconcile(known)
        self._letters_from = suppress_until.offset if suppress_until is not None else 0
        resume = self._stored or Position(start)
        self._told, self._told_at = committed, time.perf_counter()
        if committed is None:
            # The broker's position comes before the first commit, so that a store without it means a loss.
            await self._tell((), resume)
        await self._publish_outbox(committed)
        config, stored, said = await self._config(first=first and not known.outputs)
        lineups, erased = await context.store.states(partition, [LINEUPS_KEY, ERASED_KEY])
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
            marks=meta,
            suppress_until=suppress_until,
            lineups=decode_lineups(lineups) if lineups is not None else (),
            erased=decode_erased(erased) if erased is not None else None,
        )
        self._fold.config_changed = not stored
        self._said = config if said else None
        if not said:
            await self._say_config()
            self.steps += 1
        self._announce()
        return self._fold.position.offset

    async def use(self, config: Config) -> None:
        """Have this config in force from here on in the log, if it is not yet. Raises `Unavailable`; it is said by the
        next call then, or the next assignment."""
        self._context = self._context._replace(config=config)
        if self._said != config:
            await self._say_config()

    async def _say_config(self) -> None:
        context = self._context
        value, headers = encode_control(context.config), control_headers(context.config)
        await context.append([OutRecord(context.topics.events, self.partition, None, value, headers, now())])
        self._said = context.config

    def _check_broker(self, told: Position | None, committed: Position | None) -> None:
        """A broker that was killed may, for a moment after its start, answer with positions of long ago: until it has
        read all that it wrote down. Raises `Unavailable`; where it goes on saying so, it is believed."""
        if told is None or committed is None or committed.order() >= told.order():
            return
        where = f"partition {self.partition} of {self._context.topics.events}"
        if not self._forgets.lasts():
            raise Unavailable(
                f"{where}: the broker's position is offset {committed.offset}, which was {told.offset} before: it has "
                "yet to read what it knows"
            )
        log.error(
            "%s: the broker has lost its position, offset %d, and is at %d again: the last outputs may come a second "
            "time with the same ids",
            where,
            told.offset,
            committed.offset,
        )

    def _reconcile(self, known: Known) -> Position | None:
        """See `reconcile`. A log that ends too early may be a broker's that has yet to catch up after a restart."""
        where = f"partition {self.partition} of {self._context.topics.events}"
        try:
            suppress_until = reconcile(known, where)
        except Contradiction as error:
            if not error.may_pass or self._ends_early.lasts():
                raise
            raise Unavailable(f"{where} ends at {known.end}, before what is known of it") from error
        if suppress_until is not None:
            log.warning(
                "%s: Redis is at offset %d, behind the broker's %d: rebuilding from the log, nothing is published "
                "twice",
                where,
                known.folded.offset if known.folded is not None else known.start,
                suppress_until.offset,
            )
        return suppress_until

    async def handle(self, records: Sequence[Record], following: int) -> None:
        """Fold, commit and publish a batch; `following` is the log's position after its last record. Many deadlines
        take many commits: after `leave` no further one is begun, and the next owner goes on there."""
        while records and not self._leaving:
            some = records[: self._pace.records]
            after = following if len(some) == len(records) else records[len(some)].offset
            records = records[await self._handle_some(some, after) :]

    def _step(self) -> None:
        self.steps += 1

    def leave(self) -> None:
        """See `PartitionStage`."""
        self._leaving = True

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

    async def _handle_some(self, records: Sequence[Record], following: int) -> int:
        """One commit: answers how many of the records it covers."""
        context, fold, tally = self._context, self._fold, self._tally
        assert fold is not None
        metrics = context.metrics
        started = time.perf_counter()
        needs = fold.scan(records)
        horizon = None
        timers: list[tuple[int, bytes]] = []
        if needs.until is not None:
            limit = self._pace.deadlines
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
        began = time.perf_counter()
        walked = fold.walk(records, following, until, horizon)
        walking = time.perf_counter() - began
        at = now()
        outputs = [OutRecord(*encoded, at) for encoded in walked.outputs]
        letters_from = self._letters_from
        outputs += [self._refused.letter(dead, at) for dead in walked.dead if dead.record.offset >= letters_from]
        outputs = self._refused.fit(outputs, self._stored.offset if self._stored is not None else 0)
        states = walked.states
        self._pace.learn(states, outputs, len(records), walking, cut=horizon is not None)
        if fold.config_changed:
            states = [*states, (CONFIG_KEY, encode_control(fold.config))]
            if lineups := fold.states.lineups:
                states.append((LINEUPS_KEY, encode_lineups(lineups)))
            fold.config_changed = False
        if fold.states.erased_changed:
            states = [*states, (ERASED_KEY, encode_erased(fold.states.erased))]
            fold.states.erased_changed = False
        before_commit = time.perf_counter()
        await context.store.commit(
            self.partition,
            self._token,
            Commit(
                begin=self._stored,
                end=walked.position,
                meta=encode_meta(fold.marks, self._told),
                states=states,
                gone=walked.gone,
                timers=walked.timers,
                counters=walked.counters,
                outbox=_encode_outbox(outputs) if outputs else None,
                trim=self._published,
            ),
        )
        committed = time.perf_counter()
        self.steps += 1
        self._stored = walked.position
        self._published = []
        if outputs or (committed - self._told_at > IDLE_COMMIT and self._is_news(walked.position)):
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
        return walked.done

    async def idle(self) -> None:
        """Nothing to read: let the broker know a position that has no outputs to carry it."""
        if self._published and self._stored is not None and self._fold is not None:
            await self._trim(self._stored, self._fold)
        late = time.perf_counter() - self._told_at > IDLE_COMMIT
        if late and self._stored is not None and self._is_news(self._stored):
            await self._tell((), self._stored)

    async def _trim(self, position: Position, fold: PartitionFold) -> None:
        """What is published need not wait in the store for the next batch: it may be about somebody who was erased."""
        commit = Commit(position, position, encode_meta(fold.marks, self._told), (), (), (), (), None, self._published)
        await self._context.store.commit(self.partition, self._token, commit)
        self._published = []

    def _is_news(self, position: Position) -> bool:
        """Whether the broker's position is behind this one. While the store is rebuilt it is not, and must not fall:
        the next owner would publish again what lies between."""
        return self._told is None or self._told.order() < position.order()

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

    async def _publish_outbox(self, committed: Position | None) -> None:
        """What a former owner committed to the store and did not get to publish."""
        reached = committed.order() if committed is not None else Position(-1).order()
        self._published = []
        for position, blob in await self._context.store.outbox(self.partition):
            if position.order() > reached:
                await self._tell(_decode_outbox(blob), position)
                self.steps += 1
            self._published.append(position)

    async def _config(self, *, first: bool) -> tuple[Config, bool, bool]:
        """(config in force, whether the store has it, whether the log has this worker's own). The first config of a
        partition applies from its start; `first` says that nobody has said one yet."""
        context = self._context
        if first:
            return context.config, False, False
        (stored,) = await context.store.states(self.partition, [CONFIG_KEY])
        if stored is not None:
            known: Config | None = _decode_config(stored)
        else:
            known = await context.first_config(self.partition, self._step)
        if known is None:
            return context.config, False, False
        context.check_change(known, context.config)
        return known, stored is not None, known == context.config


encode_erased = msgspec.msgpack.Encoder().encode
decode_erased = msgspec.msgpack.Decoder(dict[bytes, int]).decode
_encode_outbox = msgspec.msgpack.Encoder().encode
_decode_outbox = msgspec.msgpack.Decoder(list[OutRecord]).decode
_decode_config = msgspec.json.Decoder(Config).decode


def _not_counted(_: str) -> None:
    pass


def now() -> int:
    """Milliseconds since 1970, for record timestamps only: nothing that is folded depends on it."""
    return time.time_ns() // 1_000_000
