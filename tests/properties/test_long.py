"""Busy people: so many recent events that the base from which they are folded again has to move along."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.oracle.naive import Fold, fold
from tests.properties.runner import (
    Person,
    drop_offs_of,
    drop_offs_said,
    fold_log,
    recoveries_of,
    recoveries_said,
    sessions_of,
    sessions_said,
    standing_of,
    standing_said,
)
from tests.properties.strategies import AFTERS, CARTS, CHECKOUTS, HOUR, MINUTE, ORDERS, START, VIEWS, Arrival
from tracker.domain.events import Event, Item
from tracker.domain.outputs import DropOff, LateEvent, SessionClosed
from tracker.domain.state import MAX_ORDERS

KINDS = (*VIEWS * 4, *CARTS * 2, *CHECKOUTS, *AFTERS)


def busy(random: Random, length: int, longest_step: int) -> list[Event]:
    """Many events of one person; few orders, so that all of them are remembered."""
    ts, events, orders = START, [], 0
    for number in range(length):
        ts += random.choice((0, 1, 1000, random.randrange(longest_step), longest_step))
        kind = random.choice(KINDS)
        if random.random() < 0.05 and orders < MAX_ORDERS - 1:
            kind, orders = random.choice(ORDERS), orders + 1
        fields: dict[str, Any] = {}
        if kind in CARTS or kind in CHECKOUTS or kind in ORDERS:
            products = random.sample("ABC", random.randrange(3))
            fields["items"] = [Item(product, quantity=random.randrange(1, 3), price=10.0) for product in products]
        if kind in ORDERS:
            fields |= {"order_id": f"O{number}", "value": 100.0}
        event_id = f"{random.choice('abc')}{number:04}"
        events.append(Event(event_id, kind, ts, customer_id="p", currency="NOK", **fields))
    return events


def arrive(random: Random, events: list[Event], latest: int) -> list[Arrival]:
    """With delays up to `latest` behind a watermark that follows at once."""
    delayed = sorted(
        (event.ts + random.choice((0, 0, 0, random.randrange(latest + 1), latest)), place)
        for place, event in enumerate(events)
    )
    return [Arrival(events[place], at) for at, place in delayed]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("longest_step", [MINUTE, 20 * MINUTE, 5 * HOUR])
def test_a_busy_person_in_order(seed: int, longest_step: int) -> None:
    events = busy(Random(seed), 200, longest_step)
    person = Person().live(sorted(events, key=lambda event: (event.ts, event.event_id)))
    check(person, fold(events, person.watermark))
    assert drop_offs_said(person) == drop_offs_of(fold(events, person.watermark))
    assert recoveries_said(person) == recoveries_of(fold(events, person.watermark))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("longest_step", [MINUTE, 20 * MINUTE, 5 * HOUR])
def test_a_busy_person_whose_events_come_up_to_the_allowed_lateness_late(seed: int, longest_step: int) -> None:
    random = Random(seed)
    events = busy(random, 200, longest_step)
    person = Person(restarts=seed % 2 == 0).log(arrive(random, events, HOUR))
    assert not person.said(LateEvent)
    check(person, fold(events, person.watermark))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("longest_step", [MINUTE, 20 * MINUTE, 5 * HOUR])
def test_a_busy_person_behind_a_slow_watermark(seed: int, longest_step: int) -> None:
    """The watermark two hours behind: hundreds of events wait or are recent, none is late."""
    random = Random(seed)
    events = busy(random, 200, longest_step)
    arrivals = [Arrival(a.event, (a.watermark or 0) - 2 * HOUR) for a in arrive(random, events, 2 * HOUR)]
    person = Person().log(arrivals)
    expected = fold_log(arrivals, person.watermark)
    check(person, expected)
    assert drop_offs_said(person) == drop_offs_of(expected)
    assert all(session.revision == 1 for session in person.said(SessionClosed))
    assert not [end for end in person.said(DropOff) if end.kind == "cancelled"]


def check(person: Person, expected: Fold) -> None:
    assert sessions_said(person) == sessions_of(expected)
    assert standing_said(person) == standing_of(expected, person.watermark)
