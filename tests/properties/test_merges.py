"""An anonymous past that joins a customer: as if all of it had been the customer's from the start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle.naive import Fold, fold, overtaken
from tests.properties.log import TOPICS, Log, Worker
from tests.properties.runner import (
    END_OF_TIME,
    Person,
    drop_offs_of,
    drop_offs_said,
    sessions_of,
    sessions_said,
    standing_of,
    standing_said,
)
from tests.properties.strategies import HOUR, MINUTE, ORDERS, SHORT_STEPS, START, as_person, event
from tests.properties.test_batches import send_on
from tracker.domain.events import Event, Item
from tracker.domain.outputs import DropOff, SessionClosed, Transition
from tracker.wire.control import Merge


@dataclass(frozen=True)
class Story:
    """Events in log order with their owners, a merge among them, and the watermark before all of it."""

    log: Log
    events: list[Event]
    end: int
    steps: list[Fold] = field(default_factory=list)
    """The naive folds of what is known of either person after each event and the merge, and of both at the end."""


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """A visitor and a customer who are one and the same; everything within the allowed lateness of the merge."""
    log = Log()
    script: list[Event] = []
    ts = START
    for number in range(draw(st.integers(1, 10))):
        ts += draw(st.sampled_from((*SHORT_STEPS, 20 * MINUTE, 30 * MINUTE)))
        script.append(as_person(draw(event(number, ts)), draw(st.sampled_from(("a:v", "c:p")))))
    records: list[Event | Merge] = list(script)
    for _ in range(draw(st.integers(1, 2))):
        records.insert(draw(st.integers(0, len(records))), Merge("c:p", ts))
    worker = Worker()
    log.watermark(START)
    known: dict[str, list[Event]] = {"a:v": [], "c:p": []}
    steps: list[Fold] = []
    for record in records:
        if isinstance(record, Merge):
            log.control(record, "a:v")
            if known["a:v"] is not known["c:p"]:
                both = [*known["a:v"], *known["c:p"]]
                known = {"a:v": both, "c:p": both}
        else:
            person = "c:p" if record.customer_id else "a:v"
            log.event(record, person)
            known[person].append(record)
        steps += [fold(events, START) for events in known.values()]
        send_on(log, worker)
    log.watermark(ts + END_OF_TIME)
    send_on(log, worker)
    return Story(log, script, ts + END_OF_TIME, [*steps, fold(script, ts + END_OF_TIME)])


def retold(worker: Worker, name: str = "c:p") -> Person:
    """What the worker said of somebody, and their state, as a runner's person."""
    person = Person(name=name)
    kinds: dict[str, type[Any]] = {
        TOPICS.transitions: Transition,
        TOPICS.dropoffs: DropOff,
        TOPICS.sessions: SessionClosed,
    }
    for topic, key, value in worker.said:
        if topic in kinds and key == name.encode():
            person.out.append(msgspec.json.decode(value, type=kinds[topic]))
    if name in worker.states:
        person.state = worker.people()[name]
    person.watermark = START + 2 * END_OF_TIME
    return person


@given(story=stories())
def test_a_visitor_who_turns_out_to_be_a_customer_has_one_past(story: Story) -> None:
    worker = Worker().read(story.log)
    person = retold(worker)
    expected = fold(story.events, story.end, overtaken=overtaken(story.steps))
    assert standing_said(person) == standing_of(expected, person.watermark)
    assert sessions_said(person) == sessions_of(expected)
    assert drop_offs_said(person) == drop_offs_of(expected)
    assert not [key for topic, key, _ in worker.said if topic in {TOPICS.dropoffs, TOPICS.sessions} and key == b"a:v"]


def test_an_anonymous_cart_bought_by_the_customer_is_one_journey_one_session_and_no_drop_off() -> None:
    """The design's trace 10, with the merge as ingest would append it."""
    ten = START
    log, worker = Log(), Worker()
    log.watermark(ten)
    log.event(Event("1", "product_added", ten, anonymous_id="v", items=[Item("A")]), "a:v")
    log.event(Event("2", "identified", ten + 20 * MINUTE, customer_id="p", anonymous_id="v"), "c:p")
    log.control(Merge("c:p", ten + 20 * MINUTE), "a:v")
    send_on(log, worker)
    log.event(Event("3", "order_completed", ten + 30 * MINUTE, customer_id="p", order_id="O1", value=500.0), "c:p")
    log.watermark(ten + 48 * HOUR)
    send_on(log, worker)
    person = retold(Worker().read(log))
    assert not person.said(DropOff)
    assert len({move.journey_id for move in person.said(Transition)}) == 1
    assert person.said(Transition)[-1].direction == "converted"
    assert [(s.started_at, s.ended_at) for s in person.said(SessionClosed)] == [(ten, ten + 30 * MINUTE)]


@st.composite
def long_stories(draw: st.DrawFn) -> Story:
    """The same over days, the watermark following at once: much of the past is older than the lateness when merged."""
    log, worker = Log(), Worker()
    script: list[Event] = []
    ts = START
    length = draw(st.integers(1, 10))
    merged = draw(st.integers(0, length - 1))
    for number in range(length):
        ts += draw(st.sampled_from((*SHORT_STEPS, 30 * MINUTE, HOUR, 2 * HOUR, 5 * HOUR)))
        made = as_person(draw(event(number, ts)), draw(st.sampled_from(("a:v", "c:p"))))
        if made.type in ORDERS:
            made = msgspec.structs.replace(made, order_id=f"own{number}")
        script.append(made)
        log.event(made, "c:p" if made.customer_id else "a:v")
        log.watermark(ts)
        if number == merged:
            log.control(Merge("c:p", ts), "a:v")
        send_on(log, worker)
    log.watermark(ts + END_OF_TIME)
    send_on(log, worker)
    return Story(log, script, ts + END_OF_TIME)


@given(story=long_stories())
def test_a_merge_of_an_old_past_loses_no_order_and_leaves_no_drop_off_that_an_order_disarmed(story: Story) -> None:
    worker = Worker().read(story.log)
    expected = fold(story.events, story.end)
    facts = retold(worker).state.facts
    assert facts.order_count == expected.order_count
    assert sum(facts.revenue.values()) == sum(expected.revenue.values())
    said = [msgspec.json.decode(value, type=DropOff) for topic, _, value in worker.said if topic == TOPICS.dropoffs]
    ended = [message.dropoff_id for message in said if message.kind != "dropped_off"]
    assert len(set(ended)) == len(ended)
    for drop in said:
        if drop.kind == "dropped_off" and drop.id not in ended:
            assert not [o.ts for o in expected.orders if drop.armed_at < o.ts < drop.detected_at]
    closed = [msgspec.json.decode(v, type=SessionClosed) for topic, _, v in worker.said if topic == TOPICS.sessions]
    revisions = [(session.session_id, session.revision) for session in closed]
    assert len(set(revisions)) == len(revisions)
