"""Triggers: rules that send something at the right time, beside the drop-offs. One option of a rule each, with the
times at its boundary."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from tests.properties.log import TOPICS, Log, Worker
from tests.properties.runner import Person
from tracker.domain import merging
from tracker.domain.conditions import Condition, Range
from tracker.domain.events import Consent, Event, Item
from tracker.domain.model import DAY, HOUR, MINUTE, Cap, FoldSettings, QuietHours, Rule
from tracker.domain.outputs import AbsorbState, Bound, DropOff, Output, Trigger, TriggerWithheld
from tracker.domain.state import MAX_PENDING
from tracker.domain.table import Table, compile_table
from tracker.journeys.loader import builtin, load

OSLO = "Europe/Oslo"
WEEK = 7 * DAY


def at(text: str, zone: str = "UTC") -> int:
    """A local time as ms UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


START = at("2026-03-02 10:00")


def rule(wait: int = HOUR, name: str = "nudge", when: tuple[str, ...] = ("page_viewed",), **options: Any) -> Rule:
    return Rule(id=name, emit="trigger", when=when, wait=wait, **options)


def table(*rules: Rule, **options: Any) -> Table:
    model = msgspec.structs.replace(load("nettbutikk-5"), rules=rules, **options)
    return compile_table(model, FoldSettings())


def shop(*rules: Rule, **options: Any) -> Person:
    return Person(table(*rules, **options))


number = iter(range(10**9))


def event(ts: int, kind: str = "page_viewed", who: str = "c:p", **fields: Any) -> Event:
    made = Event(f"e{next(number):09}", kind, ts, customer_id=who[2:] if who[0] == "c" else None)
    made.anonymous_id = who[2:] if who[0] == "a" else None
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def live(person: Person, *events: Event, until: int | None = None) -> Person:
    """In order, the watermark always at the latest event's time; then a year more, or `until`."""
    for made in events:
        person.time(made.ts)
        person.take(made)
    person.time(events[-1].ts + 366 * DAY if until is None else until)
    return person


def sent(person: Person) -> list[tuple[str, int]]:
    return [(trigger.rule, trigger.detected_at) for trigger in person.said(Trigger)]


def withheld(person: Person) -> list[tuple[str, str]]:
    return [(output.rule, output.why) for output in person.said(TriggerWithheld)]


SHOES = [Item("shoes", price=50.0)]


@pytest.mark.parametrize("when", ["product_viewed", "cart_changed"])
def test_a_trigger_never_arms_as_a_drop_off(when: str) -> None:
    person = shop(rule(5 * MINUTE, when=(when,), significance=100))
    person.take(event(START, "product_viewed"))
    person.take(event(START + 1, "product_added", items=SHOES))
    assert person.state.facts.armed is None


def test_it_is_due_when_the_wait_is_over_and_not_a_moment_earlier() -> None:
    person = shop(rule())
    person.take(event(START))
    person.time(START + HOUR - 1)
    assert sent(person) == []
    person.time(START + HOUR)
    assert sent(person) == [("nudge", START + HOUR)]
    trigger = person.said(Trigger)[0]
    assert (trigger.armed_at, trigger.due_at, trigger.person_id, trigger.phase) == (
        START, START + HOUR, "c:p", "bevissthet",
    )  # fmt: skip


def test_an_event_at_the_due_time_comes_after_it_and_arms_anew() -> None:
    person = live(shop(rule()), event(START), event(START + HOUR))
    assert sent(person) == [("nudge", START + HOUR), ("nudge", START + 2 * HOUR)]


def test_armed_again_the_wait_begins_anew() -> None:
    person = live(shop(rule()), event(START), event(START + HOUR - 1))
    assert sent(person) == [("nudge", START + 2 * HOUR - 1)]


def test_unless_takes_back_until_the_moment_before_it_is_due() -> None:
    of = rule(unless=("survey_answered",))
    assert sent(live(shop(of), event(START), event(START + HOUR - 1, "survey_answered"))) == []
    assert sent(live(shop(of), event(START), event(START + HOUR, "survey_answered"))) == [("nudge", START + HOUR)]


def test_what_arms_and_takes_back_begins_the_wait_anew() -> None:
    person = live(shop(rule(unless=("page_viewed",))), event(START), event(START + 1))
    assert sent(person) == [("nudge", START + 1 + HOUR)]


