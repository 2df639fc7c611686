"""Busy people: so many recent events that the base from which they are folded again has to move along."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.oracle.naive import Fold, fold
from tests.properties.runner import (
    END_OF_TIME,
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
from tracker.domain.outputs import Bound, DropOff, LateEvent, SessionClosed
from tracker.domain.state import MAX_ORDERS
from tracker.domain.units import NEVER

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


@pytest.mark.parametrize("delay", [0, MINUTE])
def test_what_was_said_of_somebody_who_never_rests_stays_bounded_and_nothing_is_said_twice(
    delay: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A till that is logged in as a customer."""
    random = Random(delay)
    events = [
        Event(
            f"{number:05}-{kind}",
            kind,
            START + number * 4000 + place,
            customer_id="p",
            order_id=f"O{number}" if kind in ORDERS else None,
            items=[Item("A", price=100.0)],
            value=100.0 if kind in ORDERS else None,
            currency="NOK",
        )
        for number in range(400)
        for place, kind in enumerate(("product_added", ORDERS[0]))
    ]
    arrivals = arrive(random, events, delay)

    def told() -> Person:
        person = Person()
        for arrival in arrivals:
            person.time(arrival.watermark or NEVER)
            person.take(arrival.event)
        return person

    monkeypatch.setattr("tracker.domain.said.MAX_SAID", 400)
    bounded = told()
    monkeypatch.setattr("tracker.domain.said.MAX_SAID", 1_000_000)
    endless = told()
    for person in (bounded, endless):
        person.time(START + HOUR + END_OF_TIME)
    assert Bound("said") in bounded.out
    assert [output for output in bounded.out if output != Bound("said")] == endless.out


def test_the_state_of_somebody_who_never_rests_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.domain.said.MAX_SAID", 600)
    person, sizes = Person(), []
    for number in range(1800):
        ts = START + number * 2000
        person.time(ts)
        person.take(Event(f"e{number}", ORDERS[0], ts, customer_id="p", order_id=f"O{number}", value=1.0))
        if number % 600 == 599:
            sizes.append(len(person.state.said_raw))
    assert sizes[2] < 1.2 * sizes[1]


def check(person: Person, expected: Fold) -> None:
    assert sessions_said(person) == sessions_of(expected)
    assert standing_said(person) == standing_of(expected, person.watermark)
