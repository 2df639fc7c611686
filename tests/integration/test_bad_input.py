"""Bad input never stops the line and never disappears."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError

from tests.integration.bench import (
    BEHIND,
    NOW,
    PARTITIONS,
    Bench,
    controls,
    event,
    events,
    ids,
    letters,
    read_all,
)
from tracker.broker.kafka import connected, make_consumer, partitions_of
from tracker.broker.offsets import Offsets
from tracker.broker.sender import Sender
from tracker.stream.deadletters import REPLAYED_HEADER, DeadLetters, SentAgain
from tracker.wire.control import CONTROL_HEADER
from tracker.wire.deadletters import PREFIX_BYTES
from tracker.wire.decode import decode_canonical, read_event
from tracker.wire.reading import CANONICAL, Detecting, Read, Reading


@pytest.fixture
async def dead_letters(bench: Bench) -> AsyncIterator[DeadLetters]:
    group = f"{bench.topics.prefix}tracker-dead-letters"
    sender = Sender(bench.brokers, idempotent=True)

    async def count(topic: str) -> int:
        return (await partitions_of(bench.brokers, topic))[topic]

    async with connected(bench.brokers) as client:
        yield DeadLetters(
            bench.topics,
            lambda: make_consumer(bench.brokers, group, group_id=None),
            sender.append,
            lambda partition: Offsets(client, group, bench.topics.dead_letters, partition),
            count,
        )
        await sender.close()


async def write_large(bench: Bench, value: bytes) -> None:
    """Write a record that only a topic takes where somebody has raised the limit."""
    topic = bench.topics.raw_topics[0]
    admin = AIOKafkaAdminClient(bootstrap_servers=bench.brokers)
    await admin.start()
    try:
        configs = {"max.message.bytes": str(4 * 1024 * 1024), "message.timestamp.type": "LogAppendTime"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)])
    finally:
        await admin.close()
    for _ in range(100):
        with suppress(MessageSizeTooLargeError):
            return await bench.write(0, value, key=b"k")
        await asyncio.sleep(0.1)  # the broker takes a moment to heed the new limit
    raise AssertionError("the broker does not heed max.message.bytes")


async def test_every_kind_of_bad_record_is_named_and_the_good_ones_around_it_go_on(bench: Bench) -> None:
    bad: list[tuple[str, bytes | None, list[tuple[str, bytes]]]] = [
        ("not_json", b"<xml/>", []),
        ("not_json", b"\xff\xfe\x00", [("content-type", b"application/json")]),
        ("wrong_type", event("e", items="one lamp"), []),
        ("wrong_type", b'["e1"]', []),
        ("missing_id", event(""), []),
        ("missing_id", json.dumps({"type": "page_viewed", "ts": NOW, "anonymous_id": "v"}).encode(), []),
        ("no_identity", event("e", anonymous_id="null"), []),
        ("bad_ts", event("e", ts="soon"), []),  # type: ignore[arg-type]
        ("too_large", event("e", url="u" * 300_000), []),
        ("too_deep", b"[" * 50_000, []),
        ("empty", None, []),
        ("bad_control", b"{}", [(CONTROL_HEADER, b"watermark")]),
        ("bad_control", b'{"ts": "x"}', [(CONTROL_HEADER, b"progress")]),
    ]
    for number, (_, value, headers) in enumerate(bad):
        await bench.write(0, event(f"good{number:02}"))
        await bench.producer.send_and_wait(
            bench.topics.raw_topics[0], value, key=b"k%d" % number, partition=0, headers=headers
        )
    async with bench.running():
        records = await bench.until(lambda records: len(events(records)) >= len(bad))
        found = await letters(bench, len(bad))
    assert ids(records) == [f"good{number:02}" for number in range(len(bad))]
    by_key = {letter.key: letter for letter in found}
    assert len(found) == len(by_key) == len(bad)
    for number, (reason, value, headers) in enumerate(bad):
        letter = by_key[b"k%d" % number]
        assert (letter.reason, letter.value, list(letter.headers)) == (reason, value, headers)
        assert letter.origin[:3] == (bench.topics.raw_topics[0], 0, 2 * number + 1)
        assert abs(letter.origin.timestamp - time.time() * 1000) < 60_000
        assert letter.detail
    counted = Counter(reason for reason, _, _ in bad)
    for reason, count in counted.items():
        assert bench.metrics.value("tracker_dead_letters_total", stage="ingest", reason=reason) == count


async def test_a_record_of_two_megabytes_leaves_a_pointer_and_the_line_goes_on(bench: Bench) -> None:
    large = event("large", properties={"text": "x" * 2_000_000})
    await write_large(bench, large)
    await bench.write(0, event("after"))
    async with bench.running():
        await bench.until(lambda records: ids(records) == ["after"])
        (letter,) = await letters(bench)
    assert (letter.reason, letter.pointer, letter.size) == ("too_large", True, len(large))
    assert letter.value == large[:PREFIX_BYTES]
    assert letter.origin[:3] == (bench.topics.raw_topics[0], 0, 0)


async def test_what_ingest_can_mend_is_mended(bench: Bench) -> None:
    await bench.write(0, event("unknown", type="lamp_rubbed"))
    await bench.write(0, event("fast", NOW + 10 * 365 * 86_400_000))
    await bench.write(0, event("numbers", customer_id=4711, flags=["ts_in_future"]))
    await bench.write(0, event("words", ts="2026-01-31T12:00:00+01:00"))  # type: ignore[arg-type]
    async with bench.running():
        records = await bench.until(lambda records: len(events(records)) >= 4)
    found = {each.event_id: each for each in (decode_canonical(record.value) for record in events(records))}
    assert found["unknown"].type == "lamp_rubbed"
    assert found["fast"].flags == ["ts_in_future"]
    assert found["numbers"].customer_id == "4711"
    assert found["numbers"].flags is None
    assert found["words"].ts == 1_769_857_200_000
    assert not await read_all(bench.brokers, bench.topics.dead_letters, PARTITIONS)


async def test_letters_are_listed_the_newest_so_many_by_reason(bench: Bench, dead_letters: DeadLetters) -> None:
    assert await dead_letters.newest(10) == []
    for number in range(6):
        value = b"no json %d" % number if number % 2 else event("e", anonymous_id="guest")
        await bench.write(0, value, partition=number % PARTITIONS, key=b"%d" % number)
        async with bench.running():
            await letters(bench, number + 1)
    assert [letter.key for letter in await dead_letters.newest(10)] == [b"%d" % number for number in range(6)]
    assert [letter.key for letter in await dead_letters.newest(2)] == [b"4", b"5"]
    assert [letter.key for letter in await dead_letters.newest(10, "not_json")] == [b"1", b"3", b"5"]


async def test_letters_sent_again_after_a_fix_arrive_once_however_often_the_command_runs(
    bench: Bench, dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fix here: a release that knows `guest-…` ids of one shop. Before it, nobody is named by them."""
    guests = [event(f"g{number}", anonymous_id="guest", customer_id="none") for number in range(5)]
    for number, value in enumerate(guests):
        await bench.write(number % 2, value, key=b"%d" % number, headers=[("shop", b"1")])
    await bench.write(0, b"never json")
    async with bench.running():
        await letters(bench, 6)

    def release(_: Detecting, record: Any, stamp: int) -> Reading:
        value = (record.value or b"").replace(b'"guest"', b'"visitor-1"')
        return Reading(CANONICAL, [Read(*read_event(value, stamp))])

    monkeypatch.setattr(Detecting, "__call__", release)
    assert await dead_letters.replay("no_identity") == SentAgain(sent=5)
    assert await dead_letters.replay("no_identity") == SentAgain()
    async with bench.running():
        records = await bench.until(lambda records: len(events(records)) >= 5)
        assert await dead_letters.replay() == SentAgain(sent=1), "those sent by reason are not sent again with the rest"
        found = await letters(bench, 7)
    assert await dead_letters.replay("not_json") == SentAgain(sent=1), "it is refused again, as a new letter"
    assert sorted(ids(records)) == [f"g{number}" for number in range(5)]
    assert sorted(ids(await bench.log())) == sorted(ids(records))
    again = [letter for letter in found if letter.reason == "not_json"]
    assert [len(letter.headers) for letter in again] == [0, 1]
    assert again[1].headers[0][0] == REPLAYED_HEADER


