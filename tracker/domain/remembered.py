"""What is remembered of a person's past because a condition asks for it: times and numbers of events, by type.

It is part of the facts: folded again with the recent events, joined where persons are merged, and bounded: the times
that conditions can tell apart, and a number for each type that they count.
"""

from __future__ import annotations

from typing import Any

from tracker.domain.events import Event
from tracker.domain.predicates import last_order
from tracker.domain.state import Facts, Journey, Past, Plain
from tracker.domain.units import NEVER

MAX_TEXT = 128
"""Characters of a property that is remembered; longer ones are no names of anything."""
DELIVERY = "order_delivered"
"""The event that `since: {what: delivery}` means."""


class Tally:
    """What to remember of the events of one type: the last `limit` times within `longest` ms; how many there were in
    the session, the journey, and ever; when somebody was first seen, last active before an event, last delivered to."""

    def __init__(self) -> None:
        self.limit = 0
        self.longest = 0
        self.session = False
        self.journey = False
        self.ever = False
        self.first_seen = False
        self.last_active = False
        self.delivery = False


class Memory:
    """What the conditions of all models need to have remembered."""

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}
        self.met: set[str] = set()
        self.known: list[str] = []
        """Properties of which the last value counts."""
        self.first_seen = False
        self.last_active = False

    def of(self, event_type: str) -> Tally | None:
        """What to remember of a type; None for nothing. An empty type stands for those that no condition names."""
        tally = self.tallies.get(event_type)
        if self.first_seen or self.last_active:
            tally = tally or Tally()
            tally.first_seen = self.first_seen
            tally.last_active = self.last_active
        return tally

    def add(self, other: Memory) -> None:
        """Remember what `other` does as well."""
        for name, theirs in other.tallies.items():
            mine = self.tally(name)
            mine.limit = max(mine.limit, theirs.limit)
            mine.longest = max(mine.longest, theirs.longest)
            mine.session |= theirs.session
            mine.journey |= theirs.journey
            mine.ever |= theirs.ever
            mine.delivery |= theirs.delivery
        self.met |= other.met
        self.known += [name for name in other.known if name not in self.known]
        self.first_seen |= other.first_seen
        self.last_active |= other.last_active

    def tally(self, event_type: str) -> Tally:
        """The tally of a type, begun where there is none."""
        return self.tallies.setdefault(event_type, Tally())


def note(facts: Facts, event: Event, tally: Tally, last_active: int, in_session: bool) -> None:
    """Remember an event before conditions are asked about it; `last_active` is the last activity before it, ms."""
    if tally.session and in_session and facts.session is not None:
        facts.session.counts = _one_more(facts.session.counts, event.type)
    past = facts.past
    if past is None:
        past = facts.past = Past()
    ts = event.ts
    if tally.limit:
        times = past.times.setdefault(event.type, [])
        times.append(ts)
        while times and (len(times) > tally.limit or ts - times[0] >= tally.longest):
            del times[0]
    if tally.ever:
        past.ever[event.type] = past.ever.get(event.type, 0) + 1
    if tally.first_seen and past.first_seen == NEVER:
        past.first_seen = ts
    if tally.last_active:
        past.active_before = last_active
    if tally.delivery:
        past.delivered_at = ts


def know(facts: Facts, ts: int, properties: dict[str, Any], names: list[str]) -> None:
    """Remember what an event says under these names."""
    for name in names:
        value = properties.get(name)
        if isinstance(value, str | float | int) and (not isinstance(value, str) or len(value) <= MAX_TEXT):
            past = facts.past
            if past is None:
                past = facts.past = Past()
            past.known[name] = ts, value


def note_on(journey: Journey, event: Event) -> None:
    """Count an event of the journey."""
    journey.counts = _one_more(journey.counts, event.type)


def lasting(facts: Facts) -> Past | None:
    """What a long silence does not take away: numbers, dates and properties. No window is as long as such a silence."""
    past = facts.past or Past()
    kept = Past(
        ever=past.ever,
        first_seen=past.first_seen,
        delivered_at=past.delivered_at,
        ordered_at=last_order(facts),
        known=past.known,
    )
    return None if kept == Past() else kept


def join(own: Facts, other: Facts, memory: Memory) -> None:
    """The customer's past and the anonymous person's together."""
    theirs = other.past
    if theirs is None:
        return
    mine = own.past
    if mine is None:
        own.past = theirs
        return
    for name, times in theirs.times.items():
        tally = memory.tallies.get(name)
        if tally is not None and tally.limit:
            mine.times[name] = sorted([*mine.times.get(name, []), *times])[-tally.limit :]
    mine.ever = joined(mine.ever, theirs.ever) or {}
    if mine.first_seen == NEVER or NEVER < theirs.first_seen < mine.first_seen:
        mine.first_seen = theirs.first_seen
    mine.delivered_at = max(mine.delivered_at, theirs.delivered_at)
    mine.ordered_at = max(mine.ordered_at, theirs.ordered_at)
    for name, said in theirs.known.items():
        if name not in mine.known or _later(said, mine.known[name]):
            mine.known[name] = said


def _later(one: tuple[int, Plain], other: tuple[int, Plain]) -> bool:
    return (one[0], str(one[1])) > (other[0], str(other[1]))


def joined(one: dict[str, int] | None, other: dict[str, int] | None) -> dict[str, int] | None:
    """The sums of two countings."""
    if one is None or other is None:
        return one or other
    return {name: one.get(name, 0) + other.get(name, 0) for name in (*one, *other)}


def _one_more(counts: dict[str, int] | None, name: str) -> dict[str, int]:
    if counts is None:
        return {name: 1}
    counts[name] = counts.get(name, 0) + 1
    return counts
