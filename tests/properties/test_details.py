"""What outputs say besides: places in a row, times in a phase, who did what last."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given

from tests.properties.runner import Person
from tests.properties.strategies import BACKLOG, Arrival, honest, scripts
from tracker.domain.events import PASSIVE_TYPES, Event
from tracker.domain.outputs import DropOff, SessionClosed, Transition


@given(arrivals=honest(scripts(), BACKLOG))
def test_sessions_are_numbered_and_name_the_one_before(arrivals: list[Arrival]) -> None:
    sessions = Person().log(arrivals).said(SessionClosed)
    assert [session.index for session in sessions] == list(range(1, len(sessions) + 1))
    assert all(later.previous_session_id == earlier.session_id for earlier, later in pairwise(sessions))
    assert len({session.session_id for session in sessions}) == len(sessions)


@given(events=scripts())
def test_dwell_time_is_from_the_journeys_move_before(events: list[Event]) -> None:
    before: dict[str, Transition] = {}
    ordered = sorted(events, key=lambda event: (event.ts, event.event_id))
    for move in Person().live(ordered).said(Transition):
        last = before.get(move.journey_id)
        assert move.dwell_ms == (None if last is None else move.at - last.at)
        assert move.from_phase == (None if last is None else last.to_phase)
        assert move.entered_at == (move.at if move.to_phase is not None or last is None else last.at)
        before[move.journey_id] = move


@given(events=scripts())
def test_a_transition_names_the_session_that_it_happened_in(events: list[Event]) -> None:
    ordered = sorted(events, key=lambda event: (event.ts, event.event_id))
    types = {event.event_id: event.type for event in events}
    person = Person().live(ordered)
    sessions = {session.session_id: session for session in person.said(SessionClosed)}
    for move in person.said(Transition):
        if move.session_id is not None:
            session = sessions[move.session_id]
            passive = types[move.event_id or ""] in PASSIVE_TYPES
            assert session.started_at <= move.at
            assert move.at - session.ended_at < 30 * 60_000 if passive else move.at <= session.ended_at
        elif move.direction != "left":
            assert types[move.event_id or ""] in PASSIVE_TYPES


@given(arrivals=honest(scripts(), BACKLOG))
def test_a_drop_off_tells_the_last_thing_that_the_person_did(arrivals: list[Arrival]) -> None:
    person = Person().log(arrivals)
    orders: set[str] = set()
    active = []
    for event in sorted((arrival.event for arrival in arrivals), key=lambda event: (event.ts, event.event_id)):
        copy = event.order_id in orders and event.type in person.table.model.conversion
        if event.type in person.table.model.conversion and event.order_id is not None:
            orders.add(event.order_id)
        if event.type not in PASSIVE_TYPES and not copy:
            active.append(event)
    for drop in person.said(DropOff):
        if drop.kind == "dropped_off":
            last = [event for event in active if event.ts < drop.detected_at][-1]
            assert (drop.last_event.event_id, drop.last_event.type) == (last.event_id, last.type)
            assert drop.last_activity_at == last.ts
            assert drop.armed_at < drop.due_at <= drop.detected_at
            assert drop.detected_at >= drop.last_activity_at + 30 * 60_000
