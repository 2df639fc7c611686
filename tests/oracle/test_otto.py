"""The oracle over real shop traffic."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from tests.oracle.naive import Fold, fold
from tests.oracle.otto import otto
from tracker.domain.events import PASSIVE_TYPES

PEOPLE = otto(Path(__file__).parents[1] / "data" / "otto" / "sessions.jsonl")
END = max(event.ts for events in PEOPLE.values() for event in events) + 86_400_000


def folded() -> dict[str, Fold]:
    return {person: fold(events, END) for person, events in PEOPLE.items()}


def test_the_oracle_finds_the_144_sessions_of_the_otto_sample() -> None:
    people = folded()
    assert sum(len(events) for events in PEOPLE.values()) == 862
    assert sum(len(person.sessions) for person in people.values()) == 144
    assert sum(len(session.event_ids) for person in people.values() for session in person.sessions) == 862
    assert not PASSIVE_TYPES & {event.type for events in PEOPLE.values() for event in events}


def test_a_session_of_the_otto_sample_ends_at_its_last_event() -> None:
    for person, result in folded().items():
        at = {event.event_id: event.ts for event in PEOPLE[person]}
        for session, following in pairwise(result.sessions):
            assert following.started_at - session.ended_at >= 30 * 60_000
        for session in result.sessions:
            times = [at[event_id] for event_id in session.event_ids]
            assert (session.started_at, session.ended_at) == (times[0], times[-1])
            assert all(later - earlier < 30 * 60_000 for earlier, later in pairwise(times))


def test_every_order_of_the_otto_sample_converts_one_journey() -> None:
    people = folded()
    orders = sum(event.type == "order_completed" for events in PEOPLE.values() for event in events)
    assert sum(result.order_count for result in people.values()) == orders == 10
    assert sum(journey.converted for result in people.values() for journey in result.journeys) == orders


def test_seven_carts_of_the_otto_sample_are_left_and_each_had_a_drop_off() -> None:
    """The sample's own description: 7 visitors left something in the cart unordered, 4 of them never ordered."""
    left = {person: result for person, result in folded().items() if result.cart}
    assert len(left) == 7
    assert sum(not result.orders for result in left.values()) == 4
    assert all(any(d.reason == "cart_abandoned" for d in result.drop_offs) for result in left.values())
