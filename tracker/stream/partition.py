"""One partition's fold: walks a batch of records over the states in memory and collects what to commit.

No input or output here: `scan` says which states and timers the walk will need, the owner fetches them, `walk`
does the rest. What it does depends on the records alone, not on how they were cut into batches: a batch may be
cut anywhere, even in the middle of the deadlines that one watermark makes due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from tracker.domain import claims
from tracker.domain.counters import count
from tracker.domain.events import Event
from tracker.domain.lineup import Lineup
from tracker.domain.outputs import Bound, DropOff, Output, Trigger, TriggerWithheld, Withheld
from tracker.domain.state import State, decode_state
from tracker.domain.step import CHANGED_NOTHING, accept, advance, next_due
from tracker.domain.table import Table
from tracker.domain.units import NEVER
from tracker.errors import BadEvent
from tracker.metrics import Tally
from tracker.stream.controls import About, PersonControls
from tracker.stream.marks import Marks
from tracker.stream.ports import Record
from tracker.stream.states import PartitionStates
from tracker.wire.control import (
    CONTROL_HEADER,
    Config,
    Control,
    Entombed,
    Passed,
    WatermarkMarks,
    control_kind,
    decode_control,
)
from tracker.wire.encode import Encoded, OutputEncoder
from tracker.wire.position import Position


class Needs(NamedTuple):
    """What a batch needs from the store: states not in memory, and timers up to a watermark (None: no timers)."""

    persons: list[bytes]
    until: int | None


class DeadRecord(NamedTuple):
    """A record that cannot be folded, and why."""

    record: Record
    error: BadEvent


class Walked(NamedTuple):
    """The outcome of a walk: `done` records of the batch are folded (the next one perhaps in part)."""

    done: int
    position: Position
    states: list[tuple[str, bytes]]
    gone: list[str]
    timers: list[tuple[str, int | None]]
    counters: list[tuple[str, int]]
    outputs: list[Encoded]
    dead: list[DeadRecord]


_LEFT_OUT = {"erased", "no_consent"}

Compile = Callable[[Config], Table]


class PartitionFold:
    """The states, marks and position of one partition, and the walk over its records."""

    def __init__(
        self,
        partition: int,
        partitions: int,
        config: Config,
        compile_config: Compile,
        encoder: OutputEncoder,
        decode: Callable[[bytes | None], Event],
        tally: Tally,
        *,
        cache: int,
        position: Position,
        marks: Marks,
        suppress_until: Position | None = None,
        lineups: Iterable[Lineup] = (),
        erased: Mapping[bytes, int] | None = None,
    ) -> None:
        """`cache` bounds the states kept between batches. Outputs up to `suppress_until` were published before
        the store was lost: they are counted, not said again. `lineups` are those of configs in force before,
        `erased` the tombstones of this partition: until when (ms) by mark (see `erasure.mark_of_person`)."""
        self.partition = partition
        self.position = position
        self.marks = marks
        self.config = config
        self.config_changed = False
        self._compile = compile_config
        self._partitions = partitions
        self._encoder = encoder
        self._decode = decode
        self._tally = tally
        self.states = PartitionStates(
            compile_config(config), lineups, erased or {}, cache=cache, watermark=position.watermark
        )
        self._controls = PersonControls(self.states, partition, partitions)
        self._suppress = suppress_until
        _, self._reached = marks.own(config.sources, partitions)
        self._outputs: list[Encoded] = []
        self._dead: list[DeadRecord] = []

    @property
    def table(self) -> Table:
        """What is in force."""
        return self.states.table

    # What the walk will need

    def scan(self, records: Sequence[Record]) -> Needs:
        """Look through a batch: whose states it touches, and the highest watermark it can reach."""
        states = self.states
        wanted = {
            key
            for record in records
            if (key := record.key) is not None and key not in states and (key[1:2] == b":" or claims.is_claim(key))
        }
        ahead: Marks | None = None
        for record in records:
            # Only these move the watermark; what they are made of, the sources' marks, can wait for the walk.
            if record.headers and (kind := control_kind(record.headers)) == "passed":
                control = _control(kind, record)
                if isinstance(control, Passed):
                    ahead = ahead or self.marks.copy()
                    ahead.announce(control.partitions)
        until = max(ahead.watermark(self._partitions), self.position.watermark) if ahead else NEVER
        moves = until > self.position.watermark or self.position.due is not None
        return Needs(list(wanted), max(until, self.position.watermark) if moves else None)

    def missing(self, keys: Iterable[bytes]) -> list[bytes]:
        """Those of these persons whose state is not in memory."""
        return [key for key in keys if key not in self.states]

    def load(self, states: Iterable[tuple[bytes, bytes | None]], timers: Iterable[tuple[int, bytes]]) -> None:
        """Take in what the store answered."""
        self.states.load(states, timers)

    # The walk

    def walk(self, records: Sequence[Record], following: int, until: int, horizon: tuple[int, bytes] | None) -> Walked:
        """Fold records in order. `following` is the log's position after the last; timers are known up to
        `until`, or only up to `horizon` (due, person) where there were more than one commit should hold."""
        states = self.states
        states.begin(until)
        self._horizon = horizon
        decode, events = self._decode, self._tally.events
        out: list[Output] = []
        done = 0
        for record in records:
            headers = record.headers
            if headers:
                kind = control_kind(headers)
                if kind is not None:
                    if not self._take_control(kind, record, out):
                        break
                    done += 1
                    continue
            try:
                event = decode(record.value)
                key = _person(record.key)
            except BadEvent as error:
                self._dead.append(DeadRecord(record, error))
                done += 1
                continue
            table = states.table
            if table.account is not None:
                table = states.table_of(key)
            state = states.state(key, table, out)
            ts = event.ts
            outcome = accept(state, event, table, self.position.watermark, out, self._reached)
            events[event.type, outcome] += 1
            if outcome in _LEFT_OUT:
                facts = state.facts
                if (
                    states.stored(key) is not None
                    or facts.consent_analytics
                    or facts.consent_marketing
                    or facts.anonymous_ids
                ):
                    states.set_timer(key, state)
                    states.keep(key, state)
            elif outcome not in CHANGED_NOTHING and (
                outcome != "late" or event.consent is not None or key not in states.fresh
            ):
                timer, wakes = state.timer, state.facts.wakes
                sooner = timer is None or timer > ts + table.shortest or (wakes is not None and wakes < timer)
                if sooner or outcome == "waiting":
                    states.set_timer(key, state)
                states.keep(key, state)
            if out:
                self._say(out, record.offset)
            done += 1
        complete = done == len(records)
        if complete:
            self.position = Position(following, self.position.watermark)
        return self._collect(done)

    def _take_control(self, kind: str, record: Record, out: list[Output]) -> bool:
        """Fold a control record; False when its deadlines had to be cut and it must be looked at again."""
        control = _control(kind, record)
        if control is None:
            self._dead.append(DeadRecord(record, BadEvent("bad_control", f"{CONTROL_HEADER}: {kind!r:.40}")))
            return True
        if isinstance(control, WatermarkMarks):
            self.marks.mark(control.sources)
        elif isinstance(control, Passed):
            self.marks.announce(control.partitions)
            _, self._reached = self.marks.own(self.config.sources, self._partitions)
            return self._advance_time(record.offset, out)
        elif isinstance(control, Config):
            if control != self.config:
                self.states.change_table(self._compile(control))
                self.config = control
                self.config_changed = True
        elif isinstance(control, Entombed):
            self.states.entomb(control.mark, control.until)
        elif isinstance(control, About) and record.key is not None and record.key in self.states:
            self._controls.take(record.key, control, self._reached, out)
            if out:
                self._say(out, record.offset)
        return True

    def _advance_time(self, offset: int, out: list[Output]) -> bool:
        watermark = max(self.marks.watermark(self._partitions), self.position.watermark)
        resumed = self.position.due is not None
        if watermark == self.position.watermark and not resumed:
            return True
        self.position = Position(offset, watermark, self.position.due, self.position.person)
        states, horizon = self.states, self._horizon
        states.watermark = watermark
        while (timer := states.next_timer(horizon)) is not None:
            due, key = timer
            stored = states.stored(key)
            if stored is None:
                continue
            if key[1:2] != b":":
                if self._controls.expire_claims(key, stored, due):
                    self.position = Position(offset, watermark, due, key.decode())
                continue
            if (state := decode_state(stored)).timer != due:
                continue
            table = states.table_of(key)
            if state.lineup != table.mark:
                states.migrate(key, state, out)
                self._say_of(state, due, offset, out)
            actual = next_due(state, table, watermark)
            if actual > due:
                states.set_timer(key, state, actual)
                states.keep(key, state)
                continue
            if advance(state, due, watermark, table, out):
                states.set_timer(key, state)
                states.keep(key, state)
            else:
                states.forget(key)
            self._say_of(state, due, offset, out)
        if horizon is not None and horizon[0] <= watermark:
            self.position = Position(offset, watermark, horizon[0], horizon[1].decode())
            return False
        self.position = Position(offset, watermark)
        return True

    def _say_of(self, state: State, due: int, offset: int, out: list[Output]) -> None:
        self.position = Position(offset, self.position.watermark, due, state.facts.person)
        if out:
            self._say(out, offset)

    def _say(self, out: list[Output], offset: int) -> None:
        """Count and encode outputs; those that were published before the store was lost are only counted."""
        zone, counts = self.table.model.zone, self.states.counts
        tally = self._tally
        said_before = self._suppress is not None and self._done_order(offset) <= self._suppress.order()
        for output in out:
            count(output, zone, counts)
            if isinstance(output, Withheld):
                tally.withheld[output.reason, output.why] += 1
                continue
            if isinstance(output, TriggerWithheld):
                tally.triggers_withheld[output.rule, output.why] += 1
                continue
            if isinstance(output, Bound):
                tally.bounds[output.name] += 1
                continue
            if said_before:
                continue
            if isinstance(output, DropOff):
                tally.dropoffs[output.reason, output.kind] += 1
            elif isinstance(output, Trigger):
                tally.triggers[output.rule] += 1
            encoded = self._encoder.encode(output, self.partition)
            if encoded is not None:
                tally.outputs[self._encoder.plain(encoded.topic)] += 1
                self._outputs.append(encoded)
        out.clear()

    def _done_order(self, offset: int) -> tuple[int, int, bytes]:
        position = self.position
        if position.offset == offset and position.due is not None:
            return position.order()
        return Position(offset + 1).order()

    def _collect(self, done: int) -> Walked:
        changes = self.states.collect()
        walked = Walked(done, self.position, *changes, self._outputs, self._dead)
        self._outputs, self._dead = [], []
        return walked


def _person(key: bytes | None) -> bytes:
    if key is None or key[1:2] != b":":
        raise BadEvent("missing_key", f"the key is {key!r:.60}; allowed: whose it is, c:…, a:… or b:…")
    return key


def _control(kind: str, record: Record) -> Control | None:
    try:
        return decode_control(kind, record.value)
    except BadEvent:
        return None
