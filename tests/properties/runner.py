"""Drives the tracker's fold as a partition does: events and watermarks in log order, deadlines by the watermark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

import msgspec

from tests.oracle import naive
from tests.oracle.naive import Fold
from tests.oracle.shapes import units
from tests.oracle.table import NETTBUTIKK
from tests.oracle.table import Table as Shop
from tests.properties.strategies import Arrival
from tracker.domain import merging
from tracker.domain.events import Event
from tracker.domain.model import FoldSettings, QuietHours
from tracker.domain.outputs import AbsorbState, DropOff, Output, SessionClosed, Transition, Withheld
from tracker.domain.state import State, decode_state, encode_state, new_state
from tracker.domain.step import Outcome, accept, advance, next_due
from tracker.domain.table import Table, compile_table
from tracker.journeys.loader import load

NEVER = -(1 << 62)
END_OF_TIME = 200 * 86_400_000
"""Long after the last event of a script, and before a state expires."""
T = TypeVar("T")


@cache
def table(quiet: tuple[int, int] | None = None, settings: FoldSettings | None = None) -> Table:
    """The default model without its triggers, which the naive fold does not know (`test_triggers` has one of its own);
    quiet hours in minutes of the day, UTC."""
    model = load("nettbutikk-5")
    drop_offs = tuple(rule for rule in model.rules if rule.emit == "drop_off")
    hours = None if quiet is None else QuietHours(start=quiet[0], end=quiet[1], zone="UTC")
    return compile_table(msgspec.structs.replace(model, rules=drop_offs, quiet_hours=hours), settings or FoldSettings())


@dataclass
class Person:
    """One person's state, and what was said of them. `restarts`: encode and decode it at every touch."""

    table: Table = field(default_factory=table)
    name: str = "c:p"
    restarts: bool = False
    watermark: int = NEVER
    out: list[Output] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    state: State = field(init=False)

    def __post_init__(self) -> None:
        self.state = new_state(self.name)

    def take(self, event: Event) -> None:
        self._restart()
        copy = msgspec.structs.replace(event)
        self.outcomes.append(accept(self.state, copy, self.table, self.watermark, self.out))

    def time(self, watermark: int) -> None:
        """Time reaches `watermark`: everything due fires, as the timers would have it."""
        if watermark <= self.watermark:
            return
        self.watermark = watermark
        before = None
        while (due := next_due(self.state, self.table, watermark)) <= watermark:
            self._restart()
            advance(self.state, due, watermark, self.table, self.out)
            after = encode_state(self.state)
            assert after != before, "time stands still"
            before = after
        assert all(ts >= watermark for ts, _, _ in self.state.waiting), "nothing waits for what has passed"

    def live(self, events: Iterable[Event]) -> Person:
        """Events in this order, the watermark always at the latest one's time; then time goes on for long."""
        return self.log([Arrival(event, event.ts) for event in events])

    def log(self, arrivals: Sequence[Arrival]) -> Person:
        """Events as they come in; then time goes on for long."""
        for arrival in arrivals:
            if arrival.watermark is not None:
                self.time(arrival.watermark)
            self.take(arrival.event)
        self.time(max(arrival.event.ts for arrival in arrivals) + END_OF_TIME)
        return self

    def said(self, kind: type[T]) -> list[T]:
        return [output for output in self.out if isinstance(output, kind)]

    def _restart(self) -> None:
        if self.restarts:
            self.state = decode_state(encode_state(self.state))


def steps_of(arrivals: Sequence[Arrival], table: Shop = NETTBUTIKK) -> Iterator[Fold]:
    """The naive fold of what is known after each move of time and each event, as `Person.log` has them."""
    events: list[Event] = []
    watermark = NEVER
    for arrival in arrivals:
        if arrival.watermark is not None and arrival.watermark > watermark:
            watermark = arrival.watermark
            yield naive.fold(events, watermark, table)
        events.append(arrival.event)
        yield naive.fold(events, watermark, table)


def fold_log(arrivals: Sequence[Arrival], watermark: int, table: Shop = NETTBUTIKK) -> Fold:
    """The naive fold of all events, the last up to `watermark`, without the drop-offs that became known only after a
    later order was folded."""
    events = [arrival.event for arrival in arrivals]
    last = naive.fold(events, watermark, table)
    return naive.fold(events, watermark, table, naive.overtaken([*steps_of(arrivals, table), last]))


Sessions = list[tuple[object, ...]]
DropOffs = list[tuple[object, ...]]


def sessions_said(person: Person) -> Sessions:
    """The sessions that stand: the highest revision of each id that no other superseded."""
    standing: dict[str, SessionClosed] = {}
    for session in person.said(SessionClosed):
        standing[session.session_id] = session
        for gone in session.supersedes:
            standing.pop(gone, None)
    return sorted(_session(session) for session in standing.values())