def test_orders_have_triggers_of_their_own_with_their_value() -> None:
    review = rule(2 * DAY, when=("order_delivered",), unless=("product_reviewed",), key="order")
    person = live(
        shop(review),
        event(START, "order_completed", order_id="o1", value=100.0, currency="NOK", items=SHOES),
        event(START + 1, "order_completed", order_id="o2", value=70.5, currency="NOK"),
        event(START + DAY, "order_delivered", order_id="o1"),
        event(START + DAY + 1, "order_delivered"),  # names no order: the latest
        event(START + DAY + 2, "product_reviewed", items=SHOES),  # the order with this product
    )
    trigger = person.said(Trigger)[0]
    assert len(person.said(Trigger)) == 1
    assert (trigger.order_id, trigger.value, trigger.currency) == ("o2", 70.5, "NOK")


def test_carts_have_triggers_of_their_own_taken_back_by_what_empties_them() -> None:
    of_cart = rule(4 * HOUR, when=("cart_changed",), cart="filled", unless=("cart_emptied",), key="cart")
    person = live(
        shop(of_cart),
        event(START, "product_added", items=SHOES, cart_id="A"),
        event(START + 1, "product_added", items=SHOES, cart_id="B"),
        event(START + 2, "cart_emptied"),  # names none: it is the present one, B
        event(START + 3, "product_added", items=SHOES, cart_id="C"),
    )
    assert [(t.cart_id, t.due_at) for t in person.said(Trigger)] == [
        ("A", START + 4 * HOUR), ("C", START + 3 + 4 * HOUR),
    ]  # fmt: skip
    described = person.said(Trigger)[1].cart
    assert described is not None
    assert described.items[0].product_id == "shoes"


def test_checkout_events_of_a_completed_order_arm_nothing() -> None:
    failed = rule(when=("payment_failed",))
    order = event(START, "order_completed", order_id="o1", checkout_id="k")
    assert sent(live(shop(failed), order, event(START + 2, "payment_failed", checkout_id="k"))) == []
    assert sent(live(shop(failed), order, event(START + 2, "payment_failed", checkout_id="other"))) != []


def test_a_second_copy_of_an_order_arms_only_what_it_brings_the_moment_for() -> None:
    thanks = rule(when=("order_completed",), name="thanks")
    delayed = rule(0, when=("order_completed",), name="delayed", at="delivery_at", key="order")
    person = live(
        shop(thanks, delayed),
        event(START, "order_completed", order_id="o1"),
        event(START + MINUTE, "order_completed", order_id="o1", properties={"delivery_at": START + DAY}),
    )
    assert sent(person) == [("thanks", START + HOUR), ("delayed", START + DAY)]


@pytest.mark.parametrize(
    "moment", [START + 3 * DAY, float(START + 3 * DAY), "2026-03-05T10:00:00Z", "2026-03-05T11:00:00+01:00"]
)
def test_a_moment_may_be_ms_or_rfc_3339(moment: object) -> None:
    ending = rule(0, at="ends_at", before=DAY)
    assert sent(live(shop(ending), event(START, properties={"ends_at": moment}))) == [("nudge", START + 2 * DAY)]


@pytest.mark.parametrize(
    "moment", [None, True, "soon", "2026-03-05", "2026-03-05T10:00:00", START * 1000, -START, [], 1.5, "9" * 5000]
)
def test_an_event_without_a_moment_neither_arms_nor_begins_anew(moment: object) -> None:
    ending = rule(0, at="ends_at", before=DAY)
    known = event(START, properties={"ends_at": START + 3 * DAY})
    unknown = event(START + 1, properties={"ends_at": moment})
    nothing = event(START + 2)
    assert sent(live(shop(ending), known, unknown, nothing)) == [("nudge", START + 2 * DAY)]
    assert sent(live(shop(ending), unknown, nothing)) == []


def test_a_moment_that_has_passed_is_due_at_once_if_not_for_over_a_week() -> None:
    ending = rule(0, at="ends_at", before=3 * DAY)
    person = live(shop(ending), event(START, properties={"ends_at": START + DAY}))
    assert [(t.due_at, t.detected_at) for t in person.said(Trigger)] == [(START - 2 * DAY, START)]
    assert sent(live(shop(ending), event(START, properties={"ends_at": START - 4 * DAY}))) == [("nudge", START)]
    too_late = live(shop(ending), event(START, properties={"ends_at": START - 4 * DAY - 1}))
    assert (sent(too_late), withheld(too_late)) == ([], [("nudge", "deferred_too_long")])


