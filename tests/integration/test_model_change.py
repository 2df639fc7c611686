"""The model of a running tracker is changed while people are under way: journeys carry over, nothing is said twice and
nothing is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.integration.disturbance import RAW_TOPICS, TOPICS, assert_once, kill, reached
from tests.integration.pipeline import PARTITIONS, Pipeline
from tests.services import KafkaServer, RedisServer
from tests.waiting import until
from tracker.broker.raw import RawWriter
from tracker.domain.events import Event, Item
from tracker.journeys.loader import from_text
from tracker.wire.control import Config
from tracker.wire.decode import encode_event

MIDNIGHT = 1_772_409_600_000
PEOPLE = range(12)
"""Of each story: enough for all four partitions."""
DRESS = [Item("dress", price=899.0)]

BEFORE = """
id: butikk
version: 1
language: nb
name: Butikk
phases:
  - {id: oppdager, name: oppdager, gloss: discovers, stage: before, enter: [{events: [any]}]}
  - {id: vurderer, name: vurderer, gloss: considers, stage: before, enter: [{events: [product_viewed]}]}
  - {id: samtale, name: samtale, gloss: talks, stage: before, enter: [{events: [chat_started]}]}
  - {id: kjoper, name: kjøper, gloss: buys, stage: purchase, enter: [{events: [product_added]}]}
  - {id: bruker, name: bruker, gloss: uses, stage: after, enter: [{events: [order_delivered]}]}
conversion: [order_completed]
rules:
  - {id: cart_abandoned, when: [cart_changed], cart: filled, wait: 4h, significance: 2}
  - {id: asked, emit: trigger, when: [chat_started], wait: 3h}
"""
AFTER = """
id: butikk
version: 2
language: nb
name: Butikk
phases:
  - {id: oppdager, name: oppdager, gloss: discovers, stage: before, enter: [{events: [any]}]}
  - {id: sammenligner, name: sammenligner, gloss: compares, stage: before, enter: [{events: [product_viewed]}]}
  - {id: kjoper, name: kjøper, gloss: buys, stage: purchase, enter: [{events: [product_added]}]}
  - {id: venter, name: venter, gloss: waits, stage: after, enter: [{events: [order_shipped]}]}
  - {id: bruker, name: bruker, gloss: uses, stage: after, enter: [{events: [order_delivered]}]}
conversion: [order_completed]
rules:
  - {id: asked, emit: trigger, when: [chat_started], wait: 3h}
  - {id: cart_abandoned, when: [cart_changed], cart: filled, wait: 6h, significance: 2}