def _session(said: SessionClosed) -> tuple[object, ...]:
    return (
        said.started_at, said.ended_at, said.first_event_id, said.event_count, said.page_count,
        said.entry_url or "", said.exit_url or "", said.engaged, said.bounced,
    )  # fmt: skip


def sessions_of(fold: Fold) -> Sessions:
    """The oracle's sessions in the same shape."""
    return [
        (
            session.started_at, session.ended_at, session.event_ids[0], len(session.event_ids), session.page_count,
            session.entry_url or "", session.exit_url or "", session.engaged, session.bounced,
        )
        for session in fold.sessions
        if session.closed
    ]  # fmt: skip


def drop_offs_said(person: Person) -> DropOffs:
    """The drop-offs that were sent, and not cancelled."""
    said = person.said(DropOff)
    cancelled = {end.dropoff_id for end in said if end.kind == "cancelled"}
    return [
        (
            drop.reason, drop.armed_at, drop.due_at, drop.detected_at, drop.phase,
            _lines(drop), None if drop.cart is None else drop.cart.cart_id,
            0 if drop.cart is None else units(drop.cart.value),
        )
        for drop in said
        if drop.kind == "dropped_off" and drop.id not in cancelled
    ]  # fmt: skip


def _lines(drop: DropOff) -> dict[str, int]:
    return {} if drop.cart is None else {line.product_id: line.quantity for line in drop.cart.items}


def drop_offs_of(fold: Fold) -> DropOffs:
    return [
        (
            drop.reason, drop.armed_at, drop.due_at, drop.detected_at, drop.phase,
            {product: quantity for (product, _), quantity in drop.cart.items()}, drop.cart_id, drop.cart_value,
        )
        for drop in fold.drop_offs
    ]  # fmt: skip


def recoveries_said(person: Person) -> list[tuple[int, int]]:
    """(armed at, value) of each recovered drop-off."""
    return [(end.armed_at, units(end.value)) for end in person.said(DropOff) if end.kind == "recovered"]


def recoveries_of(fold: Fold) -> list[tuple[int, int]]:
    armed_at = {drop.armed_by: drop.armed_at for drop in fold.drop_offs}
    return [(armed_at[recovery.armed_by], recovery.value) for recovery in fold.recoveries]


def moves_said(person: Person) -> list[tuple[object, ...]]:
    numbers: dict[str, int] = {}
    return [
        (
            numbers.setdefault(move.journey_id, len(numbers) + 1),
            move.from_phase, move.to_phase, move.direction, move.at, move.event_id or "left",
        )
        for move in person.said(Transition)
    ]  # fmt: skip


def moves_of(fold: Fold) -> list[tuple[object, ...]]:
    return [
        (move.journey, move.from_phase, move.to_phase, move.direction, move.at, move.event_id) for move in fold.moves
    ]


def withheld_said(person: Person) -> int:
    return len(person.said(Withheld))


def standing_of(fold: Fold, watermark: int) -> dict[str, object]:
    """Where the person stands at the end, as the oracle sees it."""
    return {
        "cart": {product: quantity for (product, _), quantity in fold.final_cart(watermark).items()},
        "orders": fold.order_count,
        "revenue": {currency or "": amount for currency, amount in fold.revenue.items()},
        "journeys": len(fold.journeys),
        "converted": [
            (journey.number, fold.phase_id(journey)) for journey in fold.journeys if journey.converted
        ],
        "phase": fold.phase,
        "armed": fold.armed.armed_by if fold.armed is not None else None,
    }  # fmt: skip


def standing_said(person: Person) -> dict[str, object]:
    """The same of the tracker's facts."""
    facts, phases = person.state.facts, person.table.courses[0].phase_ids
    track = facts.tracks[0]
    expired = person.watermark - facts.cart_touched >= person.table.model.cart_ttl
    return {
        "cart": {} if expired else {line.product_id: line.quantity for line in facts.cart},
        "orders": facts.order_count,
        "revenue": {currency: amount for currency, amount in facts.revenue.items() if amount},
        "journeys": track.journeys,
        "converted": [(journey.number, phases[journey.path[-1]]) for journey in track.converted],
        "phase": None if track.journey is None else phases[track.journey.path[-1]],
        "armed": facts.armed.event_id if facts.armed is not None else None,
    }


def merged(visitor: Person, customer: Person, at: int) -> None:
    """What the log does with a link: the visitor's past goes to the customer."""
    out: list[Output] = []
    merging.merge(visitor.state, "p", at, visitor.table, visitor.watermark, out)
    visitor.out += out
    for output in out:
        if isinstance(output, AbsorbState):
            arguments = output.source, output.ts, output.payload, customer.table, customer.watermark, customer.out
            assert merging.absorb(customer.state, *arguments)