def test_the_same_moment_named_again_after_it_was_sent_sends_nothing() -> None:
    delayed = rule(0, at="delivery_at", service=True)
    there = {"delivery_at": START + HOUR}
    person = live(shop(delayed), event(START, properties=there), event(START + DAY, properties=there))
    assert sent(person) == [("nudge", START + HOUR)]


def test_it_carries_the_properties_that_the_rule_names_and_no_other_is_kept() -> None:
    of = rule(data=("carrier", "weight", "list", "text", "none"))
    given = {"carrier": "post", "weight": 2.5, "list": [1], "text": "x" * 600, "none": None, "secret": "s"}
    person = shop(of)
    person.take(event(START, properties=given))
    assert b"secret" not in person.state.tail
    person.time(START + HOUR)
    assert person.said(Trigger)[0].data == {"carrier": "post", "weight": 2.5, "text": "x" * 512}


@pytest.mark.parametrize(
    ("born", "first"),
    [
        ("1990-07-01", "2026-07-01 09:00"),
        ("07-01", "2026-07-01 09:00"),
        ("1990-01-31", "2027-01-31 09:00"),
        ("2000-02-29", "2027-02-28 09:00"),
    ],
)
def test_a_birthday_comes_at_the_hour_of_the_models_zone(born: str, first: str) -> None:
    greeting = rule(0, yearly="birthday")
    person = live(shop(greeting, zone=OSLO), event(START, properties={"birthday": born}), until=at("2027-03-01 00:00"))
    assert sent(person) == [("nudge", at(first, OSLO))]


def test_a_birthday_comes_every_year_also_after_long_silence_and_in_leap_years_on_the_29th() -> None:
    greeting = rule(0, yearly="birthday", hour=7)
    person = live(
        shop(greeting, zone=OSLO), event(START, properties={"birthday": "02-29"}), until=at("2029-03-02 00:00")
    )
    days = ["2027-02-28", "2028-02-29", "2029-02-28"]
    assert sent(person) == [("nudge", at(f"{day} 07:00", OSLO)) for day in days]
    assert len({trigger.id for trigger in person.said(Trigger)}) == 3


@pytest.mark.parametrize("born", ["1990-02-30", "13-01", "1990", 19900101, "2026-W01-1", "1990-7-1", ""])
def test_what_is_no_day_arms_no_birthday(born: object) -> None:
    assert sent(live(shop(rule(0, yearly="birthday")), event(START, properties={"birthday": born}))) == []


def test_on_the_day_itself_the_hour_decides_and_naming_the_day_again_loses_no_greeting() -> None:
    greeting = rule(0, yearly="birthday", hour=7)
    night = QuietHours(start=22 * 60, end=8 * 60, zone=OSLO)
    born = {"birthday": "03-02"}
    early, in_between, late = (
        event(at(f"2026-03-02 {clock}", OSLO), properties=born) for clock in ("06:59", "07:30", "07:00")
    )
    deferred = [("nudge", at("2026-03-02 08:00", OSLO))]
    until = at("2027-01-01 00:00")
    assert sent(live(shop(greeting, zone=OSLO, quiet_hours=night), early, in_between, until=until)) == deferred
    assert sent(live(shop(greeting, zone=OSLO), late, until=until)) == []


def test_another_day_takes_the_place_of_the_one_named_before() -> None:
    greeting = rule(0, yearly="birthday")
    person = live(
        shop(greeting, zone="UTC"),
        event(START, properties={"birthday": "05-01"}),
        event(START + 1, properties={"birthday": "06-01"}),
        until=at("2027-01-01 00:00"),
    )
    assert sent(person) == [("nudge", at("2026-06-01 09:00"))]


def test_the_first_event_that_names_the_customer_identifies_once() -> None:
    welcome = rule(10 * MINUTE, when=("first_identified",))
    person = live(
        shop(welcome),
        event(START, who="a:v"),  # sent on to the customer
        event(START + MINUTE),
        event(START + 2 * MINUTE),
    )
    assert sent(person) == [("nudge", START + 11 * MINUTE)]


def test_of_a_group_only_the_most_significant_waits() -> None:
    small = rule(5 * HOUR, name="small", group="g")
    large = rule(2 * DAY, name="large", when=("support_resolved",), group="g", significance=2)
    other = rule(3 * HOUR, name="other")
    views, solved = event(START), event(START + 1, "support_resolved")
    assert sent(live(shop(small, large, other), views, solved)) == [
        ("other", START + 3 * HOUR), ("large", START + 1 + 2 * DAY),
    ]  # fmt: skip
    person = live(shop(small, large, other), event(START, "support_resolved"), event(START + 1))
    assert [name for name, _ in sent(person)] == ["other", "large"]


