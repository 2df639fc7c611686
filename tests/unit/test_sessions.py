"""Which sessions a session replaces, where events came in another order than their times."""

from __future__ import annotations

from tests.properties.runner import Person
from tests.properties.strategies import HOUR, START, Arrival
from tracker.domain.events import Event
from tracker.domain.outputs import SessionClosed, Transition


def test_a_session_whose_events_wait_for_an_earlier_ones_end_is_not_replaced_by_that_one() -> None:
    later = Event("later", "product_viewed", START + 2 * HOUR, "p")
    sooner = Event("sooner", "page_viewed", START, "p")
    person = Person().log([Arrival(later, START), Arrival(sooner, None)])
    sessions = person.said(SessionClosed)
    assert [(closed.first_event_id, closed.supersedes) for closed in sessions] == [("sooner", []), ("later", [])]


def test_a_session_that_proves_to_be_none_when_its_event_has_waited_is_replaced_once() -> None:
    copy = Event("copy", "order_completed", START + 2 * HOUR, "p", order_id="O1")
    order = Event("order", "order_completed", START, "p", order_id="O1")
    after = Event("after", "page_viewed", START + 2 * HOUR + 1, "p")
    person = Person().log([Arrival(copy, START), Arrival(order, None), Arrival(after, None)])
    vanished = person.said(Transition)[0].session_id
    sessions = person.said(SessionClosed)
    assert [closed.first_event_id for closed in sessions] == ["order", "after"]
    assert [gone for closed in sessions for gone in closed.supersedes] == [vanished]
