"""Conditions compiled into something quick to ask: one small class for each kind of condition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tracker.domain.events import Event
from tracker.domain.state import Facts, Journey
from tracker.domain.units import NEVER


@dataclass(slots=True)
class Moment:
    """What a condition is asked about: a person, the journey in question (the one before purchase, or the converted
    one that an event belongs to; None if there is none), the event at hand, already taken in (None where time alone
    acts), and the time, ms."""

    facts: Facts
    journey: Journey | None
    event: Event | None
    now: int


class Predicate:
    """A compiled condition."""

    def holds(self, moment: Moment) -> bool:
        """Whether it holds at that moment."""
        raise NotImplementedError


class AllOf(Predicate):
    """Every part holds."""

    def __init__(self, parts: list[Predicate]) -> None:
        self.parts = parts

    def holds(self, moment: Moment) -> bool:
        for part in self.parts:  # noqa: SIM110 - a generator costs more than what it asks
            if not part.holds(moment):
                return False
        return True


class AnyOf(Predicate):
    """At least one part holds."""

    def __init__(self, parts: list[Predicate]) -> None:
        self.parts = parts

    def holds(self, moment: Moment) -> bool:
        for part in self.parts:  # noqa: SIM110
            if part.holds(moment):
                return True
        return False


class Not(Predicate):
    """The part does not hold."""

    def __init__(self, part: Predicate) -> None:
        self.part = part

    def holds(self, moment: Moment) -> bool:
        return not self.part.holds(moment)


class CountWithin(Predicate):
    """So many events of the types within so many ms, the present one included."""

    def __init__(self, types: tuple[str, ...], least: int, most: int, within: int) -> None:
        self.types = types
        self.least = least
        self.most = most
        self.within = within

    def holds(self, moment: Moment) -> bool:
        count = 0
        if moment.facts.past is not None:
            for name in self.types:
                for ts in reversed(moment.facts.past.times.get(name, [])):
                    if moment.now - ts >= self.within:
                        break
                    count += 1
        return self.least <= count <= self.most


class CountEver(Predicate):
    """So many events of the types since the person is known."""

    def __init__(self, types: tuple[str, ...], least: int, most: int) -> None:
        self.types = types
        self.least = least
        self.most = most

    def holds(self, moment: Moment) -> bool:
        past = moment.facts.past
        return self.least <= _sum(past.ever if past is not None else None, self.types) <= self.most


class CountInSession(CountEver):
    """So many events of the types in the open session."""

    def holds(self, moment: Moment) -> bool:
        session = moment.facts.session
        return self.least <= _sum(session.counts if session is not None else None, self.types) <= self.most


class CountInJourney(CountEver):
    """So many events of the types on the journey."""

    def holds(self, moment: Moment) -> bool:
        journey = moment.journey
        return self.least <= _sum(journey.counts if journey is not None else None, self.types) <= self.most


def _sum(counts: dict[str, int] | None, types: tuple[str, ...]) -> int:
    total = 0
    if counts is not None:
        for name in types:
            total += counts.get(name, 0)
    return total


class Orders(Predicate):
    """So many orders that stand."""

    def __init__(self, least: float, most: float) -> None:
        self.least = least
        self.most = most

    def holds(self, moment: Moment) -> bool:
        return self.least <= moment.facts.order_count <= self.most


class Since(Predicate):
    """So many ms since something."""

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most

    def lies(self, then: int, now: int) -> bool:
        """Whether the time since `then` lies between the bounds; nothing does since what never happened."""
        return then != NEVER and self.least <= now - then <= self.most


class SinceFirstSeen(Since):
    """Since the first event."""

    def holds(self, moment: Moment) -> bool:
        return moment.facts.past is not None and self.lies(moment.facts.past.first_seen, moment.now)


class SinceLastActive(Since):
    """Since the last activity, the event at hand left out."""

    def holds(self, moment: Moment) -> bool:
        if moment.event is None:
            return self.lies(moment.facts.active_at, moment.now)
        return moment.facts.past is not None and self.lies(moment.facts.past.active_before, moment.now)


class SinceLastOrder(Since):
    """Since the last order that stands, the event at hand left out."""

    def holds(self, moment: Moment) -> bool:
        return self.lies(last_order(moment.facts, moment.event), moment.now)


class SinceDelivery(Since):
    """Since the last delivery."""

    def holds(self, moment: Moment) -> bool:
        return moment.facts.past is not None and self.lies(moment.facts.past.delivered_at, moment.now)


def last_order(facts: Facts, event: Event | None = None) -> int:
    """When the latest order that stands was made, but for the one that the event at hand is; NEVER for none."""
    latest = facts.past.ordered_at if facts.past is not None else NEVER
    for order in facts.orders:
        if order.cancelled or order.ts <= latest:
            continue
        if event is not None and order.ts == event.ts and order.id == (event.order_id or event.event_id):
            continue
        latest = order.ts
    return latest


class PropertyIs(Predicate):
    """A property of the event at hand."""

    def __init__(self, name: str, texts: tuple[str, ...], bounded: bool, least: float, most: float) -> None:
        self.name = name
        self.texts = texts
        self.bounded = bounded
        self.least = least
        self.most = most

    def holds(self, moment: Moment) -> bool:
        properties = moment.event.properties if moment.event is not None else None
        return properties is not None and self.fits(properties.get(self.name))

    def fits(self, value: Any) -> bool:
        """Whether it is one of the texts, or lies between the bounds."""
        if isinstance(value, bool):
            value = "true" if value else "false"
        if isinstance(value, str):
            return value in self.texts if self.texts else not self.bounded
        if isinstance(value, (int, float)):
            return self.least <= value <= self.most if self.bounded else not self.texts
        return value is not None and not self.texts and not self.bounded


class IsKnown(PropertyIs):
    """A property that an event last gave, whichever it was."""

    def holds(self, moment: Moment) -> bool:
        past = moment.facts.past
        return past is not None and self.name in past.known and self.fits(past.known[self.name][1])


class InSegment(Predicate):
    """In one of the segments, whether an event names it or the model derives it."""

    def __init__(self, names: tuple[str, ...], derived: list[Predicate]) -> None:
        self.names = names
        self.derived = derived

    def holds(self, moment: Moment) -> bool:
        for name in moment.facts.segments:
            if name in self.names:
                return True
        for part in self.derived:  # noqa: SIM110
            if part.holds(moment):
                return True
        return False


class FromChannel(Predicate):
    """The channel of the open session, else the journey's."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def holds(self, moment: Moment) -> bool:
        session = moment.facts.session
        journey = moment.journey
        channel = session.channel if session is not None else None
        if channel is None and journey is not None:
            channel = journey.channel
        return channel in self.names


class OnDevice(Predicate):
    """The device of the open session, else the journey's."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def holds(self, moment: Moment) -> bool:
        session = moment.facts.session
        journey = moment.journey
        device = session.device if session is not None else None
        if device is None and journey is not None:
            device = journey.device
        return device in self.names


class Met(Predicate):
    """The journey met one of the types: by their bits, or counted where they have none."""

    def __init__(self, bits: int, others: tuple[str, ...]) -> None:
        self.bits = bits
        self.others = others

    def holds(self, moment: Moment) -> bool:
        journey = moment.journey
        return journey is not None and (journey.met & self.bits != 0 or _sum(journey.counts, self.others) > 0)


class CartIs(Predicate):
    """Whether something lies in the cart."""

    def __init__(self, filled: bool, ttl: int) -> None:
        self.filled = filled
        self.ttl = ttl

    def holds(self, moment: Moment) -> bool:
        return (bool(moment.facts.cart) and moment.now - moment.facts.cart_touched < self.ttl) == self.filled


class IsCustomer(Predicate):
    """Whether the person is known by a customer id."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted

    def holds(self, moment: Moment) -> bool:
        return moment.facts.person.startswith("c:") == self.wanted