def test_again_waits_until_its_time_is_over() -> None:
    of = rule(again=2 * DAY)
    first = START + HOUR
    person = live(shop(of), event(START), event(first + DAY))
    assert [(t.due_at, t.detected_at) for t in person.said(Trigger)] == [
        (first, first), (first + DAY + HOUR, first + 2 * DAY),
    ]  # fmt: skip
    long = live(shop(rule(again=180 * DAY)), event(START), event(first + DAY))
    assert sent(long) == [("nudge", first), ("nudge", first + 180 * DAY)]
    taken_back = event(first + 170 * DAY, "order_completed", order_id="o")
    unless = rule(again=180 * DAY, unless=("order_completed",))
    assert sent(live(shop(unless), event(START), event(first + DAY), taken_back)) == [("nudge", first)]


def test_held_back_for_exactly_a_week_it_is_still_sent() -> None:
    of, caps = rule(), (Cap(most=1, within=8 * DAY),)
    first = START + HOUR
    assert len(sent(live(shop(of, caps=caps), event(START), event(first + DAY - HOUR)))) == 2
    held = live(shop(of, caps=caps), event(START), event(first + DAY - HOUR - 1))
    assert withheld(held) == [("nudge", "deferred_too_long")]


def test_the_week_that_caps_may_hold_it_begins_when_again_lets_it_go() -> None:
    first, other = START + HOUR, rule(name="other", when=("review_read",))
    of = shop(rule(again=30 * DAY), other, caps=(Cap(most=1, within=5 * DAY),))
    person = live(of, event(START), event(first + DAY), event(first + 29 * DAY, "review_read"))
    assert sent(person) == [("nudge", first), ("other", first + 29 * DAY + HOUR), ("nudge", first + 34 * DAY + HOUR)]


def test_times_bounds_how_often_a_person_gets_it() -> None:
    of = rule(times=2)
    person = live(shop(of), *(event(START + day * DAY) for day in range(4)))
    assert sent(person) == [("nudge", START + HOUR), ("nudge", START + DAY + HOUR)]


def test_what_must_hold_is_judged_when_armed_and_when_fired() -> None:
    buyers = Condition(orders=Range(at_least=1))
    order = event(START + MINUTE, "order_completed", order_id="o")
    assert sent(live(shop(rule(where=buyers)), event(START), order)) == []
    assert sent(live(shop(rule(only_if=buyers)), event(START), order)) == [("nudge", START + HOUR)]
    refund = event(START + 2 * MINUTE, "order_cancelled", order_id="o")
    gone = live(shop(rule(only_if=buyers)), event(START), order, refund)
    assert (sent(gone), withheld(gone)) == ([], [])


def test_consent_is_judged_when_it_fires_and_service_needs_none() -> None:
    refused = event(START + 1, "newsletter_unsubscribed", consent=Consent(marketing=False))
    plain = live(shop(rule(2 * HOUR)), event(START), refused)
    assert (sent(plain), withheld(plain)) == ([], [("nudge", "consent")])
    allowed = event(START + 2, "identified", consent=Consent(marketing=True))
    assert sent(live(shop(rule(2 * HOUR)), event(START), refused, allowed)) != []
    assert sent(live(shop(rule(2 * HOUR, service=True)), event(START), refused)) != []


@pytest.mark.parametrize(
    ("seen", "let_through"),
    [
        ("2026-03-02 20:59", "2026-03-02 21:59"),
        ("2026-03-02 21:00", "2026-03-03 08:00"),
        ("2026-03-03 06:59", "2026-03-03 08:00"),
        ("2026-03-03 07:00", "2026-03-03 08:00"),
        ("2026-03-28 21:30", "2026-03-29 08:00"),  # the night in which summer time begins
        ("2026-10-24 23:30", "2026-10-25 08:00"),  # and ends
    ],
)
def test_quiet_hours_are_those_of_the_clock_on_the_wall(seen: str, let_through: str) -> None:
    night = QuietHours(start=22 * 60, end=8 * 60, zone=OSLO)
    expected = at(let_through, OSLO)
    assert sent(live(shop(rule(), quiet_hours=night), event(at(seen, OSLO)))) == [("nudge", expected)]
    service = sent(live(shop(rule(service=True), quiet_hours=night), event(at(seen, OSLO))))
    assert service == [("nudge", at(seen, OSLO) + HOUR)]


