"""The oracle over real shop traffic."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.oracle.naive import Fold, fold
from tests.oracle.otto import otto
from tracker.domain.events import PASSIVE_TYPES, Event

People = dict[str, list[Event]]
Folded = dict[str, Fold]


@pytest.fixture(scope="module")
def people(shared_data: Path) -> People:
    return otto(shared_data / "otto" / "sessions.jsonl")


@pytest.fixture(scope="module")
def folded(people: People) -> Folded:
    end = max(event.ts for events in people.values() for event in events) + 86_400_000
    return {person: fold(events, end) for person, events in people.items()}


def test_the_oracle_finds_the_144_sessions_of_the_otto_sample(people: People, folded: Folded) -> None:
    assert sum(len(events) for events in people.values()) == 862
    assert sum(len(person.sessions) for person in folded.values()) == 144
    assert sum(len(session.event_ids) for person in folded.values() for session in person.sessions) == 862
    assert not PASSIVE_TYPES & {event.type for events in people.values() for event in events}


def test_a_session_of_the_otto_sample_ends_at_its_last_event(people: People, folded: Folded) -> None:
    for person, result in folded.items():
        at = {event.event_id: event.ts for event in people[person]}
        for session, following in pairwise(result.sessions):
            assert following.started_at - session.ended_at >= 30 * 60_000
        for session in result.sessions:
            times = [at[event_id] for event_id in session.event_ids]
            assert (session.started_at, session.ended_at) == (times[0], times[-1])
            assert all(later - earlier < 30 * 60_000 for earlier, later in pairwise(times))


def test_every_order_of_the_otto_sample_converts_one_journey(people: People, folded: Folded) -> None:
    orders = sum(event.type == "order_completed" for events in people.values() for event in events)
    assert sum(result.order_count for result in folded.values()) == orders == 10
    assert sum(journey.converted for result in folded.values() for journey in result.journeys) == orders


def test_seven_carts_of_the_otto_sample_are_left_and_each_had_a_drop_off(folded: Folded) -> None:
    """The sample's own description: 7 visitors left something in the cart unordered, 4 of them never ordered."""
    left = {person: result for person, result in folded.items() if result.cart}
    assert len(left) == 7
    assert sum(not result.orders for result in left.values()) == 4
    assert all(any(d.reason == "cart_abandoned" for d in result.drop_offs) for result in left.values())
