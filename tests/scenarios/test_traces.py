"""The design's traces, told to the tracker's fold with the watermark following as they say."""

from __future__ import annotations

import pytest

from tests.properties.runner import Person, sessions_said, table
from tests.scenarios.traces import TRACES, Trace
from tracker.domain.outputs import DropOff, Transition, Withheld


def follow(trace: Trace) -> Person:
    """One person of the trace: events and watermarks in the order of their arrival, then two more days."""
    person = Person(table=table(trace.quiet_hours), name="c:c1")
    for arrival in trace.arrivals:
        person.time(arrival.watermark)
        person.take(arrival.event)
    person.time(trace.until)
    return person


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.name)
def test_the_tracker_tells_the_designs_traces_as_written(trace: Trace) -> None:
    person = follow(trace)
    said = person.said(DropOff)
    sent = [drop for drop in said if drop.kind == "dropped_off"]
    assert [(drop.reason, drop.armed_at, drop.detected_at) for drop in sent] == trace.sent
    ids = [drop.id for drop in sent]
    assert [ids.index(end.dropoff_id or "") for end in said if end.kind == "cancelled"] == trace.cancelled
    recovered = [end for end in said if end.kind == "recovered"]
    assert {ids.index(end.dropoff_id or ""): end.value for end in recovered} == trace.recovered
    assert len(person.said(Withheld)) == trace.withheld
    assert person.state.facts.order_count == trace.orders
    moves = person.said(Transition)
    if trace.journeys is not None:
        assert len({move.journey_id for move in moves}) == trace.journeys
    if trace.sessions is not None:
        assert [session[:2] for session in sessions_said(person)] == trace.sessions
    if trace.moves is not None:
        assert [(move.direction, move.to_phase) for move in moves] == trace.moves
