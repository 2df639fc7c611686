"""Control records about people, folded: who is who, who claims what, who is to be forgotten, whom to take apart."""

from __future__ import annotations

from tracker.domain import claims, erasure
from tracker.domain.counters import count
from tracker.domain.merging import absorb, merge
from tracker.domain.outputs import EraseToo, Output, Tombstone
from tracker.domain.state import decode_state
from tracker.domain.units import NEVER
from tracker.domain.unmerging import take_place, unlink
from tracker.stream.states import PartitionStates
from tracker.wire.control import Absorb, Claim, Erase, Merge, Rebuilt, Unmerge

About = Claim | Erase | Merge | Absorb | Unmerge | Rebuilt


class PersonControls:
    """Folds them into the states of one of `partitions`."""

    def __init__(self, states: PartitionStates, partition: int, partitions: int) -> None:
        self._states = states
        self._partition = partition
        self._partitions = partitions

    def take(self, key: bytes, control: About, reached: int, out: list[Output]) -> None:
        """Fold a record with this key, whose state is in memory. `reached` is w1 (see `stream.marks`)."""
        if self._states.erased and isinstance(control, Claim | Merge | Absorb):
            until = self._erased_until(key, control)
            if until is not None and control.ts < until:
                if isinstance(control, Absorb):  # the erasure could not go on to this visitor
                    out.append(EraseToo(control.person, until))
                elif isinstance(control, Merge) and not self._is_linked(key, control.customer):
                    # the event that said so names the visitor
                    out.append(EraseToo(control.customer, until, member=key.decode()))
                return
        if isinstance(control, Claim):
            self._claim(key, control, out)
        elif isinstance(control, Erase):
            self._erase(key, control, out)
        elif key[1:2] != b":":
            return
        elif isinstance(control, Rebuilt):
            self._rebuild(key, control, reached, out)
        else:
            self._link(key, control, reached, out)

    def expire_claims(self, key: bytes, stored: bytes, due: int) -> bool:
        """The timer of an id that was claimed: whether nothing of it is left."""
        known = claims.decode_claims(stored)
        if known.timer != due:
            return False
        if known.until > due:
            self._states.keep_claims(key, known, known.until)
            return False
        self._states.forget(key)
        return True

    def _link(self, key: bytes, control: Merge | Absorb | Unmerge, reached: int, out: list[Output]) -> None:
        states = self._states
        watermark, table = states.watermark, states.table_of(key)
        if isinstance(control, Unmerge) and states.is_erased(key):
            return
        state = states.state(key, table, out)
        if isinstance(control, Merge):
            merge(state, control.customer, control.ts, table, watermark, out, reached)
        elif isinstance(control, Unmerge):
            unlink(state, control.visitor, control.customer, control.token, out)
        else:
            absorb(state, control.person, control.ts, control.payload, table, watermark, out)
        states.set_timer(key, state)
        states.keep(key, state)

    def _rebuild(self, key: bytes, control: Rebuilt, reached: int, out: list[Output]) -> None:
        states = self._states
        table = states.table_of(key)
        state, rebuilt = states.state(key, table, []), decode_state(control.state)
        if (states.erased.get(erasure.mark_of_person(key), NEVER), state.shut) != control.guard:
            return  # they were erased or refused since: nothing of before may come back
        states.migrated(rebuilt, table)
        take_place(rebuilt, state, table, states.watermark, reached, set(control.wrong), out)
        for name, difference in control.counters.items():
            states.counts[name] += difference
        states.set_timer(key, rebuilt)
        states.keep(key, rebuilt)

    def _claim(self, key: bytes, control: Claim, out: list[Output]) -> None:
        states = self._states
        if not claims.is_claim(key) or control.ts + claims.CLAIM_TTL <= states.watermark:
            return
        stored = states.stored(key)
        known = claims.decode_claims(stored) if stored is not None else claims.Claims(control.ts + claims.CLAIM_TTL)
        claims.claim(known, control.person, control.ts, control.instead, out)
        states.keep_claims(key, known, known.timer or known.until)

    def _is_linked(self, key: bytes, customer: str) -> bool:
        """Whether a visitor is this customer, since they were erased."""
        stored = self._states.stored(key)
        return stored is not None and customer in decode_state(stored).links

    def _erased_until(self, key: bytes, control: Claim | Merge | Absorb) -> int | None:
        """Before when (ms) nothing may be known of those whom a record is about."""
        other = control.customer if isinstance(control, Merge) else control.person
        bounds = (self._states.erased.get(erasure.mark_of_person(person)) for person in (key, other.encode()))
        return max((bound for bound in bounds if bound is not None), default=None)

    def _erase(self, key: bytes, control: Erase, out: list[Output]) -> None:
        states = self._states
        stored = states.stored(key)
        if control.member is not None:
            if stored is not None:
                self._forget_other(key, stored, control.member, out)
            return
        until, table = control.ts + 1, states.table_of(key)
        others: list[Output] = []
        if stored is not None:
            moved: list[Output] = []
            state = states.state(key, table, moved)
            for output in moved:  # what a changed model moved is nobody's to know now
                count(output, states.table.model.zone, states.counts)
            until = erasure.erase(state, until, table, others, spread=control.spread)
            states.forget(key)
        mark = erasure.mark_of_person(key)
        if states.entomb(mark, until):
            elsewhere = (place for place in range(self._partitions) if place != self._partition)
            out.extend(Tombstone(place, mark, until) for place in elsewhere)
        out.extend(others)  # who hears of it must not forget before nothing of them is taken in any more

    def _forget_other(self, key: bytes, stored: bytes, person: str, out: list[Output]) -> None:
        states = self._states
        if not claims.is_claim(key):
            state = states.state(key, states.table_of(key), out)
            erasure.forget_other(state, person)
            states.set_timer(key, state)
            states.keep(key, state)
            return
        known = claims.decode_claims(stored)
        if erasure.forget_claimant(known, person):
            states.keep_claims(key, known, known.timer or known.until)
        else:
            states.forget(key)
