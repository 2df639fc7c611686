"""A wrong link that is taken apart: either person stands where they would without it, and nothing is said twice."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle.naive import fold
from tests.properties.apart import take_apart
from tests.properties.log import TOPICS, Log, Worker, send_on
from tests.properties.runner import END_OF_TIME, Person, standing_of, standing_said
from tests.properties.strategies import MINUTE, SHORT_STEPS, START, as_person, event
from tracker.domain.events import Event
from tracker.wire.control import Erase, Merge, Rebuilt

WAITS = (*SHORT_STEPS, 20 * MINUTE, 30 * MINUTE)


@dataclass(frozen=True)
class Story:
    """A visitor and a customer who were taken for one, until they were taken apart."""

    log: Log
    events: list[Event]
    end: int


@st.composite
def stories(draw: st.DrawFn, waits: tuple[int, ...] = WAITS) -> Story:
    log, worker = Log(), Worker()
    log.watermark(START)
    events = []
    ts = START
    told = [["told"] * draw(st.integers(0, 4)) for _ in range(4)]
    moments = [*told[0], "merged", *told[1], "apart", *told[2], "rebuilt", *told[3]]
    rebuilt: list[tuple[Rebuilt, str]] = []
    for number, what in enumerate(moments):
        ts += draw(st.sampled_from(waits))
        if what == "merged":
            log.control(Merge("c:p", ts), "a:v")
        elif what == "apart":
            rebuilt = take_apart(log, worker)
        elif what == "rebuilt":
            for record, key in rebuilt:
                log.control(record, key)
        else:
            made = as_person(draw(event(number, ts)), draw(st.sampled_from(("a:v", "c:p"))))
            events.append(made)
            log.event(made, "c:p" if made.customer_id else "a:v")
        send_on(log, worker)
    log.control(Merge("c:p", ts), "a:v")  # ingest says it again
    log.watermark(ts + END_OF_TIME)
    send_on(log, worker)
    return Story(log, events, ts + END_OF_TIME)


@given(story=stories())
def test_people_who_were_taken_apart_stand_where_they_would_had_they_never_been_linked(story: Story) -> None:
    worker = Worker().read(story.log)
    people = worker.people()
    for name in ("a:v", "c:p"):
        own = [one for one in story.events if (one.customer_id is None) == name.startswith("a:")]
        if own:
            person = Person(name=name)
            person.state, person.watermark = people[name], story.end
            assert standing_said(person) == standing_of(fold(own, story.end), story.end)
    assert people["a:v"].merged_into is None
    orders = sum(state.facts.order_count for state in people.values())
    assert worker.counted().get("orders", 0) == orders


def test_who_is_erased_between_the_two_records_does_not_come_back() -> None:
    log, worker = Log(), Worker()
    log.watermark(START)
    log.event(Event("1", "product_viewed", START, anonymous_id="v"), "a:v")
    log.control(Merge("c:p", START), "a:v")
    send_on(log, worker)
    rebuilt = take_apart(log, worker)
    log.control(Erase(START + 1, spread=True), "a:v")
    send_on(log, worker)
    for record, key in rebuilt:
        log.control(record, key)
    send_on(log, worker)
    assert "a:v" not in worker.states
    assert not any(b"a:v" in state for state in worker.states.values())


@given(story=stories())
def test_taking_apart_says_nothing_twice(story: Story) -> None:
    worker = Worker().read(story.log)
    ids = []
    for topic, _, value in worker.said:
        if topic in {TOPICS.transitions, TOPICS.dropoffs, TOPICS.sessions}:
            message = msgspec.json.decode(value)
            ids.append((topic, message["id"] if "id" in message else (message["session_id"], message["revision"])))
    assert len(set(ids)) == len(ids)
