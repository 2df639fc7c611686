"""The tracker's fold, event by event with late ones and watermarks, against the naive fold of all events sorted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.oracle.naive import fold
from tests.properties.runner import (
    NEVER,
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
    withheld_said,
)
from tests.properties.strategies import BACKLOG, SMALL_DELAYS, Arrival, honest, late, scripts
from tracker.domain.events import Event
from tracker.domain.outputs import DropOff, LateEvent, SessionClosed, Transition


def check_all(person: Person, events: list[Event]) -> None:
    """Everything said and known equals what the naive fold finds."""
    expected = fold(events, person.watermark)
    assert sessions_said(person) == sessions_of(expected)
    assert drop_offs_said(person) == drop_offs_of(expected)
    assert recoveries_said(person) == recoveries_of(expected)
    assert withheld_said(person) == expected.withheld
    assert moves_said(person) == moves_of(expected)
    assert standing_said(person) == standing_of(expected, person.watermark)


@given(events=scripts())
def test_events_in_order_give_what_the_naive_fold_gives(events: list[Event]) -> None:
    ordered = sorted(events, key=lambda event: (event.ts, event.event_id))
    check_all(Person().live(ordered), events)


def check_sessions_and_drop_offs(person: Person, arrivals: list[Arrival]) -> None:
    """What a retargeting system acts on equals the naive fold, with nothing to correct afterwards."""
    expected = fold_log(arrivals, person.watermark)
    assert sessions_said(person) == sessions_of(expected)
    assert [session.revision for session in person.said(SessionClosed)] == [1] * len(expected.sessions)
    assert drop_offs_said(person) == drop_offs_of(expected)
    assert not [end for end in person.said(DropOff) if end.kind == "cancelled"]
    assert withheld_said(person) == expected.withheld
    # Of two orders that close together, the first to come in is the one that recovers.
    assert sorted(at for at, _ in recoveries_said(person)) == [at for at, _ in recoveries_of(expected)]
    assert standing_said(person) == standing_of(expected, person.watermark)


@given(arrivals=honest(scripts(), SMALL_DELAYS))
def test_disorder_below_out_of_orderness_gives_the_same_sessions_and_drop_offs(arrivals: list[Arrival]) -> None:
    check_sessions_and_drop_offs(Person().log(arrivals), arrivals)


@given(arrivals=honest(scripts(), BACKLOG) | honest(scripts(longest=6)))
def test_a_source_in_backlog_makes_nobody_look_gone(arrivals: list[Arrival]) -> None:
    """However far the other sources are ahead, as long as the watermark stays behind."""
    check_sessions_and_drop_offs(Person().log(arrivals), arrivals)


@given(arrivals=honest(scripts(), BACKLOG) | honest(scripts(longest=6)))
def test_at_any_time_the_facts_are_the_naive_fold_of_what_came_in(arrivals: list[Arrival]) -> None:
    person = Person()
    for place, arrival in enumerate(arrivals, start=1):
        if arrival.watermark is not None:
            person.time(arrival.watermark)
        person.take(arrival.event)
        expected = fold_log(arrivals[:place], person.watermark)
        assert [event_id for _, event_id, _ in person.state.waiting] == expected.waiting
        assert standing_said(person) == standing_of(expected, person.watermark)
        assert drop_offs_said(person) == drop_offs_of(expected)
        assert sessions_said(person) == sessions_of(expected)


@given(arrivals=late(scripts()))
def test_events_within_the_allowed_lateness_give_the_facts_of_the_sorted_order(arrivals: list[Arrival]) -> None:
    events = [arrival.event for arrival in arrivals]
    person = Person().log(arrivals)
    assert not person.said(LateEvent)
    assert set(person.outcomes) <= {"applied", "waiting"}
    in_order = Person().live(sorted(events, key=lambda event: (event.ts, event.event_id)))
    assert person.state.facts == in_order.state.facts
    expected = fold(events, person.watermark)
    assert standing_said(person) == standing_of(expected, person.watermark)
    assert sessions_said(person) == sessions_of(expected)


@given(arrivals=late(scripts()) | honest(scripts(), BACKLOG) | honest(scripts(longest=6)))
def test_no_id_is_said_twice(arrivals: list[Arrival]) -> None:
    person = Person().log(arrivals)
    ids = [move.id for move in person.said(Transition)]
    assert len(set(ids)) == len(ids)
    revisions = [(session.session_id, session.revision) for session in person.said(SessionClosed)]
    assert len(set(revisions)) == len(revisions)


@given(arrivals=late(scripts()) | honest(scripts(), BACKLOG) | honest(scripts(longest=6)))
def test_nobody_is_said_to_be_gone_once_a_later_order_is_known(arrivals: list[Arrival]) -> None:
    bought = NEVER
    for said in Person().log(arrivals).out:
        if isinstance(said, Transition) and said.direction == "converted":
            bought = max(bought, said.at)
        if isinstance(said, DropOff) and said.kind == "dropped_off":
            assert bought < said.detected_at


@given(arrivals=late(scripts()))
def test_each_drop_off_is_ended_at_most_once_and_each_order_recovers_one(arrivals: list[Arrival]) -> None:
    said = Person().log(arrivals).said(DropOff)
    assert len({message.id for message in said}) == len(said)
    ended = [message.dropoff_id for message in said if message.kind != "dropped_off"]
    assert len(set(ended)) == len(ended)
    assert set(ended) <= {message.id for message in said if message.kind == "dropped_off"}


@given(arrivals=late(scripts()))
def test_a_restart_between_any_two_records_changes_nothing(arrivals: list[Arrival]) -> None:
    steady, restarted = Person().log(arrivals), Person(restarts=True).log(arrivals)
    assert restarted.out == steady.out
    assert restarted.state == steady.state


@given(arrivals=late(scripts()), data=st.data())
def test_a_copy_of_an_event_changes_nothing_and_says_nothing(arrivals: list[Arrival], data: st.DataObject) -> None:
    """However much later it comes; an old one is reported late."""
    once = Person().log(arrivals)
    copies = list(arrivals)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(copies) - 1))
        copies.insert(data.draw(st.integers(place + 1, len(copies))), Arrival(copies[place].event, None))
    again = Person().log(copies)
    again.take(arrivals[0].event)
    assert [said for said in again.out if not isinstance(said, LateEvent)] == once.out
    assert again.state.facts == once.state.facts