"""
"""`vurderer` has another name, `samtale` is gone, `venter` is new; carts get two hours more."""

Line = tuple[str, str, dict[str, Any]]
"""(time of day, event type, fields)."""

FIRST: dict[str, list[Line]] = {
    "looks": [("10:00", "product_viewed", {})],
    "talks": [("10:00", "product_viewed", {}), ("10:05", "chat_started", {})],
    "fills": [("11:00", "product_added", {"items": DRESS})],
    "fell": [("06:00", "product_added", {"items": DRESS})],
    "bought": [("10:00", "product_added", {"items": DRESS}), ("10:10", "order_completed", {"order_id": "O"})],
}
THEN: dict[str, list[Line]] = {
    "looks": [("13:00", "product_added", {"items": DRESS})],
    "fell": [("13:00", "order_completed", {"order_id": "O", "value": 899.0})],
    "bought": [("13:00", "order_shipped", {"order_id": "O"}), ("13:30", "order_delivered", {"order_id": "O"})],
}
CHANGED = "11:30"
"""How far time has come when the model changes."""

MOVES = {
    "looks": ["10:00 enter vurderer", "10:00 backfilled sammenligner", "13:00 forward kjoper"],
    "talks": ["10:00 enter vurderer", "10:05 forward samtale", "10:05 backfilled sammenligner"],
    "fills": ["11:00 enter kjoper"],
    "fell": ["06:00 enter kjoper", "13:00 converted kjoper"],
    "bought": ["10:00 enter kjoper", "10:10 converted kjoper", "13:00 forward venter", "13:30 forward bruker"],
}
DROPOFFS = {
    "looks": ["19:00 dropped_off"],  # armed under the new model: six hours
    "fills": ["15:00 dropped_off"],  # armed under the old one: four
    "fell": ["10:00 dropped_off", "13:00 recovered"],
}


def at(time: str) -> int:
    hours, minutes = map(int, time.split(":"))
    return MIDNIGHT + (hours * 60 + minutes) * 60_000


def of_day(ms: int) -> str:
    minutes = (ms - MIDNIGHT) // 60_000
    return f"{minutes // 60:02}:{minutes % 60:02}"


def events(told: dict[str, list[Line]]) -> list[Event]:
    """Every story as each of its people live it, a few seconds apart, in the order of time."""
    made = [
        Event(f"{story}{number}-{time}", kind, at(time) + number, customer_id=f"{story}{number}", **fields)
        for story, told_lines in told.items()
        for time, kind, fields in told_lines
        for number in PEOPLE
    ]
    for event in made:
        if event.order_id is not None:
            event.order_id += f"-{event.customer_id}"
    return sorted(made, key=lambda event: event.ts)


async def send(pipeline: Pipeline, kafka: KafkaServer, made: Sequence[Event], mark: int) -> None:
    """Write events, and that time has come as far as `mark`."""
    async with RawWriter(kafka.bootstrap, [pipeline.prefix + topic for topic in RAW_TOPICS], idempotent=True) as raw:
        await raw.send([(event.ts, f"c:{event.customer_id}", encode_event(event)) for event in made])
        await raw.mark(mark)


def in_force(redis_server: RedisServer, namespace: str) -> set[int]:
    """The versions of the model in the partitions."""
    with redis_server.client() as store:
        stored = [store.get(f"{namespace}{{p{partition}}}:s:config") for partition in range(PARTITIONS)]
    configs = [msgspec.json.decode(config, type=Config) for config in stored if config is not None]
    return {from_text(config.models[0]).version for config in configs} if len(configs) == PARTITIONS else set()


@contextlib.contextmanager
def killed(pipeline: Pipeline) -> Iterator[None]:
    """A worker that is not asked to end."""
    with pipeline.worker() as process:
        yield
        kill(process)


def by_person(payloads: Sequence[dict[str, Any]], time: str, what: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for payload in payloads:
        words = [str(payload[name]) for name in what if payload[name] is not None]
        found.setdefault(payload["customer_id"], []).append(" ".join([of_day(_time(payload, time)), *words]))
    return found


def _time(payload: dict[str, Any], name: str) -> int:
    ended = payload.get("kind") in {"recovered", "cancelled"}
    time: int = payload["last_event"]["ts"] if ended else payload[name]
    return time


def everybodys(expected: dict[str, list[str]]) -> dict[str, list[str]]:
    return {f"{story}{number}": lines for story, lines in expected.items() for number in PEOPLE}


@pytest.mark.parametrize("ends", ["stopped", "killed"])
async def test_a_changed_model_takes_over_who_is_under_way(
    ends: str, kafka: KafkaServer, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    file = tmp_path / "butikk.yaml"
    file.write_text(BEFORE, encoding="utf-8")
    pipeline = Pipeline(kafka, redis_server, namespace, tmp_path, TRACKER_MODEL=str(file))
    pipeline.run("topics")
    with killed(pipeline) if ends == "killed" else pipeline.worker():
        await send(pipeline, kafka, events(FIRST), at(CHANGED))
        await until(lambda: reached(pipeline, redis_server) >= at(CHANGED), "the first half is folded")
    file.write_text(AFTER, encoding="utf-8")
    with pipeline.worker():
        await until(lambda: in_force(redis_server, namespace) == {2}, "every partition has the new model")
        await send(pipeline, kafka, events(THEN), at("23:00"))
        await until(lambda: reached(pipeline, redis_server) >= at("23:00"), "the second half is folded", 60.0)
    with pipeline.worker():  # publishes what the last one may have left, and says nothing again
        await send(pipeline, kafka, [], at("23:30"))
        await until(lambda: reached(pipeline, redis_server) >= at("23:30"), "another start is made")
    outputs = {topic: await pipeline.read(topic) for topic in TOPICS}
    assert_once(outputs)
    moves = by_person(outputs["journey.transitions"], "at", ["direction", "to_phase"])
    assert moves == everybodys(MOVES)
    assert by_person(outputs["journey.dropoffs"], "detected_at", ["kind"]) == everybodys(DROPOFFS)
    assert by_person(outputs["journey.triggers"], "detected_at", ["rule"]) == everybodys({"talks": ["13:05 asked"]})
    counted = pipeline.counters()
    standing = {name: n for name, n in counted.items() if name.startswith("in:") and n}
    people = len(PEOPLE)
    assert standing == {
        "in:butikk:sammenligner": people,
        "in:butikk:kjoper": 3 * people,
        "in:butikk:bruker": people,
    }
    assert counted["people"] == 5 * people
    assert counted["orders"] == 2 * people