def test_what_waits_for_the_morning_can_still_be_taken_back() -> None:
    night = QuietHours(start=22 * 60, end=8 * 60, zone=OSLO)
    of = rule(unless=("survey_answered",))
    person = live(
        shop(of, quiet_hours=night),
        event(at("2026-03-02 21:30", OSLO)),
        event(at("2026-03-03 07:59", OSLO), "survey_answered"),
    )
    assert sent(person) == []


def test_caps_let_so_many_through_and_the_next_when_the_first_is_as_old_as_the_window() -> None:
    rules = [rule(HOUR + MINUTE * i, name=f"r{i}") for i in range(4)]
    person = live(shop(*rules, caps=(Cap(most=2, within=DAY),)), event(START))
    first, second = START + HOUR, START + HOUR + MINUTE
    assert sent(person) == [("r0", first), ("r1", second), ("r2", first + DAY), ("r3", second + DAY)]


def test_caps_count_drop_offs_and_triggers_together_and_leave_out_service() -> None:
    left = Rule(id="cart_abandoned", when=("cart_changed",), cart="filled", wait=4 * HOUR)
    early = rule(HOUR, name="early", when=("product_added",))
    parcel = rule(HOUR, name="parcel", when=("product_added",), service=True)
    late = rule(6 * HOUR, name="late", when=("product_added",))
    person = live(
        shop(left, early, parcel, late, caps=(Cap(most=1, within=DAY),)),
        event(START, "product_added", items=SHOES),
    )
    first = START + HOUR
    assert sent(person) == [("early", first), ("parcel", first), ("late", first + 2 * DAY)]
    drop = person.said(DropOff)[0]
    assert (drop.due_at, drop.detected_at) == (START + 4 * HOUR, first + DAY)


def test_an_order_disarms_a_drop_off_that_waits_for_a_cap() -> None:
    left = Rule(id="cart_abandoned", when=("cart_changed",), cart="filled", wait=4 * HOUR)
    person = live(
        shop(left, rule(HOUR, when=("product_added",)), caps=(Cap(most=1, within=DAY),)),
        event(START, "product_added", items=SHOES),
        event(START + 10 * HOUR, "order_completed", order_id="o"),
    )
    assert person.said(DropOff) == []


def test_no_more_than_so_many_wait_and_the_furthest_is_forgotten() -> None:
    of = rule(0, when=("order_shipped",), key="order", at="delivery_at")
    person = shop(of)
    for i in range(MAX_PENDING + 1):
        named = {"delivery_at": START + DAY + i}
        person.take(event(START + i, "order_shipped", order_id=f"o{i}", properties=named))
    assert person.said(Bound) == [Bound("pending_triggers")]
    person.time(START + 2 * DAY)
    assert [trigger.order_id for trigger in person.said(Trigger)] == [f"o{i}" for i in range(MAX_PENDING)]


def test_an_order_that_is_too_late_for_its_phase_takes_back_what_was_armed_by_then() -> None:
    of = rule(2 * DAY, unless=("order_completed",))
    person = shop(of)
    person.take(event(START))
    person.time(START + DAY)
    person.take(event(START + HOUR, "order_completed", order_id="o"))
    person.time(START + 3 * DAY)
    assert sent(person) == []
    earlier = shop(of)
    earlier.take(event(START))
    earlier.time(START + DAY)
    earlier.take(event(START - HOUR, "order_completed", order_id="o"))
    earlier.time(START + 3 * DAY)
    assert sent(earlier) == [("nudge", START + 2 * DAY)]


def test_a_late_event_that_moves_what_was_sent_sends_nothing_more() -> None:
    of = rule(10 * MINUTE)
    person = shop(of)
    person.take(event(START))
    person.time(START + 20 * MINUTE)
    assert sent(person) == [("nudge", START + 10 * MINUTE)]
    person.take(event(START + 5 * MINUTE))
    person.time(START + DAY)
    assert len(sent(person)) == 1
    person.take(event(START + 2 * DAY))
    person.time(START + 3 * DAY)
    assert len(sent(person)) == 2


def merged(visitor: Person, customer: Person, ts: int) -> None:
    out: list[Output] = []
    merging.merge(visitor.state, "p", ts, visitor.table, visitor.watermark, out)
    for output in out:
        if isinstance(output, AbsorbState):
            merging.absorb(
                customer.state,
                output.source,
                output.ts,
                output.payload,
                customer.table,
                customer.watermark,
                customer.out,
            )


