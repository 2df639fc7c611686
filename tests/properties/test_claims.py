"""Who names the same order, cart or checkout is the same person: chains and cycles of links, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat

from hypothesis import given
from hypothesis import strategies as st

from tests.oracle.links import joined
from tests.oracle.naive import Fold, fold, overtaken
from tests.properties.log import TOPICS, Log, Worker, append, retold, send_on
from tests.properties.runner import (
    END_OF_TIME,
    drop_offs_of,
    drop_offs_said,
    sessions_of,
    sessions_said,
    standing_of,
    standing_said,
)
from tests.properties.strategies import DAY, MINUTE, SHORT_STEPS, START, VISITORS, as_person, named
from tracker.domain.claims import CLAIM_TTL, is_claim
from tracker.domain.events import Event, Item
from tracker.domain.outputs import DropOff
from tracker.stream.links import Links


@dataclass(frozen=True)
class Story:
    """Events in the order of their times, and the naive folds of the customer and of each visitor after each event."""

    events: list[Event]
    order: list[Event]
    """As they come in."""
    log: Log
    end: int
    steps: list[Fold] = field(default_factory=list)


def told(order: Sequence[Event], end: int) -> Log:
    """The log of events that come in this order, all of them before time moves on."""
    log, worker, links = Log(), Worker(), Links(TOPICS.events, 1)
    log.watermark(START)
    for one in order:
        append(log, links, one)
        send_on(log, worker)
    log.watermark(end)
    send_on(log, worker)
    return log


@st.composite
def stories(draw: st.DrawFn, customers: tuple[str, ...] = ("c:p",)) -> Story:
    ts = START
    events = []
    for number in range(draw(st.integers(1, 9))):
        ts += draw(st.sampled_from((*SHORT_STEPS, 20 * MINUTE)))
        events.append(draw(named(number, ts, customers)))
    order = draw(st.permutations(events))
    end = ts + END_OF_TIME
    steps = [fold(theirs_of(order[: place + 1]), START) for place in range(len(order))]
    return Story(events, order, told(order, end), end, [*steps, fold(theirs_of(events), end)])


def theirs_of(events: Sequence[Event]) -> list[Event]:
    """What turns out to be the customer's."""
    visitors = joined(events)
    return [one for one in events if one.customer_id is not None or one.anonymous_id in visitors]


@given(story=stories())
def test_whoever_is_linked_to_the_customer_over_however_many_ids_has_one_past_with_them(story: Story) -> None:
    worker = Worker().read(story.log)
    person = retold(worker)
    theirs = theirs_of(story.events)
    expected = fold(theirs, story.end)
    if theirs:
        standing = standing_of(expected, person.watermark)
        assert standing_said(person) == standing
    people = worker.people()
    visitors = joined(story.events)
    for visitor in VISITORS:
        own = [one for one in story.events if f"a:{one.anonymous_id}" == visitor and one.customer_id is None]
        state = people.get(visitor)
        if not own or state is None:
            assert not own
        elif visitor[2:] in visitors:
            assert state.merged_into == "c:p"
        else:
            assert state.merged_into is None
            assert state.facts.order_count == fold(own, story.end).order_count


@given(story=stories())
def test_what_is_said_of_linked_people_is_said_of_one(story: Story) -> None:
    worker = Worker().read(story.log)
    person = retold(worker)
    theirs = theirs_of(story.events)
    expected = fold(theirs, story.end, overtaken=overtaken(story.steps))
    assert sessions_said(person) == sessions_of(expected)
    assert drop_offs_said(person) == drop_offs_of(expected)


