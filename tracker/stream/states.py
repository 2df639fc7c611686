"""The states of one partition in memory: what the store has, what a batch has changed of it, and who is next due when.

A key is a person's (`c:`, `a:`, an account's `b:`), or that of an id which persons claim (`order:`, `cart:`,
`checkout:`).
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from tracker.domain import claims, erasure
from tracker.domain.counters import Counts
from tracker.domain.lineup import Lineup, mark_of
from tracker.domain.migration import migrate
from tracker.domain.outputs import Output
from tracker.domain.said import is_member
from tracker.domain.state import State, decode_state, encode_state, new_state
from tracker.domain.step import next_due
from tracker.domain.table import Table
from tracker.domain.units import FAR, NEVER


class Changes(NamedTuple):
    """What a batch has changed, for the store: states and counters by name, `gone` keys, timers in ms (None: none)."""

    states: list[tuple[str, bytes]]
    gone: list[str]
    timers: list[tuple[str, int | None]]
    counters: list[tuple[str, int]]


class PartitionStates:
    """Reads, keeps and forgets states. `counts` are the batch's map counters, `watermark` is the partition's (ms)."""

    def __init__(
        self, table: Table, lineups: Iterable[Lineup], erased: Mapping[bytes, int], *, cache: int, watermark: int
    ) -> None:
        """See `PartitionFold`."""
        self.table = table
        self.watermark = watermark
        self.erased = dict(erased)
        self.erased_changed = False
        self._lineups = {mark_of(lineup): lineup for lineup in lineups}
        self._cache: OrderedDict[bytes, bytes | None] = OrderedDict()
        """Key to encoded state, None for somebody never seen. Decoding a state for each event and encoding it again is
        quicker than keeping objects: those of 10,000 persons lie all over the memory, and waiting for them takes
        longer than making them anew (`docs/decisions`)."""
        self._bound = cache
        self._until = NEVER
        self.fresh: set[bytes] = set()
        """Those in memory of whom nothing is stored yet."""
        self._clear()

    def _clear(self) -> None:
        self.counts: Counts = defaultdict(int)
        self._dirty: set[bytes] = set()
        self._claims: set[bytes] = set()
        self._gone: set[bytes] = set()
        self._timers: dict[bytes, int | None] = {}
        self._heap: list[tuple[int, bytes]] = []

    def __contains__(self, key: bytes) -> bool:
        return key in self._cache

    def load(self, states: Iterable[tuple[bytes, bytes | None]], timers: Iterable[tuple[int, bytes]]) -> None:
        """Take in what the store answered."""
        for key, stored in states:
            self._cache[key] = stored
            if stored is None:
                self.fresh.add(key)
        self._heap = list(timers)
        heapify(self._heap)

    def begin(self, until: int) -> None:
        """A walk begins for which the timers up to `until` (ms) were loaded."""
        self._until = until

    # States

    def stored(self, key: bytes) -> bytes | None:
        """The encoded state, None where there is none."""
        return self._cache[key]

    def state(self, key: bytes, table: Table, out: list[Output]) -> State:
        """A person's state, as `table` has it; what a changed model moves goes to `out`."""
        stored = self._cache[key]
        if stored is None:
            until = self.erased.get(erasure.mark_of_person(key)) if self.erased else None
            person = key.decode()
            state = new_state(person) if until is None else erasure.erased_state(person, until, table)
            state.lineup = table.mark
            return state
        state = decode_state(stored)
        if state.lineup != table.mark:
            self.migrate(key, state, out)
        return state

    def migrate(self, key: bytes, state: State, out: list[Output]) -> None:
        """Bring a state of earlier models up to those in force, and keep it."""
        table = self.table_of(key)
        migrate(state, self._lineups.get(state.lineup), table, [] if is_member(state, table) else out)
        self.set_timer(key, state)
        self.keep(key, state)

    def migrated(self, state: State, table: Table) -> None:
        """The same of one that is not this partition's yet: what it moves is not said."""
        if state.lineup != table.mark:
            migrate(state, self._lineups.get(state.lineup), table, [])

    def keep(self, key: bytes, state: State) -> None:
        """Have the store keep it."""
        self._cache[key] = encode_state(state)
        self._dirty.add(key)

    def keep_claims(self, key: bytes, known: claims.Claims, timer: int) -> None:
        """The same for an id's claims, with their timer (ms)."""
        if known.timer != timer:
            known.timer = timer
            self._arm(key, timer)
        self._cache[key] = claims.encode_claims(known)
        self._dirty.add(key)
        self._claims.add(key)

    def forget(self, key: bytes) -> None:
        """Nothing of this key is worth keeping: from here on it is as if it had never been seen."""
        if key in self.fresh and key in self._dirty and key[:2] in {b"c:", b"a:"}:
            self.counts["people"] += 1  # seen and forgotten between two commits
        self._dirty.discard(key)
        self._gone.add(key)
        self._timers[key] = None
        self._cache[key] = None
        self.fresh.add(key)

    def is_erased(self, key: bytes) -> bool:
        """Whether this person was erased and nothing is known of them since."""
        return bool(self.erased) and self._cache[key] is None and erasure.mark_of_person(key) in self.erased

    def entomb(self, mark: bytes, until: int) -> bool:
        """Refuse what is of before `until` (ms) of whom this is the mark; False where that is known."""
        if until <= self.erased.get(mark, NEVER):
            return False
        self.erased[mark] = until
        self.erased_changed = True
        return True

    # Tables

    def table_of(self, key: bytes) -> Table:
        """The table that a person, or an account, is folded with."""
        account = self.table.account
        return account if account is not None and key[:1] == b"b" else self.table

    def change_table(self, table: Table) -> None:
        """Other models are in force from here on."""
        for old in (self.table, self.table.account):
            if old is not None:
                self._lineups[old.mark] = old.lineup
        self.table = table

    @property
    def lineups(self) -> list[Lineup]:
        """Those that states of this partition may have been written under, the one in force left out."""
        account = self.table.account
        now = {self.table.mark, account.mark if account is not None else b""}
        return [lineup for mark, lineup in self._lineups.items() if mark not in now]

    # Timers

    def set_timer(self, key: bytes, state: State, due: int | None = None) -> None:
        """See to it that this person is looked at when they are next due (ms): a later timer may stay."""
        if due is None:
            due = next_due(state, self.table_of(key), self.watermark)
        if due >= FAR:
            if state.timer is not None:
                state.timer = None
                self._timers[key] = None
            return
        if state.timer is None or due != state.timer:
            if state.timer is not None and due > state.timer > self.watermark:
                return
            state.timer = due
            self._arm(key, due)

    def _arm(self, key: bytes, due: int) -> None:
        self._timers[key] = due
        if due <= self._until:
            heappush(self._heap, (due, key))

    def next_timer(self, horizon: tuple[int, bytes] | None) -> tuple[int, bytes] | None:
        """The next timer up to the watermark, and up to `horizon`, taken off; None where there is none."""
        heap = self._heap
        if not heap or heap[0][0] > self.watermark or (horizon is not None and heap[0] > horizon):
            return None
        return heappop(heap)

    # The end of a batch

    def collect(self) -> Changes:
        """What the batch has changed; the next one begins. What does not fit into memory is left out of it."""
        cache, dirty, fresh = self._cache, self._dirty, self.fresh
        gone = self._gone - dirty
        known_now = fresh & dirty
        self.counts["people"] += len(known_now) - len(known_now & self._claims)
        if self.table.account is not None:
            self.counts["people"] -= sum(key[:1] == b"b" for key in known_now)
        fresh -= known_now
        names = {key: key.decode() for key in (*dirty, *self._timers, *gone)}
        changes = Changes(
            states=[(names[key], state) for key in dirty if (state := cache[key]) is not None],
            gone=[names[key] for key in gone],
            timers=[(names[key], due) for key, due in self._timers.items()],
            counters=[(field, n) for field, n in self.counts.items() if n],
        )
        for key in gone:
            del cache[key]
        fresh -= gone
        for key in dirty:
            cache.move_to_end(key)
        while len(cache) > self._bound:
            fresh.discard(cache.popitem(last=False)[0])
        self._clear()
        return changes
