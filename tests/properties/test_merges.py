"""An anonymous past that joins a customer: as if all of it had been the customer's from the start."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given

from tests.oracle.naive import fold, overtaken
from tests.properties.log import TOPICS, Log, Worker, retold, send_on
from tests.properties.runner import (
    drop_offs_of,
    drop_offs_said,
    sessions_of,
    sessions_said,
    standing_of,
    standing_said,
)
from tests.properties.stories import Story, long_stories, stories
from tests.properties.strategies import HOUR, MINUTE, START
from tracker.domain.events import Event, Item
from tracker.domain.merging import merge
from tracker.domain.model import FoldSettings
from tracker.domain.outputs import Bound, DropOff, Output, SessionClosed, Transition
from tracker.domain.state import new_state
from tracker.domain.table import compile_table
from tracker.journeys.loader import load
from tracker.wire.control import Merge


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


def test_a_device_that_any_number_of_customers_use_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.domain.merging.MAX_LINKS", 3)
    state, said = new_state("a:kiosk"), list[Output]()
    for number in range(5):
        merge(state, f"c:{number}", START, compile_table(load("nettbutikk-5"), FoldSettings()), START, said)
    assert state.links == ["c:0", "c:1", "c:2"]
    assert state.merged_into is None
    assert said.count(Bound("links")) == 2


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
