"""Orders beside drop-offs and merges, in single cases that scripts drawn at random hardly ever meet."""

from __future__ import annotations

from typing import Any

import pytest

from tests.properties.runner import Person, merged
from tests.properties.strategies import HOUR, MINUTE, START
from tracker.domain.events import Event, Item
from tracker.domain.model import FoldSettings
from tracker.domain.outputs import DropOff, Sales, Transition, Withheld
from tracker.domain.table import Table, compile_table
from tracker.journeys.loader import load

SHOES = [Item("shoes", price=50.0)]


def event(number: int, minute: int, type_: str, who: str = "c:p", **fields: object) -> Event:
    made = Event(f"e{number}", type_, START + minute * MINUTE, customer_id=who[2:] if who[0] == "c" else None)
    made.anonymous_id = who[2:] if who[0] == "a" else None
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def kinds(person: Person) -> list[str]:
    return [message.kind for message in person.said(DropOff)]


def test_an_order_judges_only_the_drop_offs_that_it_has_not_met() -> None:
    person, visitor = Person(), Person(name="a:v")
    for made in (
        event(1, 0, "order_completed", order_id="o1", items=[Item("hat", price=10.0)]),
        event(2, 5, "product_added", items=SHOES),
        event(3, 10, "checkout_started", items=SHOES),
    ):
        person.take(made)
    visitor.take(event(4, 0, "page_viewed", "a:v"))
    for who in (person, visitor):
        who.time(START + 24 * HOUR)
    merged(visitor, person, START + 24 * HOUR)
    assert kinds(person) == ["dropped_off"]


def test_what_only_one_of_two_copies_of_an_order_was_refunded_is_taken_once() -> None:
    person, visitor = Person(), Person(name="a:v")
    person.take(event(1, 0, "order_completed", order_id="o1", value=100.0, currency="NOK"))
    visitor.take(event(2, 0, "order_completed", "a:v", order_id="o1", value=100.0, currency="NOK"))
    visitor.take(event(3, 1, "order_refunded", "a:v", order_id="o1", value=30.0))
    for who in (person, visitor):
        who.time(START + 24 * HOUR)
    merged(visitor, person, START + 24 * HOUR)
    assert (person.state.facts.order_count, person.state.facts.revenue) == (1, {"NOK": 700_000})
    sales = [*person.said(Sales), *visitor.said(Sales)]
    assert sum(sale.orders for sale in sales) == 1
    assert sum(sale.revenue for sale in sales) == 700_000


def test_what_waited_for_a_deadline_that_a_late_order_took_away_is_folded() -> None:
    person = Person()
    person.take(event(1, 0, "checkout_started", items=SHOES))
    person.time(START + 3 * HOUR)
    person.take(event(2, 300, "order_refunded", order_id="o1"))
    assert person.outcomes[-1] == "waiting", "for the drop-off of four hours"
    person.take(event(3, 30, "order_completed", order_id="o1", items=SHOES, value=50.0, currency="NOK"))
    assert not person.state.waiting
    person.time(START + 48 * HOUR)
    assert kinds(person) == []
    assert (person.state.facts.order_count, person.state.facts.revenue) == (0, {"NOK": 0})


CART = event(1, 0, "product_added", items=SHOES)
"""Abandoned after 240 minutes."""


def withheld(person: Person) -> list[tuple[str, str]]:
    return [(output.reason, output.why) for output in person.said(Withheld)]


@pytest.mark.parametrize("minute", [240, 300])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_drop_off_that_is_known_only_after_a_later_order_is_withheld(minute: int, restarts: bool) -> None:
    person = Person(restarts=restarts)
    person.time(START)
    person.take(event(2, minute, "order_completed", order_id="o1", items=SHOES))
    person.take(CART)
    person.time(START + 1000 * MINUTE)
    assert withheld(person) == [("cart_abandoned", "ordered")]
    assert kinds(person) == []


def test_an_order_before_the_deadline_leaves_nothing_to_withhold() -> None:
    person = Person()
    person.time(START)
    person.take(event(2, 239, "order_completed", order_id="o1", items=SHOES))
    person.take(CART)
    person.time(START + 1000 * MINUTE)
    assert withheld(person) == []
    assert kinds(person) == []


@pytest.mark.parametrize("markers", [(), (30, 240), (30, 240, 241, 300)])
def test_an_order_that_waits_for_the_deadline_recovers_however_often_time_moves(markers: tuple[int, ...]) -> None:
    person = Person()
    person.time(START)
    person.take(CART)
    person.take(event(2, 300, "order_completed", order_id="o1", items=SHOES))
    for minute in markers:
        person.time(START + minute * MINUTE)
    person.time(START + 1000 * MINUTE)
    assert withheld(person) == []
    assert kinds(person) == ["dropped_off", "recovered"]


def test_an_order_recovers_what_was_said_before_it_and_withholds_what_becomes_known_after_it() -> None:
    """The order was folded, and had ended the first, while the clicks that armed the second were still unread."""
    person = Person()
    person.time(START)
    person.take(CART)
    person.time(START + 250 * MINUTE)
    person.take(event(4, 900, "order_completed", order_id="o1", items=SHOES))
    person.take(event(3, 300, "product_added", items=[Item("hat", price=10.0)]))
    person.time(START + 2000 * MINUTE)
    assert kinds(person) == ["dropped_off", "recovered"]
    assert withheld(person) == [("cart_abandoned", "ordered")]