@given(
    story=stories(customers=("c:p", "c:q")),
    cuts=st.lists(st.integers(1, 6), max_size=20),
    cache=st.sampled_from((0, 1, 1000)),
)
def test_links_among_several_customers_end_and_come_out_alike_however_the_log_is_cut(
    story: Story, cuts: list[int], cache: int
) -> None:
    assert len(story.log.records) < 400, "links go on and on"
    one_by_one = Worker().read(story.log)
    split = Worker(cache=cache).read(story.log, cuts=chain(cuts, repeat(3)), crashes=repeat(True))
    assert split.said == one_by_one.said
    assert split.people() == one_by_one.people()
    assert split.counted() == one_by_one.counted()
    assert not [person for person in one_by_one.states if is_claim(person.encode())], "a claim lives 30 days"
    orders = sum(state.facts.order_count for state in one_by_one.people().values())
    assert one_by_one.counted().get("orders", 0) == orders


def test_a_guests_cart_and_the_order_that_the_backend_sends_meet() -> None:
    ten = START
    events = [
        Event("1", "product_added", ten, anonymous_id="v", cart_id="K", items=[Item("A", price=500.0)]),
        Event("2", "order_completed", ten + 30 * MINUTE, customer_id="p", cart_id="K", order_id="O1", value=500.0),
    ]
    worker = Worker().read(told(events, ten + 2 * DAY))
    person = retold(worker)
    assert not person.said(DropOff)
    assert standing_said(person)["converted"] == [(1, "kjop")]
    assert person.state.facts.anonymous_ids == ["v"]
    assert worker.counted()["people"] == 1


def test_an_order_that_browser_and_backend_send_counts_once_with_the_fields_of_both() -> None:
    ten = START
    events = [
        Event("1", "product_added", ten, anonymous_id="v", items=[Item("A", price=500.0)], currency="NOK"),
        Event(
            "2", "order_completed", ten + MINUTE, anonymous_id="v", order_id="O1", items=[Item("A")], channel="email"
        ),
        Event("3", "order_completed", ten + MINUTE + 350, customer_id="p", order_id="O1", value=450.0, currency="NOK"),
    ]
    for order in (events, events[::-1], [events[2], *events[:2]]):
        worker = Worker().read(told(order, ten + 2 * DAY))
        facts = worker.people()["c:p"].facts
        assert (facts.order_count, facts.revenue) == (1, {"NOK": 4_500_000})
        assert worker.counted()["orders"] == 1
        assert worker.counted()["revenue:NOK"] == 4_500_000
        (kept,) = facts.orders
        assert kept.products == ["A"]


def test_an_id_that_nobody_names_for_30_days_binds_nobody_any_more() -> None:
    for wait, joins in ((CLAIM_TTL - 1, True), (CLAIM_TTL, False)):
        log, links, worker = Log(), Links(TOPICS.events, 1), Worker()
        append(log, links, Event("1", "product_added", START, anonymous_id="v", cart_id="K", items=[Item("A")]))
        log.watermark(START + wait)
        append(log, links, Event("2", "cart_viewed", START + wait, customer_id="p", cart_id="K"))
        send_on(log, worker)
        assert (worker.people()["a:v"].merged_into == "c:p") is joins


def test_an_id_that_two_customers_name_is_burned() -> None:
    log, links, worker = Log(), Links(TOPICS.events, 1), Worker()
    for number, customer in enumerate("pq"):
        append(log, links, Event(f"{number}", "cart_viewed", START, customer_id=customer, cart_id="K"))
    append(log, links, Event("3", "product_added", START + 1, anonymous_id="v", cart_id="K", items=[Item("A")]))
    send_on(log, worker)
    assert worker.people()["a:v"].merged_into is None


def test_a_merge_that_claims_cause_is_said_once_however_often_the_id_is_claimed() -> None:
    log, worker = Log(), Worker()
    for day in range(3):
        for who in ("a:v", "c:p"):
            again = Event(f"{day}{who}", "cart_viewed", START + day * DAY, customer_id="p", cart_id="K")
            append(log, Links(TOPICS.events, 1), as_person(again, who))
    send_on(log, worker)
    merges = [value for topic, key, value in worker.said if topic == TOPICS.events and b'"customer"' in value]
    assert len(merges) == 1
