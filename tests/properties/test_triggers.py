"""Triggers event by event, with disorder, copies and cuts, against the naive judge of all events sorted."""

from __future__ import annotations

from itertools import chain, repeat
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle.shapes import units
from tests.oracle.triggers import Judge, overtaken
from tests.properties.log import TOPICS, Log, Worker
from tests.properties.runner import NEVER, Person
from tests.properties.stories import logs
from tests.properties.strategies import (
    BACKLOG,
    DAY,
    HOUR,
    MINUTE,
    SMALL_DELAYS,
    START,
    Arrival,
    event,
    honest,
    late,
)
from tracker.domain.events import Event
from tracker.domain.model import Cap, FoldSettings, QuietHours, Rule
from tracker.domain.outputs import Trigger, TriggerWithheld
from tracker.domain.table import Table, compile_table
from tracker.journeys.loader import load

RULES = (
    Rule(id="welcome", emit="trigger", when=("newsletter_subscribed", "first_identified"), wait=10 * MINUTE, times=1),
    Rule(
        id="delayed",
        emit="trigger",
        when=("order_completed", "order_shipped"),
        at="delivery_at",
        wait=HOUR,
        unless=("order_delivered", "order_refunded"),
        key="order",
        service=True,
        data=("carrier", "delivery_at"),
    ),
    Rule(
        id="cart",
        emit="trigger",
        when=("cart_changed",),
        cart="filled",
        wait=4 * HOUR,
        unless=("order_completed", "cart_emptied"),
        key="cart",
    ),
    Rule(id="payment", emit="trigger", when=("payment_failed",), wait=30 * MINUTE, unless=("order_completed",)),
    Rule(
        id="survey",
        emit="trigger",
        when=("order_delivered",),
        wait=5 * HOUR,
        unless=("survey_answered",),
        group="feedback",
        again=30 * HOUR,
    ),
    Rule(
        id="support",
        emit="trigger",
        when=("support_resolved",),
        wait=DAY,
        group="feedback",
        significance=2,
    ),
    Rule(
        id="review",
        emit="trigger",
        when=("order_delivered",),
        wait=2 * DAY,
        unless=("product_reviewed",),
        key="order",
        data=("carrier",),
    ),
    Rule(
        id="ending",
        emit="trigger",
        when=("trial_started",),
        at="delivery_at",
        before=DAY,
        unless=("contract_signed", "trial_started"),
    ),
    Rule(id="nudge", emit="trigger", when=("page_viewed",), wait=30 * MINUTE, again=12 * HOUR),
    Rule(id="birthday", emit="trigger", when=("page_viewed", "order_completed"), yearly="birthday", hour=9),
    Rule(id="win_back", emit="trigger", when=("order_completed",), wait=30 * DAY, unless=("trial_started",), times=2),
)
KINDS = (
    "page_viewed", "newsletter_subscribed", "product_added", "cart_updated", "cart_emptied", "payment_failed",
    "order_completed", "order_completed", "trial_started", "contract_signed", "order_shipped", "order_delivered",
    "order_delivered", "order_refunded", "survey_answered", "support_resolved", "product_reviewed",
)  # fmt: skip
STORIES = (
    ("order_delivered", "support_resolved", "survey_answered"),
    ("page_viewed", "product_added", "cart_emptied", "cart_updated"),
    ("trial_started", "contract_signed", "page_viewed"),
    ("order_completed", "order_shipped", "order_delivered", "order_refunded"),
)
STEPS = (
    0, 0, 1, MINUTE, 10 * MINUTE - 1, 10 * MINUTE, 10 * MINUTE + 1, 30 * MINUTE, 30 * MINUTE + 1, HOUR, 2 * HOUR,
    4 * HOUR, 5 * HOUR - 1, 5 * HOUR, 12 * HOUR, DAY - 1, DAY, 25 * HOUR, 2 * DAY, 4 * DAY, 30 * DAY,
)  # fmt: skip
CAPS = (Cap(most=1, within=6 * HOUR), Cap(most=3, within=3 * DAY))
NIGHT = (22 * 60, 8 * 60)
YEARS = 2 * 366 * DAY


def table(caps: bool, quiet: bool) -> Table:
    model = msgspec.structs.replace(
        load("nettbutikk-5"),
        rules=RULES,
        zone="UTC",
        caps=CAPS if caps else (),
        quiet_hours=QuietHours(start=NIGHT[0], end=NIGHT[1], zone="UTC") if quiet else None,
    )
    return compile_table(model, FoldSettings())


TABLES = {(caps, quiet): table(caps, quiet) for caps in (False, True) for quiet in (False, True)}
_tables = st.sampled_from(sorted(TABLES))
_seldom = st.sampled_from((False, False, False, True))


