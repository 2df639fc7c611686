"""Orders beside drop-offs and merges, in single cases that scripts drawn at random hardly ever meet."""

from __future__ import annotations

from tests.properties.runner import Person
from tests.properties.strategies import HOUR, MINUTE, START
from tracker.domain import step
from tracker.domain.events import Event, Item
from tracker.domain.outputs import AbsorbState, DropOff, Output, Sales

SHOES = [Item("shoes", price=50.0)]


def event(number: int, minute: int, type_: str, who: str = "c:p", **fields: object) -> Event:
    made = Event(f"e{number}", type_, START + minute * MINUTE, customer_id=who[2:] if who[0] == "c" else None)
    made.anonymous_id = who[2:] if who[0] == "a" else None
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def merged(visitor: Person, customer: Person, at: int) -> None:
    """What the log does with a link: the visitor's past goes to the customer."""
    out: list[Output] = []
    step.merge(visitor.state, "p", at, visitor.table, visitor.watermark, out)
    visitor.out += out
    for output in out:
        if isinstance(output, AbsorbState):
            arguments = output.source, output.payload, customer.table, customer.watermark, customer.out
            assert step.absorb(customer.state, *arguments)


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