@pytest.mark.parametrize("buyer", ["c:p", "a:v"])
def test_an_order_of_either_past_withholds_what_only_a_merge_brings_out(buyer: str) -> None:
    """Of two persons who are one, the one has bought and the other has not yet fallen away."""
    customer, visitor = Person(), Person(name="a:v")
    bought = event(2, 300, "order_completed", who=buyer, order_id="o1", items=SHOES)
    filled = event(1, 0, "product_added", who="a:v" if buyer == "c:p" else "c:p", items=SHOES)
    for person in (customer, visitor):
        person.time(START)
        person.take(bought if person.name == buyer else filled)
    merged(visitor, customer, START)
    customer.time(START + 1000 * MINUTE)
    assert kinds(visitor) == kinds(customer) == []
    assert withheld(customer) == [("cart_abandoned", "ordered")]


def complaints() -> Table:
    """The complaint journey's rules, beside the default's orders."""
    return compile_table(load("klage"), FoldSettings(), load("nettbutikk-5"))


def complained(*events: Event) -> Person:
    return Person(table=complaints()).live(events)


def test_a_complaint_about_an_order_falls_away_although_it_names_the_order() -> None:
    bought = event(1, 0, "order_completed", order_id="o1", items=SHOES)
    wrong = event(2, 60, "complaint_made", order_id="o1")
    solved = event(3, 24 * 60, "support_resolved", order_id="o1")
    assert [said.reason for said in complained(bought, wrong).said(DropOff)] == ["complaint_abandoned"]
    assert [said.reason for said in complained(bought, wrong, solved).said(DropOff)] == ["not_come_back"]


@pytest.mark.parametrize("days", [1, 20])
def test_the_order_that_a_complaint_is_about_takes_nothing_back_when_it_comes_late(days: int) -> None:
    """20 days: after the drop-off."""
    person = Person(table=complaints())
    person.take(event(2, 60, "complaint_made", order_id="o1"))
    person.time(START + days * 24 * HOUR)
    person.take(event(1, 0, "order_completed", order_id="o1", items=SHOES))
    person.time(START + 30 * 24 * HOUR)
    assert [(said.reason, said.kind) for said in person.said(DropOff)] == [("complaint_abandoned", "dropped_off")]


def test_a_later_order_shows_that_whoever_complained_came_back() -> None:
    wrong = event(1, 60, "complaint_made", order_id="o1")
    again = event(2, 20 * 24 * 60, "order_completed", order_id="o2", items=SHOES)
    assert [said.kind for said in complained(wrong, again).said(DropOff)] == ["dropped_off", "recovered"]


def test_two_copies_of_an_order_are_one_with_the_fields_of_both() -> None:
    lacking: dict[str, Any] = {"order_id": "o1", "value": 50.0}
    telling = lacking | {"currency": "NOK", "cart_id": "c", "items": [Item("p")]}
    for first, second in ((lacking, telling), (telling, lacking)):
        person = Person()
        person.take(event(1, 0, "order_completed", **first))
        person.take(event(2, 1, "order_completed", **second))
        person.time(START + HOUR)
        person.take(event(3, 120, "checkout_step_completed", cart_id="c"))
        person.time(START + 24 * HOUR)
        facts = person.state.facts
        assert (facts.order_count, facts.revenue.get("NOK"), facts.revenue.get("", 0)) == (1, 500_000, 0)
        assert kinds(person) == [], "nothing arms for a cart that was bought"
        (order,) = facts.orders
        assert (order.names, order.products) == (("o1", "c", None), ["p"])
        assert sum(sale.revenue for sale in person.said(Sales) if sale.currency == "NOK") == 500_000


def test_a_copy_that_comes_far_too_late_still_completes_its_order() -> None:
    person = Person()
    person.take(event(1, 0, "order_completed", order_id="o1", value=50.0))
    person.time(START + 300 * HOUR)
    for number in (2, 3):
        person.take(event(number, 1, "order_completed", order_id="o1", currency="NOK", cart_id="c"))
    assert {currency: left for currency, left in person.state.facts.revenue.items() if left} == {"NOK": 500_000}
    assert person.state.facts.orders[0].names == ("o1", "c", None)


def test_a_refund_told_as_a_negative_sum_is_that_sum() -> None:
    person = Person()
    person.take(event(1, 0, "order_completed", order_id="o1", value=50.0, currency="NOK"))
    person.take(event(2, 1, "order_refunded", order_id="o1", value=-20.0, currency="NOK"))
    assert person.state.facts.revenue == {"NOK": 300_000}


@pytest.mark.parametrize("earlier", [[], ["page_viewed"]])
def test_who_buys_for_the_first_time_had_not_bought_before(earlier: list[str]) -> None:
    person = Person()
    for number, kind in enumerate([*earlier, "order_completed"]):
        person.take(event(number, number, kind, order_id="o1" if kind == "order_completed" else None))
    (converted,) = [move for move in person.said(Transition) if move.direction == "converted"]
    assert "new" in converted.segments
    assert "returning" not in converted.segments