@st.composite
def scripts(draw: st.DrawFn, longest: int = 20) -> list[Event]:
    """Events with the properties that rules ask for; some are a visitor's own, sent on to the customer."""
    ts = START
    events = []
    kinds = st.sampled_from((KINDS, draw(st.sampled_from(STORIES))))  # some of one rule's own events
    for number in range(draw(st.integers(1, longest))):
        ts += draw(st.sampled_from(STEPS))
        made = draw(event(number, ts, draw(kinds)))
        if made.type.startswith("order_") and made.type != "order_completed":
            made.order_id = draw(st.sampled_from((None, "O1", "O1", "O2", f"O{number}")))
        properties: dict[str, Any] = {"noise": "x", "carrier": draw(st.sampled_from(("post", "bike")))}
        if draw(st.booleans()):
            properties["delivery_at"] = ts + draw(st.sampled_from((-HOUR, 0, 4 * HOUR, DAY, 2 * DAY, -8 * DAY)))
        if draw(_seldom):
            properties["birthday"] = draw(st.sampled_from(("1990-11-14", "11-15", "2000-02-29", "12-31")))
        if draw(st.booleans()):
            made.properties = properties
        if draw(_seldom):
            made.customer_id, made.anonymous_id = None, "v"
        events.append(made)
    return events


def said(person: Person) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for output in person.out:
        if isinstance(output, TriggerWithheld):
            found.append((output.rule, output.why))
        elif isinstance(output, Trigger):
            cart = {} if output.cart is None else {line.product_id: line.quantity for line in output.cart.items}
            found.append(
                (
                    output.rule, output.cart_id or output.order_id or "", output.armed_at, output.due_at,
                    output.detected_at, output.data, cart, None if output.value is None else units(output.value),
                )
            )  # fmt: skip
    return found


def expected(arrivals: list[Arrival], which: tuple[bool, bool], until: int) -> list[tuple[object, ...]]:
    caps, quiet = which

    def judged(events: list[Event], watermark: int) -> Judge:
        judge = Judge(RULES, CAPS if caps else (), NIGHT if quiet else None)
        judge.judge(events, watermark)
        return judge

    steps: list[Judge] = []
    events: list[Event] = []
    watermark = NEVER
    for arrival in arrivals:
        if arrival.watermark is not None and arrival.watermark > watermark:
            watermark = arrival.watermark
            steps.append(judged(events, watermark))
        events.append(arrival.event)
        steps.append(judged(events, watermark))
    last = judged(events, until)
    too_late = overtaken([*steps, last])
    return [
        (one.rule, one.why or "ordered")
        if one.why or (one.rule, one.key, one.due) in too_late
        else (one.rule, one.key, one.armed_at, one.due, one.at, one.data, one.cart, one.value)
        for one in last.said
    ]


@given(
    arrivals=honest(scripts(), SMALL_DELAYS) | honest(scripts(), BACKLOG) | honest(scripts(longest=6)), which=_tables
)
def test_disorder_before_the_watermark_changes_no_trigger(arrivals: list[Arrival], which: tuple[bool, bool]) -> None:
    person = Person(TABLES[which]).log(arrivals)
    assert said(person) == expected(arrivals, which, person.watermark)


@given(arrivals=honest(scripts(longest=4), SMALL_DELAYS), which=_tables)
def test_birthdays_come_every_year_however_silent_the_person_is(
    arrivals: list[Arrival], which: tuple[bool, bool]
) -> None:
    person = Person(TABLES[which]).log(arrivals)
    person.time(person.watermark + YEARS)
    assert said(person) == expected(arrivals, which, person.watermark)


@given(arrivals=late(scripts()), which=_tables)
def test_however_late_events_are_no_trigger_is_sent_twice(arrivals: list[Arrival], which: tuple[bool, bool]) -> None:
    person = Person(TABLES[which]).log(arrivals)
    ids = [trigger.id for trigger in person.said(Trigger)]
    assert len(set(ids)) == len(ids)
    once = [trigger.rule for trigger in person.said(Trigger) if trigger.rule == "welcome"]
    assert len(once) <= 1


@given(arrivals=late(scripts()), which=_tables, data=st.data())
def test_restarts_and_copies_change_no_trigger(
    arrivals: list[Arrival], which: tuple[bool, bool], data: st.DataObject
) -> None:
    once = Person(TABLES[which]).log(arrivals)
    copies = list(arrivals)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(copies) - 1))
        copies.insert(data.draw(st.integers(place + 1, len(copies))), Arrival(copies[place].event, None))
    assert said(Person(TABLES[which], restarts=True).log(copies)) == said(once)


@given(
    log=logs(),
    cuts=st.lists(st.integers(1, 6), max_size=20),
    crashes=st.lists(st.booleans(), max_size=20),
    deadlines=st.sampled_from((1, 2, 1000)),
)
def test_any_split_into_batches_and_commits_gives_the_same_triggers_once(
    log: Log, cuts: list[int], crashes: list[bool], deadlines: int
) -> None:
    def compiled(_: object) -> Table:
        return TABLES[True, True]

    one_by_one = Worker(compile=compiled).read(log)
    split = Worker(cache=1, deadlines=deadlines, compile=compiled)
    split.read(log, cuts=chain(cuts, repeat(3)), crashes=chain(crashes, repeat(True)))
    assert split.said == one_by_one.said
    assert split.people() == one_by_one.people()
    assert split.counted() == one_by_one.counted()
    sent = [msgspec.json.decode(value)["id"] for topic, _, value in one_by_one.said if topic == TOPICS.triggers]
    assert len(set(sent)) == len(sent)
