"""Visitors who turn out to be customers, through the real commands and over four partitions, so that what is
absorbed and forwarded crosses from one partition to another.

A few stories, each told of many people at once, in three recordings: the tracker's time passes each one's deadlines
before the next begins.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.integration.disturbance import TOPICS, assert_once
from tests.integration.pipeline import PARTITIONS, Pipeline, write_events
from tests.services import KafkaServer, RedisServer
from tracker.domain.events import Event, Item
from tracker.wire.partition import partition_of

MIDNIGHT = 1_772_409_600_000
PEOPLE = range(24)


def at(hours: int, minutes: int) -> int:
    return MIDNIGHT + (hours * 60 + minutes) * 60_000


class Told(NamedTuple):
    """One line of a story: when, what, and which of the two ids (`a`, `c`, or another customer, `d`) it carries."""

    hours: int
    minutes: int
    type: str
    who: str


STORIES: dict[str, tuple[list[Told], list[Told], list[Told]]] = {
    # the design's trace 10
    "becomes a customer": (
        [
            Told(10, 0, "product_added", "a"),
            Told(10, 20, "identified", "ac"),
            Told(10, 30, "order_completed", "c"),
        ],
        [],
        [],
    ),
    "comes back and buys": (
        [Told(10, 0, "product_added", "a")],
        [Told(15, 30, "identified", "ac"), Told(15, 40, "order_completed", "c")],
        [],
    ),
    "is forgotten by the shop": (
        [Told(10, 0, "page_viewed", "a"), Told(10, 20, "identified", "ac")],
        [Told(15, 30, "product_added", "a")],
        [Told(21, 0, "order_completed", "a")],
    ),
    "shares a device": (
        [Told(10, 0, "product_viewed", "a"), Told(10, 10, "identified", "ac")],
        [Told(15, 30, "identified", "ad"), Told(15, 35, "product_added", "ad")],
        [Told(21, 0, "product_added", "a"), Told(21, 5, "page_viewed", "c")],
    ),
}


def name(story: str, kind: str, number: int) -> str:
    return f"{story.replace(' ', '-')}-{kind}{number}"


def events(part: int) -> Iterator[Event]:
    for story, parts in STORIES.items():
        for number in PEOPLE:
            for line, told in enumerate(parts[part]):
                event_id = f"{name(story, 'e', number)}-{part}{line}"
                event = Event(event_id, told.type, at(told.hours, told.minutes) + number)
                if "a" in told.who:
                    event.anonymous_id = name(story, "a", number)
                for kind in "cd":
                    if kind in told.who:
                        event.customer_id = name(story, kind, number)
                if told.type.startswith("product_"):
                    event.items = [Item("dress", price=100.0)]
                    event.currency = "NOK"
                if told.type == "order_completed":
                    event.order_id, event.value, event.currency = f"order-{event_id}", 100.0, "NOK"
                yield event


class Outputs(NamedTuple):
    """What came out of all stories."""

    outputs: dict[str, list[dict[str, Any]]]
    counters: Counter[str]

    def of(self, topic: str, story: str, kind: str, number: int) -> list[dict[str, Any]]:
        """What a topic has of one person."""
        prefix = "a:" if kind == "a" else "c:"
        person = prefix + name(story, kind, number)
        return [one for one in self.outputs["journey." + topic] if one["person_id"] == person]


@pytest.fixture(scope="module")
def told(kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    folder = tmp_path_factory.mktemp("merges")
    pipeline = Pipeline(kafka, redis_server, f"t{secrets.token_hex(3)}.", folder)
    pipeline.run("topics")
    with pipeline.worker():
        for part in range(3):
            recording = write_events(folder / f"part-{part}.jsonl", sorted(events(part), key=lambda event: event.ts))
            pipeline.run("replay", str(recording))
    outputs = {topic: asyncio.run(pipeline.read(topic)) for topic in TOPICS}
    return Outputs(outputs, pipeline.counters())


def test_the_stories_cross_partitions(told: Outputs) -> None:
    crossings = {
        tuple(partition_of((kind + ":" + name(story, kind, number)).encode(), PARTITIONS) for kind in "ac")
        for story in STORIES
        for number in PEOPLE
    }
    assert len([crossing for crossing in crossings if crossing[0] != crossing[1]]) == PARTITIONS * (PARTITIONS - 1)


def test_nothing_is_said_twice(told: Outputs) -> None:
    assert_once(told.outputs)


def test_a_visitor_who_becomes_a_customer_has_one_journey_and_one_session(told: Outputs) -> None:
    story = "becomes a customer"
    for number in PEOPLE:
        assert not told.of("dropoffs", story, "a", number) + told.of("dropoffs", story, "c", number)
        moves = told.of("transitions", story, "c", number)
        assert [move["to_phase"] for move in moves if move["direction"] == "converted"] == ["kjop"]
        assert len({move["journey_id"] for move in moves}) == 1
        assert not told.of("sessions", story, "a", number)
        (session,) = told.of("sessions", story, "c", number)
        assert (session["started_at"], session["ended_at"]) == (at(10, 0) + number, at(10, 30) + number)
        assert (session["event_count"], session["revision"]) == (3, 1)
        assert_only_merged_journeys(told.of("transitions", story, "a", number))


def test_a_drop_off_of_a_visitor_is_recovered_by_the_customers_order(told: Outputs) -> None:
    story = "comes back and buys"
    for number in PEOPLE:
        (dropped,) = told.of("dropoffs", story, "a", number)
        assert (dropped["kind"], dropped["reason"]) == ("dropped_off", "cart_abandoned")
        assert dropped["detected_at"] == at(14, 0) + number
        (recovered,) = told.of("dropoffs", story, "c", number)
        assert (recovered["kind"], recovered["dropoff_id"], recovered["value"]) == ("recovered", dropped["id"], 100.0)
        assert recovered["anonymous_ids"] == [name(story, "a", number)]
        (before,) = told.of("sessions", story, "a", number)
        (after,) = told.of("sessions", story, "c", number)
        assert (before["index"], after["index"]) == (1, 2)
        assert after["previous_session_id"] == before["session_id"]
        assert_only_merged_journeys(told.of("transitions", story, "a", number))


def test_what_a_merged_visitor_does_later_arrives_at_the_customer(told: Outputs) -> None:
    story = "is forgotten by the shop"
    for number in PEOPLE:
        assert not told.of("dropoffs", story, "a", number)
        dropped, recovered = told.of("dropoffs", story, "c", number)
        assert (dropped["kind"], dropped["detected_at"]) == ("dropped_off", at(19, 30) + number)
        assert (recovered["kind"], recovered["dropoff_id"]) == ("recovered", dropped["id"])
        assert not told.of("sessions", story, "a", number)
        assert [one["index"] for one in told.of("sessions", story, "c", number)] == [1, 2, 3]
        moves = told.of("transitions", story, "c", number)
        assert [move["direction"] for move in moves][-1] == "converted"
        assert len({move["journey_id"] for move in moves}) == 1
        assert_only_merged_journeys(told.of("transitions", story, "a", number))


def test_a_device_of_two_customers_stands_alone_from_the_second_on(told: Outputs) -> None:
    story = "shares a device"
    for number in PEOPLE:
        reasons = {
            kind: [(one["kind"], one["reason"], one["detected_at"]) for one in told.of("dropoffs", story, kind, number)]
            for kind in "acd"
        }
        assert reasons["c"] == [("dropped_off", "browse_abandoned", at(11, 0) + number)]  # what was absorbed stays
        assert reasons["d"] == [("dropped_off", "cart_abandoned", at(19, 35) + number)]  # so does what d did
        assert reasons["a"] == [("dropped_off", "cart_abandoned", at(25, 0) + number)]  # and this is nobody's
        own = told.of("transitions", story, "a", number)
        merged = {move["journey_id"] for move in own if move["direction"] == "merged"}
        (alone,) = [move for move in own if move["event_id"] == f"{name(story, 'e', number)}-20"]
        assert alone["journey_id"] not in merged, "a journey that has ended goes on"


def test_people_orders_and_money_are_counted_once(told: Outputs) -> None:
    """A visitor and the customer they turn out to be are one; the device of two customers was taken back as well."""
    everybody = len(PEOPLE)
    assert told.counters["people"] == 5 * everybody
    assert told.counters["orders"] == told.counters["converted:nettbutikk-5:*"] == 3 * everybody
    assert told.counters["revenue:NOK"] == 3 * everybody * 100 * 10_000
    assert told.counters["dropped_off:cart_abandoned:*"] == 4 * everybody
    assert told.counters["dropped_off:browse_abandoned:*"] == everybody
    assert told.counters["recovered:cart_abandoned:*"] == 2 * everybody


def assert_only_merged_journeys(moves: list[dict[str, Any]]) -> None:
    """All that a visitor began has ended as merged: whether there was any depends on which came to be read first."""
    begun = {move["journey_id"] for move in moves if move["direction"] == "enter"}
    assert begun == {move["journey_id"] for move in moves if move["direction"] == "merged"}
