"""The naive answer to a condition: from the whole list of a person's events, as the schema's docstrings say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.oracle.naive import Fold
from tests.oracle.shapes import Journey
from tracker.domain.conditions import Condition, Count, Property, Since
from tracker.domain.events import Event


@dataclass(frozen=True)
class Asked:
    """What a condition is asked about: the fold of `events` (sorted, each id once) up to `now`, the event at hand."""

    fold: Fold
    events: list[Event]
    now: int
    event: Event | None = None
    segments: Mapping[str, Condition] | None = None

    def counted(self) -> list[Event]:
        """All but the second copies of orders."""
        names: set[str] = set()
        found = []
        for event in self.events:
            if event.type in self.fold.table.conversion and event.order_id is not None:
                if event.order_id in names:
                    continue
                names.add(event.order_id)
            found.append(event)
        return found

    def journey(self) -> Journey | None:
        """The present one: before the purchase, else the latest that converted."""
        converted = [order.journey for order in self.fold.orders]
        return self.fold.open_journey() or (self.fold.journeys[converted[-1] - 1] if converted else None)


def holds(asked: Asked, condition: Condition) -> bool:
    """Whether everything that the condition gives holds."""
    answers = [holds(asked, part) for part in condition.all]
    if condition.any:
        answers.append(any(holds(asked, part) for part in condition.any))
    if condition.not_ is not None:
        answers.append(not holds(asked, condition.not_))
    if condition.count is not None:
        answers.append(between(number(asked, condition.count), condition.count.at_least, condition.count.at_most))
    if condition.orders is not None:
        answers.append(between(asked.fold.order_count, condition.orders.at_least, condition.orders.at_most))
    if condition.since is not None:
        then = past(asked, condition.since)
        passed = None if then is None else asked.now - then
        answers.append(passed is not None and between(passed, condition.since.at_least, condition.since.at_most))
    if condition.property is not None:
        answers.append(fits(asked.event, condition.property))
    if condition.known is not None:
        name = condition.known.name
        told = [event for event in asked.events if (event.properties or {}).get(name) is not None]
        answers.append(bool(told) and fits(told[-1], condition.known))
    if condition.channel:
        answers.append(channel(asked) in condition.channel)
    if condition.segment:
        named = next((event.segments for event in reversed(asked.events) if event.segments is not None), [])
        derived = [name for name, where in (asked.segments or {}).items() if holds(asked, where)]
        answers.append(not {*named, *derived}.isdisjoint(condition.segment))
    if condition.met:
        journey = asked.journey()
        met = set() if journey is None else {event.type for event in journey.events}
        answers.append(not met.isdisjoint(condition.met))
    if condition.cart is not None:
        answers.append((condition.cart == "filled") == bool(asked.fold.final_cart(asked.now)))
    if condition.customer is not None:
        answers.append(condition.customer)  # scripts are those of a customer
    return all(answers)


def between(value: float, least: float | None, most: float | None) -> bool:
    """Both bounds included, a bound that is not given is none."""
    return (least is None or value >= least) and (most is None or value <= most)


def number(asked: Asked, count: Count) -> int:
    """How many events of the types there were."""
    events = asked.counted()
    if count.during == "journey":
        journey = asked.journey()
        events = [] if journey is None else journey.events
    elif count.during == "session":
        sessions = asked.fold.sessions
        ids = [event.event_id for event in events]
        is_open = bool(sessions) and not sessions[-1].closed
        events = events[ids.index(sessions[-1].event_ids[0]) :] if is_open else []
    elif count.within is not None:
        events = [event for event in events if event.ts > asked.now - count.within]
    return sum(event.type in count.events for event in events)


def past(asked: Asked, since: Since) -> int | None:
    """When it happened last (or first), None for never."""
    before = [event for event in asked.events if asked.event is None or event.event_id != asked.event.event_id]
    if since.what == "first_seen":
        return asked.events[0].ts
    if since.what == "delivery":
        return max((event.ts for event in asked.events if event.type == "order_delivered"), default=None)
    if since.what == "last_order":
        ids = {event.event_id for event in before}
        return max((o.ts for o in asked.fold.orders if o.event_id in ids and not o.gone), default=None)
    active = {event_id for session in asked.fold.sessions for event_id in session.event_ids}
    return max((event.ts for event in before if event.event_id in active), default=None)


def fits(event: Event | None, asked: Property) -> bool:
    """A text that is named, or a number between the bounds."""
    value = (event.properties or {}).get(asked.name) if event is not None else None
    if isinstance(value, bool):
        value = str(value).lower()
    numbers = asked.at_least is not None or asked.at_most is not None
    if isinstance(value, str):
        return value in asked.one_of
    return numbers and isinstance(value, int | float) and between(value, asked.at_least, asked.at_most)


def channel(asked: Asked) -> str | None:
    """Of the open session, else of the journey."""
    sessions = asked.fold.sessions
    said = sessions[-1].channel if sessions and not sessions[-1].closed else None
    journey = asked.journey()
    return said or (None if journey is None else journey.channel)
