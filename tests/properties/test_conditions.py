"""Compiled conditions answer as the naive ones do, which look at the whole list of a person's events."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle import conditions as oracle
from tests.oracle.naive import distinct, fold
from tests.oracle.table import NETTBUTIKK
from tests.properties.log import Log, Worker, send_on
from tests.properties.runner import Person, table
from tests.properties.strategies import (
    AFTERS,
    CARTS,
    DAY,
    HOUR,
    MINUTE,
    SHORT_STEPS,
    START,
    STEPS,
    VIEWS,
    Arrival,
    as_person,
    honest,
    late,
    scripts,
)
from tracker.domain import rules, segments
from tracker.domain.conditions import Condition, Count, Property, Range, Since
from tracker.domain.events import Event
from tracker.domain.model import FoldSettings, Segment
from tracker.domain.predicates import Moment
from tracker.domain.state import Facts
from tracker.domain.table import Table, compile_table
from tracker.domain.texts import Text
from tracker.wire.control import Merge

KINDS = ("product_viewed", "product_viewed", "shop_own_type", "product_added", "email_opened", "order_completed",
         "order_delivered", "order_cancelled", "page_viewed")  # fmt: skip
UNMET = ("product_viewed", "shop_own_type", "email_opened", "order_delivered")
LONGEST = 300 * DAY
"""People are forgotten after 400 days."""

bounds = st.tuples(st.sampled_from((None, 0, 1, 2, 3)), st.sampled_from((None, 0, 1, 2, 3)))
waits = st.sampled_from((None, 0, 1, 10_000, 30 * MINUTE, HOUR, 4 * HOUR, DAY, 30 * DAY))


def of(**fields: Any) -> Condition:
    return Condition(**fields)


@st.composite
def counts(draw: st.DrawFn) -> Condition:
    least, most = draw(bounds)
    scope: dict[str, Any] = draw(
        st.one_of(
            st.just({}),
            st.fixed_dictionaries({"during": st.sampled_from(("session", "journey"))}),
            st.fixed_dictionaries({"within": st.sampled_from((1, 10_001, 30 * MINUTE, HOUR, 4 * HOUR, DAY, 30 * DAY))}),
        )
    )
    types = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique=True))
    return of(count=Count(events=tuple(types), at_least=least, at_most=most, **scope))


SINCE = st.builds(
    Since, what=st.sampled_from(("first_seen", "last_active", "last_order", "delivery")), at_least=waits, at_most=waits
)
PROPERTY = st.sampled_from(
    (Property(name="p", one_of=("x", "true")), Property(name="p", at_least=1.0), Property(name="q", at_most=2.0))
)
simple = st.one_of(
    counts(),
    counts(),
    bounds.map(lambda both: of(orders=Range(at_least=both[0], at_most=both[1]))),
    SINCE.map(lambda since: of(since=since)),
    PROPERTY.map(lambda asked: of(property=asked)),
    PROPERTY.map(lambda asked: of(known=asked)),
    st.sampled_from(("ad", "mail")).map(lambda name: of(channel=(name,))),
    st.sampled_from((("named",), ("derived",), ("named", "derived"))).map(lambda names: of(segment=names)),
    st.lists(st.sampled_from(UNMET), min_size=1, max_size=2).map(lambda types: of(met=tuple(types))),
    st.sampled_from(("empty", "filled")).map(lambda cart: of(cart=cart)),
    st.booleans().map(lambda known: of(customer=known)),
)
conditions = st.recursive(
    simple,
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=3).map(lambda all_: of(all=tuple(all_))),
        st.lists(parts, min_size=1, max_size=3).map(lambda any_: of(any=tuple(any_))),
        parts.map(lambda part: Condition(not_=part)),
        st.tuples(counts(), parts).map(lambda two: msgspec.structs.replace(two[0], not_=two[1])),
    ),
    max_leaves=4,
)


@st.composite
def visits(draw: st.DrawFn, steps: tuple[int, ...] = STEPS) -> list[Event]:
    """Scripts with the fields that conditions ask about."""
    events = draw(scripts(steps, kinds=(*VIEWS, *CARTS, *AFTERS, *KINDS, "order_completed", "product_viewed")))
    for event in events:
        event.channel = draw(st.sampled_from((None, None, "ad", "mail")))
        event.segments = draw(st.sampled_from((None, None, None, ["named"], ["other"])))
        event.properties = draw(st.sampled_from((None, {"p": "x"}, {"p": True, "q": 2}, {"p": 1.0}, {"q": "x"})))
    return events


def model_of(derived: Condition, asked: Condition) -> Table:
    """The default model with these segments, and a phase and a rule that ask."""
    model = table().model
    texts = Text(text="s", gloss="s")
    made = (Segment(id="derived", name=texts, where=derived), Segment(id="asked", name=texts, where=asked))
    return compile_table(msgspec.structs.replace(model, segments=made), FoldSettings())


def answers(table: Table, facts: Facts, event: Event | None, now: int) -> list[str]:
    journey = rules.present(facts)
    moment = Moment(facts, journey, event, now)
    assert segments.of(facts, journey, event, now, table)[len(facts.segments) :] == [
        name for name, where in table.segments if where.holds(moment)
    ]
    return [name for name, where in table.segments if where.holds(moment)]


def expected(events: list[Event], event: Event | None, now: int, derived: Condition, asked: Condition) -> list[str]:
    known = sorted(distinct(events), key=lambda event: (event.ts, event.event_id))
    question = oracle.Asked(fold(known, now), known, now, event)
    inner = oracle.holds(question, derived)
    outer = oracle.holds(oracle.Asked(fold(known, now), known, now, event, {"derived": derived}), asked)
    return [name for name, held in (("derived", inner), ("asked", outer)) if held]


def without_segments(condition: Condition) -> bool:
    parts = (*condition.all, *condition.any, *([condition.not_] if condition.not_ else []))
    return not condition.segment and all(without_segments(part) for part in parts)


plain = conditions.filter(without_segments)


@given(visits(), plain, conditions)
def test_a_condition_is_judged_with_the_event_at_hand(
    script: list[Event], derived: Condition, asked: Condition
) -> None:
    person = Person(table=model_of(derived, asked))
    script = sorted(distinct(script), key=lambda event: (event.ts, event.event_id))
    for place, event in enumerate(script):
        person.time(event.ts)
        person.take(event)
        judged = answers(person.table, person.state.facts, event, event.ts)
        assert judged == expected(script[: place + 1], event, event.ts, derived, asked)


@given(st.one_of(honest(visits()), late(visits())), plain, conditions, st.booleans(), waits)
def test_a_condition_is_judged_alike_in_any_order_of_arrival(
    log: list[Arrival], derived: Condition, asked: Condition, restarts: bool, later: int | None
) -> None:
    person = Person(table=model_of(derived, asked), restarts=restarts)
    for arrival in log:
        if arrival.watermark is not None:
            person.time(arrival.watermark)
        person.take(arrival.event)
    now = max(person.watermark, *(arrival.event.ts for arrival in log)) + (later or 0)
    person.time(now)
    judged = answers(person.table, person.state.facts, None, now)
    assert judged == expected([arrival.event for arrival in log], None, now, derived, asked)


def merged(table: Table, script: list[Event], at: int, follows: bool, until: int) -> Worker:
    """A visitor and a customer who are known to be one after `at` events; with `follows` time keeps up with them."""
    log, worker = Log(), Worker(compile=lambda _: table)
    log.watermark(START)
    for place, event in enumerate([*script, None]):
        if place == at:
            log.control(Merge("c:p", script[max(place - 1, 0)].ts), "a:v")
        if event is not None:
            log.event(event, "c:p" if event.customer_id else "a:v")
            send_on(log, worker)  # no partition says how far it is before it has published what that covers
            if follows:
                log.watermark(event.ts)
        send_on(log, worker)
    log.watermark(until)
    send_on(log, worker)
    return worker


@st.composite
def under_two_names(draw: st.DrawFn, steps: tuple[int, ...], *, own_orders: bool) -> tuple[list[Event], int]:
    """A script of which a visitor and a customer do parts, and after how many events they are known to be one."""
    script = [as_person(event, draw(st.sampled_from(("a:v", "c:p")))) for event in draw(visits(steps))]
    if own_orders:
        for number, event in enumerate(script):
            event.order_id = f"own{number}" if event.type in NETTBUTIKK.conversion else None
    return script, draw(st.integers(0, len(script)))


def judged_of(table: Table, worker: Worker, now: int) -> list[str]:
    return answers(table, worker.people()["c:p"].facts, None, now)


@given(under_two_names((*SHORT_STEPS, 20 * MINUTE, 30 * MINUTE), own_orders=False), plain, conditions, waits)
def test_a_condition_is_judged_after_a_merge_as_if_there_had_been_one_person_all_along(
    told: tuple[list[Event], int], derived: Condition, asked: Condition, later: int | None
) -> None:
    """The merge comes while all of the visitor's events can still be folded again."""
    script, at = told
    now = script[-1].ts + (later or 0)
    table = model_of(derived, asked)
    worker = merged(table, script, at, False, now)
    assert judged_of(table, worker, now) == expected(script, None, now, derived, asked)


SETTLED = ("first_seen", "delivery", "last_order")


def lasts(condition: Condition) -> bool:
    """Whether it asks only what two settled pasts tell together: neither sessions nor journeys, nor the cart."""
    if condition.count is not None and condition.count.during is not None:
        return False
    if condition.met or condition.channel or condition.cart or condition.segment:
        return False
    if condition.since is not None and condition.since.what not in SETTLED:
        return False
    parts = (*condition.all, *condition.any, *([condition.not_] if condition.not_ else []))
    return all(lasts(part) for part in parts)


@given(
    under_two_names((*SHORT_STEPS, HOUR, 4 * HOUR, DAY), own_orders=True),
    conditions.filter(lasts),
    conditions.filter(lasts),
    waits,
)
def test_what_is_remembered_of_two_old_pasts_is_what_one_person_would_have(
    told: tuple[list[Event], int], derived: Condition, asked: Condition, later: int | None
) -> None:
    script, at = told
    now = script[-1].ts + (later or 0)
    table = model_of(derived, asked)
    worker = merged(table, script, at, True, now)
    assert judged_of(table, worker, now) == expected(script, None, now, derived, asked)
