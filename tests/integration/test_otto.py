"""Real shop traffic through the real product: sessions, drop-offs and recoveries as a few lines say they must be.

The oracle here reads the data set itself and knows only its three event types; it shares nothing with the tracker.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.integration.pipeline import Pipeline, write_events
from tests.services import KafkaServer, RedisServer
from tracker.domain.events import Event, Item

GAP = 30 * 60_000
HOUR = 3_600_000
DAY = 24 * HOUR

Row = tuple[int, str, str]
"""(ts, type, product) of one line of the data set."""


class Expected(NamedTuple):
    """What must come out about one visitor."""

    sessions: list[tuple[int, int, int]]
    """(started_at, ended_at, events)"""
    dropped_off: list[tuple[str, int, int]]
    """(reason, armed_at, detected_at)"""
    recovered: list[tuple[str, int, int]]
    """(reason, armed_at, detected_at) of those that an order brought back"""


class Visitor:
    """One visitor, in order of time."""

    def __init__(self) -> None:
        self.sessions: list[list[int]] = []
        self.cart: Counter[str] = Counter()
        self.armed: tuple[str, int, int] | None = None
        self.ordered_in: int | None = None
        self.warned: set[frozenset[tuple[str, int]]] = set()
        self.dropped: list[tuple[str, int, int]] = []
        self.open: list[tuple[str, int, int]] = []
        self.recovered: list[tuple[str, int, int]] = []

    def see(self, ts: int, kind: str, product: str) -> None:
        self.wait_until(ts)
        if not self.sessions or ts - self.sessions[-1][1] >= GAP or ts - self.sessions[-1][0] >= DAY:
            self.sessions.append([ts, ts, 0])
        session = self.sessions[-1]
        session[1] = ts
        session[2] += 1
        if kind == "clicks" and not self.cart and self.ordered_in != len(self.sessions):
            self.armed = ("browse_abandoned", ts, ts + HOUR)
        elif kind == "carts":
            self.cart[product] += 1
            self.armed = ("cart_abandoned", ts, ts + 4 * HOUR)
        elif kind == "orders":
            self.armed = None
            self.warned.clear()
            del self.cart[product]
            self.ordered_in = len(self.sessions)
            if self.open and ts - self.open[-1][2] <= 30 * DAY:
                self.recovered.append(self.open[-1])
                self.open.clear()

    def wait_until(self, ts: int) -> None:
        if self.armed is None:
            return
        reason, armed_at, due = self.armed
        detected = max(due, self.sessions[-1][1] + GAP)
        if detected > ts:
            return
        self.armed = None
        if reason == "cart_abandoned":
            version = frozenset(self.cart.items())
            if not self.cart or version in self.warned:
                return
            self.warned.add(version)
        elif self.cart:
            return
        self.dropped.append((reason, armed_at, detected))
        self.open.append((reason, armed_at, detected))


def expected(rows: list[Row]) -> Expected:
    visitor = Visitor()
    for row in sorted(rows, key=lambda row: row[0]):
        visitor.see(*row)
    visitor.wait_until(1 << 62)
    sessions = [(start, end, count) for start, end, count in visitor.sessions]
    return Expected(sessions, visitor.dropped, visitor.recovered)


def rows_by_visitor(path: Path) -> dict[str, list[Row]]:
    visitors = [json.loads(line) for line in path.read_text().splitlines()]
    return {
        f"c:otto-{visitor['session']}": [(row["ts"], row["type"], str(row["aid"])) for row in visitor["events"]]
        for visitor in visitors
    }


def canonical(person: str, rows: list[Row]) -> list[Event]:
    """One event a line: nothing in the data says which lines of an order belong together."""
    types = {"clicks": "product_viewed", "carts": "product_added", "orders": "order_completed"}
    events = []
    for place, (ts, kind, product) in enumerate(rows):
        event_id = f"{person[2:]}-{place:05}"
        event = Event(event_id, types[kind], ts, customer_id=person[2:], items=[Item(product)])
        event.order_id = event_id if kind == "orders" else None
        events.append(event)
    return events


def test_the_oracle_tells_what_the_data_set_says_of_itself(shared_data: Path) -> None:
    visitors = rows_by_visitor(shared_data / "otto" / "sessions.jsonl")
    assert sum(map(len, visitors.values())) == 862
    assert sum(len(expected(rows).sessions) for rows in visitors.values()) == 144


@pytest.mark.parametrize("processes", [1, 2])
async def test_otto_comes_out_as_the_oracle_says_visitor_by_visitor(
    kafka: KafkaServer,
    redis_server: RedisServer,
    namespace: str,
    shared_data: Path,
    tmp_path: Path,
    processes: int,
) -> None:
    visitors = rows_by_visitor(shared_data / "otto" / "sessions.jsonl")
    events = [event for person, rows in visitors.items() for event in canonical(person, rows)]
    pipeline = Pipeline(kafka, redis_server, namespace, tmp_path)
    pipeline.run("topics")
    with pipeline.worker("--processes", str(processes)):
        done = json.loads(pipeline.run("replay", "--json", str(write_events(tmp_path / "otto.jsonl", events))))
    assert done["events"] == 862

    sessions = await pipeline.read("journey.sessions")
    dropoffs = await pipeline.read("journey.dropoffs")
    transitions = await pipeline.read("journey.transitions")
    assert len(sessions) == 144
    assert sum(session["event_count"] for session in sessions) == 862
    for ids in (
        [s["session_id"] for s in sessions],
        [d["id"] for d in dropoffs],
        [t["id"] for t in transitions],
    ):
        assert len(ids) == len(set(ids)), "an id came out twice"
    assert not await pipeline.read("journey.late")

    for person, rows in visitors.items():
        assert found(person, sessions, dropoffs) == expected(rows), person
    counters = pipeline.counters()
    assert (counters["people"], counters["orders"], counters["sessions:*"]) == (20, 10, 144)


def found(person: str, sessions: list[dict[str, Any]], dropoffs: list[dict[str, Any]]) -> Expected:
    own = [message for message in dropoffs if message["person_id"] == person]
    said = {message["id"]: message for message in own if message["kind"] == "dropped_off"}
    assert {message["kind"] for message in own} <= {"dropped_off", "recovered"}
    return Expected(
        sorted(
            (session["started_at"], session["ended_at"], session["event_count"])
            for session in sessions
            if session["person_id"] == person
        ),
        sorted((_key(message) for message in said.values()), key=lambda key: key[2]),
        [_key(said[message["dropoff_id"]]) for message in own if message["kind"] == "recovered"],
    )


def _key(message: dict[str, Any]) -> tuple[str, int, int]:
    return message["reason"], message["armed_at"], message["detected_at"]