async def test_letters_that_cannot_be_sent_are_counted_and_kept(bench: Bench, dead_letters: DeadLetters) -> None:
    await write_large(bench, event("large", properties={"text": "x" * 2_000_000}))
    await bench.write(0, event("no", url="u" * 300_000))
    await bench.producer.send_and_wait(bench.topics.raw_topics[0], None, key=b"k", partition=0)
    async with bench.running():
        await letters(bench, 3)
    await bench.producer.send_and_wait(bench.topics.dead_letters, b"not from here", partition=0)
    marks = [("reason", b"r"), ("source-topic", b"gone.topic"), ("source-partition", b"0"), ("source-offset", b"0")]
    marks += [("source-timestamp", b"0"), ("source-size", b"1")]
    await bench.producer.send_and_wait(bench.topics.dead_letters, b"x", partition=0, headers=marks)
    assert await dead_letters.replay() == SentAgain(sent=0, too_large=1, homeless=1, foreign=1, hopeless=2)
    assert len(await dead_letters.newest(10)) == 4


async def test_a_flood_of_bad_records_does_not_hold_time(bench: Bench) -> None:
    for number in range(500):
        await bench.producer.send(bench.topics.raw_topics[0], b"bad %d" % number, partition=number % PARTITIONS)
    await bench.producer.flush()
    began = time.time_ns() // 1_000_000
    async with bench.running():
        await bench.until(
            lambda records: any(
                len(control.sources) == 2 * PARTITIONS and min(control.sources.values()) >= began - BEHIND
                for _, control in controls(records, "watermark")
            )
        )
        assert len(await letters(bench, 500)) == 500
