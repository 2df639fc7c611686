"""The same equality under other settings: quiet hours, a short gap and cap, a lateness longer than the waits."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.oracle.naive import fold
from tests.oracle.table import NETTBUTIKK
from tests.properties.runner import (
    Person,
    drop_offs_of,
    drop_offs_said,
    fold_log,
    moves_of,
    moves_said,
    recoveries_of,
    recoveries_said,
    sessions_of,
    sessions_said,
    standing_of,
    standing_said,
    table,
    withheld_said,
)
from tests.properties.strategies import BACKLOG, HOUR, MINUTE, SHORT_STEPS, Arrival, delayed, honest, scripts
from tracker.domain.events import Event
from tracker.domain.model import FoldSettings
from tracker.domain.outputs import LateEvent, SessionClosed

NIGHT = (22 * 60, 8 * 60)
SIESTA = (12 * 60, 15 * 60)
TIGHT = FoldSettings(session_gap=10 * MINUTE, session_cap=HOUR, allowed_lateness=6 * HOUR, consent_default=False)
TIGHT_TABLE = replace(NETTBUTIKK, gap=10 * MINUTE, cap=HOUR, consent_default=False)


@given(events=scripts(), quiet=st.sampled_from((NIGHT, SIESTA)))
def test_quiet_hours_defer_as_in_the_naive_fold(events: list[Event], quiet: tuple[int, int]) -> None:
    person = Person(table=table(quiet)).live(sorted(events, key=lambda event: (event.ts, event.event_id)))
    expected = fold(events, person.watermark, replace(NETTBUTIKK, quiet=quiet))
    assert drop_offs_said(person) == drop_offs_of(expected)
    assert recoveries_said(person) == recoveries_of(expected)
    assert sessions_said(person) == sessions_of(expected)
    assert withheld_said(person) == expected.withheld
    assert moves_said(person) == moves_of(expected)
    assert standing_said(person) == standing_of(expected, person.watermark)


@given(arrivals=honest(scripts(), BACKLOG))
def test_quiet_hours_and_a_source_in_backlog(arrivals: list[Arrival]) -> None:
    person = Person(table=table(NIGHT)).log(arrivals)
    expected = fold_log(arrivals, person.watermark, replace(NETTBUTIKK, quiet=NIGHT))
    assert drop_offs_said(person) == drop_offs_of(expected)
    assert sessions_said(person) == sessions_of(expected)
    assert standing_said(person) == standing_of(expected, person.watermark)


@st.composite
def hours_late(draw: st.DrawFn) -> list[Arrival]:
    delays = (0, 0, 1, 10 * MINUTE, HOUR, 4 * HOUR, 5 * HOUR, 6 * HOUR)
    return [Arrival(event, at) for at, event in delayed(draw, draw(scripts(longest=10)), delays)]


@given(arrivals=hours_late())
def test_a_lateness_longer_than_the_waits_gives_the_same_facts_and_sessions(arrivals: list[Arrival]) -> None:
    person = Person(table=table(settings=TIGHT)).log(arrivals)
    expected = fold([a.event for a in arrivals], person.watermark, TIGHT_TABLE)
    assert not person.said(LateEvent)
    assert standing_said(person) == standing_of(expected, person.watermark)
    assert sessions_said(person) == sessions_of(expected)


@given(arrivals=honest(scripts(SHORT_STEPS, longest=20), (0, 1, 10 * MINUTE, HOUR)))
def test_the_cap_cuts_at_the_same_events_whatever_their_order_of_arrival(arrivals: list[Arrival]) -> None:
    person = Person(table=table(settings=TIGHT)).log(arrivals)
    expected = fold_log(arrivals, person.watermark, TIGHT_TABLE)
    assert sessions_said(person) == sessions_of(expected)
    assert [session.revision for session in person.said(SessionClosed)] == [1] * len(expected.sessions)
    assert drop_offs_said(person) == drop_offs_of(expected)
    assert standing_said(person) == standing_of(expected, person.watermark)
