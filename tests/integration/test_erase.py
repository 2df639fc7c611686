"""Somebody is erased through the real commands, on Kafka and Redis; then every byte of both is searched for them."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from tests.integration.pipeline import PARTITIONS, Pipeline, write_events
from tests.services import KafkaServer, RedisServer
from tests.waiting import until
from tracker.domain.events import Event, Item
from tracker.wire.control import Absorb, control_headers, control_kind, encode_control
from tracker.wire.decode import encode_event
from tracker.wire.partition import partition_of

MIDNIGHT = 1_772_409_600_000
HOUR = 3_600_000
KARI, OLA = "kari-nordmann", "ola-nordmann"
DEVICES = ("hers-phone", "hers-laptop", "hers-tablet")
IDS = [id_.encode() for id_ in (KARI, *DEVICES)]


def event(name: str, type_: str, hours: float, **fields: Any) -> Event:
    if type_.startswith(("product_", "order_")):
        fields |= {"items": [Item("dress", price=100.0)], "currency": "NOK"}
    return Event(name, type_, MIDNIGHT + round(hours * HOUR), **fields)


BEFORE = [
    event("e1", "product_added", 8, anonymous_id=DEVICES[0]),
    event("e2", "identified", 8.1, anonymous_id=DEVICES[0], customer_id=KARI),
    event("e3", "product_viewed", 8.2, anonymous_id=DEVICES[1]),
    event("e4", "order_completed", 9, customer_id=KARI, order_id="O1", value=100.0),
    event("e5", "product_viewed", 14.9, anonymous_id=DEVICES[2]),
    event("e6", "identified", 15, anonymous_id=DEVICES[1], customer_id=KARI),
    event("e7", "identified", 15.1, anonymous_id=DEVICES[2], customer_id=KARI),
    event("e8", "product_added", 15.2, anonymous_id=DEVICES[2]),
    event("o1", "product_added", 15.2, customer_id=OLA),
]
LIVE = [
    event("v1", "product_added", 40, anonymous_id=DEVICES[0]),
    event("v2", "product_added", 40.1, customer_id=KARI),
]
"""Nothing moves time on after these: they are recent, and a reminder is due."""
LATE = [
    event("l1", "product_added", 40.05, customer_id=KARI),
    event("l2", "product_added", 39.9, anonymous_id=DEVICES[0]),
    event("l3", "order_completed", 10, customer_id=KARI, order_id="O2", value=5.0),
    event("l4", "identified", 8.5, anonymous_id=DEVICES[1], customer_id=KARI),
    event("l5", "page_viewed", 1, anonymous_id=DEVICES[2]),
    event("l6", "identified", 9, anonymous_id="her-old-watch", customer_id=KARI, cart_id="C1"),
]
AFTERWARDS = [event("o2", "page_viewed", 60, customer_id=OLA)]


class Found(NamedTuple):
    """A record in a topic that holds one of the ids."""

    topic: str
    partition: int
    offset: int
    kind: str | None


class Outcome(NamedTuple):
    printed: list[dict[str, Any]]
    again: list[dict[str, Any]]
    after: dict[str, list[str]]
    """Redis keys that hold an id: after the erasure, and at the end."""
    records: list[Found]
    """Records written since the erasure that hold one."""
    dropoffs: list[dict[str, Any]]


def state_of(server: RedisServer, prefix: str) -> bytes:
    """What is kept of the customer."""
    key = f"c:{KARI}"
    with server.client() as store:
        return store.get(f"{prefix}{{p{partition_of(key.encode(), PARTITIONS)}}}:s:{key}") or b""


def redis_traces(server: RedisServer, prefix: str) -> list[str]:
    """Every key of this tracker whose name, fields, members or values hold one of the ids, in clear or in DUMP."""
    found = []
    with server.client() as store:
        for key in store.scan_iter(match=f"{prefix}*", count=1000):
            kind = store.type(key)
            parts: list[bytes] = [key, store.dump(key) or b""]
            if kind == b"string":
                parts.append(store.get(key) or b"")
            elif kind == b"hash":
                parts += [part for pair in store.hgetall(key).items() for part in pair]
            elif kind == b"zset":
                parts += store.zrange(key, 0, -1)
            elif kind != b"none":  # trimmed since it was listed
                raise AssertionError(f"{key!r} is a {kind!r}, which this test cannot read")
            found += [f"{key!r} ({kind.decode()})" for part in parts if any(id_ in part for id_ in IDS)]
    return found


async def ends(kafka: KafkaServer, topics: Iterable[str]) -> dict[TopicPartition, int]:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap)
    await consumer.start()
    try:
        tps = [TopicPartition(topic, partition) for topic in topics for partition in range(PARTITIONS)]
        consumer.assign(tps)
        return dict(await consumer.end_offsets(tps))
    finally:
        await consumer.stop()


async def topic_traces(kafka: KafkaServer, since: dict[TopicPartition, int]) -> list[Found]:
    """Every record from these offsets on that holds an id in key, value or headers, of uncommitted transactions too."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, enable_auto_commit=False)
    await consumer.start()
    found = []
    try:
        consumer.assign(list(since))
        for tp, offset in since.items():
            consumer.seek(tp, offset)
        last = await consumer.end_offsets(list(since))
        while any([await consumer.position(tp) < last[tp] for tp in since]):
            for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                for record in records:
                    parts = [record.key, record.value, *(part for header in record.headers for part in header)]
                    whole = [part.encode() if isinstance(part, str) else part or b"" for part in parts]
                    if any(id_ in part for part in whole for id_ in IDS):
                        found.append(Found(tp.topic, tp.partition, record.offset, control_kind(record.headers)))
    finally:
        await consumer.stop()
    return found


