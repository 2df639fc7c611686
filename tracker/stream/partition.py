"""One partition's fold: walks a batch of records over the states in memory and collects what to commit.

No input or output here: `scan` says which states and timers the walk will need, the owner fetches them, `walk`
does the rest. What it does depends on the records alone, not on how they were cut into batches: a batch may be
cut anywhere, even in the middle of the deadlines that one watermark makes due.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from tracker.domain import claims, erasure
from tracker.domain.counters import Counts, count
from tracker.domain.events import Event
from tracker.domain.lineup import Lineup, mark_of
from tracker.domain.merging import absorb, merge
from tracker.domain.migration import migrate
from tracker.domain.outputs import Bound, DropOff, Output, Tombstone, Trigger, TriggerWithheld, Withheld
from tracker.domain.said import is_member
from tracker.domain.state import State, decode_state, encode_state, new_state
from tracker.domain.step import CHANGED_NOTHING, accept, advance, next_due
from tracker.domain.table import Table
from tracker.domain.units import FAR, NEVER
from tracker.domain.unmerging import take_place, unlink
from tracker.errors import BadEvent
from tracker.metrics import Tally
from tracker.stream.marks import Marks
from tracker.stream.ports import Record
from tracker.wire.control import (
    CONTROL_HEADER,
    Absorb,
    Claim,
    Config,
    Control,
    Entombed,
    Erase,
    Merge,
    Passed,
    Rebuilt,
    Unmerge,
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
        self.erased = dict(erased or {})
        self.erased_changed = False
        self._compile = compile_config
        self.table = compile_config(config)
        self._lineups = {mark_of(lineup): lineup for lineup in lineups}
        self._partitions = partitions
        self._encoder = encoder
        self._decode = decode
        self._tally = tally
        self._cache: OrderedDict[bytes, bytes | None] = OrderedDict()
        """Person to encoded state, None for somebody never seen. Decoding a state for each event and encoding it
        again is quicker than keeping objects: those of 10,000 persons lie all over the memory, and waiting for them
        takes longer than making them anew (`docs/decisions`)."""
        self._bound = cache
        self._suppress = suppress_until
        _, self._reached = marks.own(config.sources, partitions)
        self._fresh: set[bytes] = set()
        """Persons in memory of whom nothing is stored yet."""
        self._clear_batch()

    def _clear_batch(self) -> None:
        self._dirty: set[bytes] = set()
        self._claims: set[bytes] = set()
        self._gone: set[bytes] = set()
        self._timers: dict[bytes, int | None] = {}
        self._heap: list[tuple[int, bytes]] = []
        self._counts: Counts = defaultdict(int)
        self._outputs: list[Encoded] = []
        self._dead: list[DeadRecord] = []

    # What the walk will need

    def scan(self, records: Sequence[Record]) -> Needs:
        """Look through a batch: whose states it touches, and the highest watermark it can reach."""
        cache = self._cache
        wanted = {
            key
            for record in records
            if (key := record.key) is not None and key not in cache and (key[1:2] == b":" or claims.is_claim(key))
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
        return [key for key in keys if key not in self._cache]

    def load(self, states: Iterable[tuple[bytes, bytes | None]], timers: Iterable[tuple[int, bytes]]) -> None:
        """Take in what the store answered."""
        for key, stored in states:
            self._cache[key] = stored
            if stored is None:
                self._fresh.add(key)
        self._heap = list(timers)
        heapify(self._heap)

    # The walk

    def walk(self, records: Sequence[Record], following: int, until: int, horizon: tuple[int, bytes] | None) -> Walked:
        """Fold records in order. `following` is the log's position after the last; timers are known up to
        `until`, or only up to `horizon` (due, person) where there were more than one commit should hold."""
        self._until = until
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
            table = self.table
            if table.account is not None:
                table = self._table_of(key)
            state = self._state(key, table, out)
            ts = event.ts
            outcome = accept(state, event, table, self.position.watermark, out, self._reached)
            events[event.type, outcome] += 1
            if outcome in _LEFT_OUT:
                if key not in self._fresh or state.facts.consent_analytics or state.facts.consent_marketing:
                    self._set_timer(key, state)
                    self._keep(key, state)
            elif outcome not in CHANGED_NOTHING and (
                outcome != "late" or event.consent is not None or key not in self._fresh
            ):
                timer, wakes = state.timer, state.facts.wakes
                sooner = timer is None or timer > ts + table.shortest or (wakes is not None and wakes < timer)
                if sooner or outcome == "waiting":
                    self._set_timer(key, state)
                self._keep(key, state)
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
                self._keep_lineups()
                self.table = self._compile(control)
                self.config = control
                self.config_changed = True
        elif isinstance(control, Entombed):
            self._entomb(control.mark, control.until)
        elif (
            record.key is None
            or record.key not in self._cache
            or (self.erased and isinstance(control, Claim | Merge | Absorb) and self._names_erased(record.key, control))
        ):
            pass
        elif isinstance(control, Claim):
            self._take_claim(record.key, control, out)
            if out:
                self._say(out, record.offset)
        elif isinstance(control, Erase):
            self._erase(record.key, control, out)
            if out:
                self._say(out, record.offset)
        elif record.key[1:2] != b":":
            pass
        elif isinstance(control, Rebuilt):
            self._rebuild(record.key, control, out)
            if out:
                self._say(out, record.offset)
        elif isinstance(control, Merge | Absorb | Unmerge):
            watermark, table = self.position.watermark, self._table_of(record.key)
            state = self._state(record.key, table, out)
            if isinstance(control, Merge):
                merge(state, control.customer, control.ts, table, watermark, out, self._reached)
            elif isinstance(control, Unmerge):
                unlink(state, control.visitor, control.customer, control.token, out)
            else:
                absorb(state, control.person, control.payload, table, watermark, out)
            self._set_timer(record.key, state)
            self._keep(record.key, state)
            if out:
                self._say(out, record.offset)
        return True

    def _rebuild(self, key: bytes, control: Rebuilt, out: list[Output]) -> None:
        table = self._table_of(key)
        state, rebuilt = self._state(key, table, []), decode_state(control.state)
        if (self.erased.get(erasure.mark_of_person(key), NEVER), state.shut) != control.guard:
            return  # they were erased or refused since: nothing of before may come back
        if rebuilt.lineup != table.mark:
            migrate(rebuilt, self._lineups.get(rebuilt.lineup), table, [])
        take_place(rebuilt, state, table, self.position.watermark, self._reached, set(control.wrong), out)
        for name, difference in control.counters.items():
            self._counts[name] += difference
        self._set_timer(key, rebuilt)
        self._keep(key, rebuilt)

    def _take_claim(self, key: bytes, control: Claim, out: list[Output]) -> None:
        if not claims.is_claim(key) or control.ts + claims.CLAIM_TTL <= self.position.watermark:
            return
        stored = self._cache[key]
        known = claims.decode_claims(stored) if stored is not None else claims.Claims(control.ts + claims.CLAIM_TTL)
        claims.claim(known, control.person, control.ts, control.instead, out)
        self._keep_claims(key, known, known.timer or known.until)

    def _keep_claims(self, key: bytes, known: claims.Claims, timer: int) -> None:
        if known.timer != timer:
            known.timer = self._timers[key] = timer
            if timer <= self._until:
                heappush(self._heap, (timer, key))
        self._cache[key] = claims.encode_claims(known)
        self._dirty.add(key)
        self._claims.add(key)

    def _expire_claims(self, key: bytes, stored: bytes, due: int) -> None:
        known = claims.decode_claims(stored)
        if known.timer != due:
            return
        if known.until > due:
            self._keep_claims(key, known, known.until)
        else:
            self._forget(key)
            self.position = Position(self.position.offset, self.position.watermark, due, key.decode())

    def _names_erased(self, key: bytes, control: Claim | Merge | Absorb) -> bool:
        """Whether a record is about somebody as of before their erasure."""
        other = control.customer if isinstance(control, Merge) else control.person
        until = (self.erased.get(erasure.mark_of_person(person)) for person in (key, other.encode()))
        return any(bound is not None and control.ts < bound for bound in until)

    def _entomb(self, mark: bytes, until: int) -> bool:
        if until <= self.erased.get(mark, NEVER):
            return False
        self.erased[mark] = until
        self.erased_changed = True
        return True

    def _erase(self, key: bytes, control: Erase, out: list[Output]) -> None:
        stored = self._cache[key]
        if control.member is not None:
            if stored is not None:
                self._forget_other(key, stored, control.member, out)
            return
        until, table = control.ts + 1, self._table_of(key)
        if stored is not None:
            moved: list[Output] = []
            state = self._state(key, table, moved)
            for output in moved:  # what a changed model moved is nobody's to know now
                count(output, self.table.model.zone, self._counts)
            until = erasure.erase(state, until, table, out, spread=control.spread)
            self._forget(key)
        mark = erasure.mark_of_person(key)
        if self._entomb(mark, until):
            others = (other for other in range(self._partitions) if other != self.partition)
            out.extend(Tombstone(other, mark, until) for other in others)

    def _forget_other(self, key: bytes, stored: bytes, person: str, out: list[Output]) -> None:
        if not claims.is_claim(key):
            state = self._state(key, self._table_of(key), out)
            erasure.forget_other(state, person)
            self._set_timer(key, state)
            self._keep(key, state)
            return
        known = claims.decode_claims(stored)
        if erasure.forget_claimant(known, person):
            self._keep_claims(key, known, known.timer or known.until)
        else:
            self._forget(key)

    def _advance_time(self, offset: int, out: list[Output]) -> bool:
        watermark = max(self.marks.watermark(self._partitions), self.position.watermark)
        resumed = self.position.due is not None
        if watermark == self.position.watermark and not resumed:
            return True
        self.position = Position(offset, watermark, self.position.due, self.position.person)
        heap = self._heap
        horizon = self._horizon
        while heap and heap[0][0] <= watermark:
            if horizon is not None and heap[0] > horizon:
                break
            due, key = heappop(heap)
            stored = self._cache[key]
            if stored is None:
                continue
            if key[1:2] != b":":
                self._expire_claims(key, stored, due)
                continue
            if (state := decode_state(stored)).timer != due:
                continue
            table = self._table_of(key)
            if state.lineup != table.mark:
                self._migrate(key, state, out)
                self._say_of(state, due, offset, out)
            actual = next_due(state, table, watermark)
            if actual > due:
                self._set_timer(key, state, actual)
                self._keep(key, state)
                continue
            if advance(state, due, watermark, table, out):
                self._set_timer(key, state)
                self._keep(key, state)
            else:
                self._forget(key)
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

    def _forget(self, key: bytes) -> None:
        """Nothing of this person is worth keeping: from here on it is as if they had never been seen."""
        if key in self._fresh and key in self._dirty and key[:2] in {b"c:", b"a:"}:
            self._counts["people"] += 1  # seen and forgotten between two commits
        self._dirty.discard(key)
        self._gone.add(key)
        self._timers[key] = None
        self._cache[key] = None
        self._fresh.add(key)

    @property
    def lineups(self) -> list[Lineup]:
        """Those that states of this partition may have been written under, the one in force left out."""
        account = self.table.account
        now = {self.table.mark, account.mark if account is not None else b""}
        return [lineup for mark, lineup in self._lineups.items() if mark not in now]

    def _keep_lineups(self) -> None:
        for table in (self.table, self.table.account):
            if table is not None:
                self._lineups[table.mark] = table.lineup

    def _table_of(self, key: bytes) -> Table:
        account = self.table.account
        return account if account is not None and key[:1] == b"b" else self.table

    def _state(self, key: bytes, table: Table, out: list[Output]) -> State:
        stored = self._cache[key]
        if stored is None:
            until = self.erased.get(erasure.mark_of_person(key)) if self.erased else None
            person = key.decode()
            state = new_state(person) if until is None else erasure.erased_state(person, until, table)
            state.lineup = table.mark
            return state
        state = decode_state(stored)
        if state.lineup != table.mark:
            self._migrate(key, state, out)
        return state

    def _migrate(self, key: bytes, state: State, out: list[Output]) -> None:
        table = self._table_of(key)
        migrate(state, self._lineups.get(state.lineup), table, [] if is_member(state, table) else out)
        self._set_timer(key, state)
        self._keep(key, state)

    def _keep(self, key: bytes, state: State) -> None:
        self._cache[key] = encode_state(state)
        self._dirty.add(key)

    def _set_timer(self, key: bytes, state: State, due: int | None = None) -> None:
        if due is None:
            due = next_due(state, self._table_of(key), self.position.watermark)
        if due >= FAR:
            if state.timer is not None:
                state.timer = None
                self._timers[key] = None
            return
        if state.timer is None or due != state.timer:
            if state.timer is not None and due > state.timer > self.position.watermark:
                return
            state.timer = due
            self._timers[key] = due
            if due <= self._until:
                heappush(self._heap, (due, key))

    def _say(self, out: list[Output], offset: int) -> None:
        """Count and encode outputs; those that were published before the store was lost are only counted."""
        zone = self.table.model.zone
        tally = self._tally
        said_before = self._suppress is not None and self._done_order(offset) <= self._suppress.order()
        for output in out:
            count(output, zone, self._counts)
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
        cache = self._cache
        gone = self._gone - self._dirty
        known_now = self._fresh & self._dirty
        self._counts["people"] += len(known_now) - len(known_now & self._claims)
        if self.table.account is not None:
            self._counts["people"] -= sum(key[:1] == b"b" for key in known_now)
        self._fresh -= known_now
        names = {key: key.decode() for key in (*self._dirty, *self._timers, *gone)}
        walked = Walked(
            done=done,
            position=self.position,
            states=[(names[key], state) for key in self._dirty if (state := cache[key]) is not None],
            gone=[names[key] for key in gone],
            timers=[(names[key], due) for key, due in self._timers.items()],
            counters=[(field, n) for field, n in self._counts.items() if n],
            outputs=self._outputs,
            dead=self._dead,
        )
        for key in gone:
            del cache[key]
        self._fresh -= gone
        for key in self._dirty:
            cache.move_to_end(key)
        while len(cache) > self._bound:
            self._fresh.discard(cache.popitem(last=False)[0])
        self._clear_batch()
        return walked


def _person(key: bytes | None) -> bytes:
    if key is None or key[1:2] != b":":
        raise BadEvent("missing_key", f"the key is {key!r:.60}; allowed: the person id, c:… or a:…")
    return key


def _control(kind: str, record: Record) -> Control | None:
    try:
        return decode_control(kind, record.value)
    except BadEvent:
        return None
