"""The oracle is only worth something if it tells the design's own stories right."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.oracle.naive import UNIT, fold
from tests.oracle.table import NETTBUTIKK
from tests.scenarios.traces import TRACES, Trace


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.name)
def test_the_oracle_tells_the_designs_traces_as_written(trace: Trace) -> None:
    result = fold(
        [arrival.event for arrival in trace.arrivals],
        trace.until,
        replace(NETTBUTIKK, quiet=trace.quiet_hours),
    )
    facts = [sent for place, sent in enumerate(trace.sent) if place not in trace.cancelled]
    assert [(drop.reason, drop.armed_at, drop.detected_at) for drop in result.drop_offs] == facts
    assert [recovery.value for recovery in result.recoveries] == [value * UNIT for value in trace.recovered.values()]
    assert result.withheld == trace.withheld
    assert result.order_count == trace.orders
    assert result.waiting == []
    if trace.journeys is not None:
        assert len(result.journeys) == trace.journeys
    if trace.sessions is not None:
        assert [(session.started_at, session.ended_at) for session in result.sessions] == trace.sessions
    if trace.moves is not None:
        assert [(move.direction, move.to_phase) for move in result.moves] == trace.moves