async def send(kafka: KafkaServer, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    await producer.start()
    try:
        await producer.send_and_wait(topic, value, key, partition_of(key, PARTITIONS), headers=headers)
    finally:
        await producer.stop()


async def send_raw(kafka: KafkaServer, prefix: str, events: list[Event]) -> None:
    for one in events:
        await send(kafka, prefix + "shop.clicks", b"any", encode_event(one), [])


@pytest.fixture(scope="module")
def outcome(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcome]:
    folder: Path = tmp_path_factory.mktemp("erase")
    pipeline = Pipeline(kafka, redis_server, f"t{secrets.token_hex(3)}.", folder)
    pipeline.run("topics")
    produced = [
        pipeline.prefix + "journey." + name
        for name in ("events", "transitions", "dropoffs", "triggers", "sessions", "late", "dead-letters")
    ]
    with pipeline.worker():
        pipeline.run("replay", str(write_events(folder / "before.jsonl", BEFORE)))
        asyncio.run(send_raw(kafka, pipeline.prefix, LIVE))
        asyncio.run(until(lambda: b"v2" in state_of(redis_server, pipeline.prefix), "the live events are folded"))
        assert redis_traces(redis_server, pipeline.prefix), "there is something to erase"
        since = asyncio.run(ends(kafka, produced))
        printed = json.loads(pipeline.run("erase", KARI, "--json"))
        again = json.loads(pipeline.run("erase", f"c:{KARI}", "--json"))
        after = redis_traces(redis_server, pipeline.prefix)
    with pipeline.worker():
        record = Absorb("x", f"a:{DEVICES[0]}", MIDNIGHT + 15 * HOUR, b"")
        key = f"c:{KARI}".encode()
        asyncio.run(
            send(kafka, pipeline.prefix + "journey.events", key, encode_control(record), control_headers(record))
        )
        asyncio.run(send_raw(kafka, pipeline.prefix, LATE))
        pipeline.run("replay", str(write_events(folder / "afterwards.jsonl", AFTERWARDS)))
        yield Outcome(
            printed,
            again,
            {"after": after, "end": redis_traces(redis_server, pipeline.prefix)},
            asyncio.run(topic_traces(kafka, since)),
            asyncio.run(pipeline.read("journey.dropoffs")),
        )


def test_the_command_says_whose_ids_are_erased_and_what_was_kept(outcome: Outcome) -> None:
    assert {one["person_id"] for one in outcome.printed} == {f"c:{KARI}", *(f"a:{device}" for device in DEVICES)}
    (kari,) = [one for one in outcome.printed if one["person_id"] == f"c:{KARI}"]
    assert kari["removed"]["orders"] == 1
    assert kari["partition"] == partition_of(f"c:{KARI}".encode(), PARTITIONS)
    assert outcome.again == [{"person_id": f"c:{KARI}", "partition": kari["partition"], "removed": {}}]


def test_no_key_field_member_or_value_in_redis_holds_an_id(outcome: Outcome) -> None:
    assert outcome.after == {"after": [], "end": []}


def test_since_the_erasure_only_what_brought_it_and_what_came_late_holds_an_id_in_a_topic(outcome: Outcome) -> None:
    """What the shop writes afterwards is in the log as it came; the tracker itself says nothing more of them."""
    log = [found for found in outcome.records if found.topic.endswith("journey.events")]
    assert outcome.records == log, "an output, a late record or a dead letter"
    kinds = [found.kind for found in log]
    assert kinds.count("erase") >= len(IDS)
    assert set(kinds) <= {"erase", "absorb", "merge", "claim", None}
    assert kinds.count("absorb") == 1, "the one that the test sent"
    assert kinds.count(None) == len(LATE)


def test_somebody_else_goes_on(outcome: Outcome) -> None:
    assert [(one["person_id"], one["kind"]) for one in outcome.dropoffs if one["person_id"] == f"c:{OLA}"] == [
        (f"c:{OLA}", "dropped_off")
    ]