@pytest.mark.parametrize("later", ["visitor", "customer"])
def test_of_two_that_wait_for_one_person_the_later_arming_stays(later: str) -> None:
    of = table(rule(10 * DAY))
    visitor, customer = Person(of, "a:v"), Person(of)
    visitor.take(event(START + (later == "visitor"), who="a:v"))
    customer.take(event(START + (later == "customer")))
    for person in (visitor, customer):
        person.time(START + 3 * DAY)
    merged(visitor, customer, START + 3 * DAY)
    customer.time(START + 30 * DAY)
    assert sent(customer) == [("nudge", START + 1 + 10 * DAY)]


@pytest.mark.parametrize("known_for", [30 * MINUTE, 3 * DAY])
def test_what_was_sent_to_the_visitor_is_not_sent_to_the_customer_again(known_for: int) -> None:
    of = table(rule(10 * MINUTE, times=1))
    visitor, customer = Person(of, "a:v"), Person(of)
    visitor.take(event(START, who="a:v"))
    customer.take(event(START - DAY, "identified"))
    for person in (visitor, customer):
        person.time(START + known_for)
    assert len(sent(visitor)) == 1
    merged(visitor, customer, START + known_for)
    customer.take(event(START + known_for + 1))
    customer.time(START + known_for + 30 * DAY)
    assert sent(customer) == []


def test_an_order_of_the_one_takes_back_what_waits_for_the_other() -> None:
    of = table(rule(10 * DAY, unless=("order_completed",)))
    visitor, customer = Person(of, "a:v"), Person(of)
    visitor.take(event(START, who="a:v"))
    customer.take(event(START + HOUR, "order_completed", order_id="o"))
    for person in (visitor, customer):
        person.time(START + 3 * DAY)
    merged(visitor, customer, START + 3 * DAY)
    customer.time(START + 30 * DAY)
    assert sent(customer) == []


@pytest.mark.parametrize("name", builtin())
def test_every_trigger_of_a_built_in_model_can_be_armed_by_its_events_and_fires(name: str) -> None:
    model = load(name)
    for spec in model.rules:
        if spec.emit != "trigger":
            continue
        bare = msgspec.structs.replace(spec, where=None, only_if=None, group=None, unless=(), cart="any")
        person = Person(compile_table(msgspec.structs.replace(model, rules=(bare,), caps=()), FoldSettings()))
        kind = "page_viewed" if spec.when[0] == "first_identified" else spec.when[0]
        kind = "product_added" if kind == "cart_changed" else kind
        there = {spec.at or "": "2026-06-01T10:00:00Z", spec.yearly or " ": "1980-06-01"}
        made = event(START, kind, properties=there, items=SHOES, consent=Consent(marketing=True))
        live(person, made, until=START + 364 * DAY)
        assert [trigger.rule for trigger in person.said(Trigger)] == [spec.id], spec.id
        assert person.said(Trigger)[0].due_at > START


def test_an_event_behind_the_watermark_whose_wait_is_over_fires_at_once() -> None:
    person = shop(rule(10 * MINUTE))
    person.time(START + 20 * MINUTE)
    person.take(event(START))
    assert sent(person) == [("nudge", START + 10 * MINUTE)]


def published(log: Log, of: Table) -> list[int]:
    """When the triggers of a log were to be sent, by a worker with nothing in memory."""
    worker = Worker(cache=0, compile=lambda _: of).read(log)
    return [msgspec.json.decode(value)["detected_at"] for topic, _, value in worker.said if topic == TOPICS.triggers]


def test_a_trigger_that_is_due_within_the_session_has_a_timer_of_its_own() -> None:
    log = Log()
    log.event(event(START), "c:p")
    log.event(event(START + MINUTE, "product_viewed"), "c:p")
    log.watermark(START + 15 * MINUTE)
    assert published(log, table(rule(10 * MINUTE, when=("product_viewed",)))) == [START + 11 * MINUTE]


def test_a_birthday_is_all_that_need_be_known_of_somebody() -> None:
    log = Log()
    log.event(event(START, properties={"birthday": "03-01"}), "c:p")
    for days in (30, 401, 500, 900):
        log.watermark(START + days * DAY)
    greetings = [at(f"{year}-03-01 09:00", OSLO) for year in (2027, 2028)]
    assert published(log, table(rule(0, yearly="birthday"), zone=OSLO)) == greetings
