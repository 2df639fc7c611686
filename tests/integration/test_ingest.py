"""The ingest stage on a real broker: raw records come into the log once and in order, and say how far time has come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from tests.integration.bench import (
    BEHIND,
    NOW,
    PARTITIONS,
    Bench,
    controls,
    event,
    events,
    ids,
    marks,
    prepare,
    producing,
)
from tests.services import KafkaServer
from tracker.broker.embedded import embedded_broker
from tracker.errors import Unavailable
from tracker.stream.ports import OutRecord
from tracker.wire.control import Merge, control_kind, decode_control
from tracker.wire.decode import decode_canonical
from tracker.wire.partition import partition_of


async def test_events_of_all_raw_topics_come_into_the_log_once_keyed_by_person_and_in_order(bench: Bench) -> None:
    sent = []
    for number in range(60):
        value = event(f"e{number:02}", anonymous_id=f"v{number % 7}")
        sent.append(value)
        await bench.write(number % 2, value, partition=number % PARTITIONS)
    async with bench.running():
        records = await bench.until(lambda records: len(events(records)) >= 60)
    assert sorted(ids(records)) == [f"e{number:02}" for number in range(60)]
    assert {record.value for record in events(records)} == set(sent)
    for record in events(records):
        assert record.key.startswith(b"a:v")
        assert record.partition == partition_of(record.key, PARTITIONS)
    assert bench.metrics.value("tracker_events_total", stage="ingest", type="other", outcome="accepted") == 60


async def test_events_of_one_person_in_one_raw_partition_keep_their_order(bench: Bench) -> None:
    for number in range(50):
        await bench.write(0, event(f"e{number:02}"))
    async with bench.running():
        records = await bench.until(lambda records: len(events(records)) >= 50)
    assert ids(records) == [f"e{number:02}" for number in range(50)]


async def test_a_worker_that_stopped_goes_on_where_it_was(bench: Bench) -> None:
    await bench.write(0, event("e1"))
    async with bench.running():
        await bench.until(lambda records: len(events(records)) >= 1)
    await bench.write(0, event("e2"))
    async with bench.running():
        await bench.until(lambda records: "e2" in ids(records))
    assert ids(await bench.log()) == ["e1", "e2"]


async def test_a_pair_of_ids_sends_one_merge_to_the_anonymous_persons_partition(bench: Bench) -> None:
    for number in range(3):
        await bench.write(0, event(f"e{number}", NOW + number, customer_id="c1"))
    await bench.write(0, event("e3", customer_id="guest"))
    async with bench.running():
        records = await bench.until(lambda records: len(events(records)) >= 4)
    ((record, merge),) = controls(records, "merge")
    assert (record.key, merge) == (b"a:v1", Merge("c:c1", NOW))
    assert record.partition == partition_of(b"a:v1", PARTITIONS)
    assert [record.key for record in sorted(events(records), key=lambda r: r.value)] == [b"c:c1"] * 3 + [b"a:v1"]


async def test_under_the_wall_clock_idle_sources_follow_it_out_of_orderness_behind(bench: Bench) -> None:
    await bench.write(0, event("e1"))
    sources = {f"{topic}/{partition}" for topic in bench.topics.raw_topics for partition in range(PARTITIONS)}
    async with bench.running():
        began = time.time_ns() // 1_000_000
        records = await bench.until(
            lambda records: all(
                marks(records, p).keys() == sources and min(marks(records, p).values()) >= began - BEHIND + 1500
                for p in range(PARTITIONS)
            )
        )
    assert max(marks(records).values()) <= time.time_ns() // 1_000_000 - BEHIND
    said = [control for record, control in controls(records, "watermark") if record.partition == 0]
    assert len(said) <= 2 + (time.time_ns() // 1_000_000 - began) // 1000 + 1, "about one a second"


async def test_every_mark_comes_after_the_events_that_it_covers(bench: Bench) -> None:
    hour = 3_600_000
    for number in range(3000):
        await bench.producer.send(
            bench.topics.raw_topics[0], event(f"e{number}", NOW - hour + number * 1000), partition=0
        )
    await bench.producer.flush()
    source = f"{bench.topics.raw_topics[0]}/0"
    async with bench.running():
        records = await bench.until(lambda records: len(events(records)) >= 3000 and source in marks(records))
        for partition in range(PARTITIONS):
            reached = -1
            for record in records:
                if record.partition != partition:
                    continue
                if control_kind(record.headers) is None:
                    assert decode_canonical(record.value).ts >= reached
                else:
                    reached = max(reached, decode_control("watermark", record.value).sources.get(source, -1))  # type: ignore[union-attr]


async def test_a_clock_ten_years_ahead_is_replaced_flagged_and_drags_nobody(bench: Bench) -> None:
    await bench.write(0, event("fast", NOW + 10 * 365 * 86_400_000))
    await bench.write(0, event("little", int(time.time() * 1000) + 60_000))
    async with bench.running():
        records = await bench.until(lambda records: len(events(records)) >= 2 and marks(records))
    by_id = {e.event_id: e for e in (decode_canonical(record.value) for record in events(records))}
    assert abs(by_id["fast"].ts - time.time() * 1000) < 60_000
    assert by_id["fast"].flags == ["ts_in_future"]
    assert by_id["little"].flags is None
    assert by_id["little"].ts > time.time() * 1000
    assert max(marks(records).values()) <= time.time() * 1000 - BEHIND


async def test_under_the_event_clock_only_markers_move_time_and_all_sources_have_to_speak(bench: Bench) -> None:
    old = 1_000_000_000_000
    await bench.write(0, event("e1", old))
    async with bench.running("event"):
        await bench.until(lambda records: len(events(records)) >= 1)
        await asyncio.sleep(1.5)
        assert not controls(await bench.log(), "watermark")
        await bench.progress(old + 1)
        began = time.monotonic()
        records = await bench.until(
            lambda records: all(len(marks(records, p)) == 2 * PARTITIONS for p in range(PARTITIONS))
        )
        assert time.monotonic() - began < 5
    assert set(marks(records).values()) == {old + 1}
    assert decode_canonical(events(records)[0].value).flags is None


async def test_a_marker_that_was_not_said_before_a_crash_is_said_after_it(bench: Bench) -> None:
    """The last marker of a recording comes once: losing it would hold the tracker's time for ever."""

    def silent(append: Any) -> Any:
        async def no_watermarks(records: Sequence[OutRecord]) -> None:
            if any(control_kind(record.headers) == "watermark" for record in records):
                raise Unavailable("the worker dies before it says so")
            await append(records)

        return no_watermarks

    old = 1_000_000_000_000
    await bench.write(0, event("e1", old))
    await bench.progress(old + 1)
    await bench.write(0, event("e2", old + 2))
    async with bench.running("event", silent):
        await bench.until(lambda records: len(events(records)) >= 2)
        await asyncio.sleep(1.5)
    assert not controls(await bench.log(), "watermark")
    async with bench.running("event"):
        records = await bench.until(lambda records: len(marks(records)) == 2 * PARTITIONS)
    assert set(marks(records).values()) == {old + 1}
    assert ids(records).count("e1") == 1, "what lies before the marker was committed"


async def test_what_was_not_acknowledged_is_sent_again_and_nothing_is_skipped(bench: Bench) -> None:
    failures = 3

    def flaky(append: Any) -> Any:
        async def sometimes(records: Sequence[OutRecord]) -> None:
            nonlocal failures
            if failures and any(control_kind(record.headers) is None for record in records):
                failures -= 1
                await append(records[: len(records) // 2])
                raise Unavailable("the broker goes away half-way")
            await append(records)

        return sometimes

    for number in range(40):
        await bench.write(0, event(f"e{number:02}", customer_id=f"c{number}"))
    async with bench.running(wrap=flaky):
        records = await bench.until(lambda records: len(set(ids(records))) >= 40)
    assert failures == 0
    assert set(ids(records)) == {f"e{number:02}" for number in range(40)}
    assert {merge.customer for _, merge in controls(records, "merge")} == {f"c:c{number}" for number in range(40)}


async def test_two_workers_share_the_partitions_and_one_takes_over_from_the_other(bench: Bench) -> None:
    async with bench.running():
        async with bench.running():
            for number in range(30):
                await bench.write(number % 2, event(f"a{number}"), partition=number % PARTITIONS)
            await bench.until(lambda records: len(set(ids(records))) >= 30)
            sources: set[frozenset[str]] = set()
            deadline = time.monotonic() + 20
            while not any(0 < len(names) < 2 * PARTITIONS for names in sources):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.2)
                sources = {frozenset(c.sources) for _, c in controls(await bench.log(), "watermark")}
        for number in range(30):
            await bench.write(number % 2, event(f"b{number}"), partition=number % PARTITIONS)
        records = await bench.until(lambda records: len(set(ids(records))) >= 60, 40)
    assert len(marks(records)) == 2 * PARTITIONS


async def test_a_broker_that_restarts_loses_nothing(namespace: str) -> None:
    with KafkaServer() as kafka:
        async with producing(kafka.bootstrap) as producer:
            bench = Bench(kafka.bootstrap, namespace, producer)
            await prepare(bench)
            async with bench.running():
                await bench.write(0, event("before"))
                await bench.until(lambda records: "before" in ids(records))
                await asyncio.to_thread(kafka.restart, crash=True)
                await bench.write(0, event("after"))
                restarted = time.time_ns() // 1_000_000
                records = await bench.until(
                    lambda records: (
                        "after" in ids(records)
                        and len(marks(records)) == 2 * PARTITIONS
                        and min(marks(records).values()) > restarted - BEHIND
                    ),
                    60,
                )
    assert set(ids(records)) == {"before", "after"}


@pytest.mark.parametrize("clock", ["wall", "event"])
async def test_the_embedded_broker_does_as_well(namespace: str, clock: str) -> None:
    async with embedded_broker() as brokers, producing(brokers, idempotent=False) as producer:
        bench = Bench(brokers, namespace, producer, idempotent=False)
        await prepare(bench)
        for number in range(50):
            await bench.write(number % 2, event(f"e{number:02}"), partition=number % PARTITIONS)
        if clock == "event":
            await bench.progress(NOW + 1)
        async with bench.running(clock):
            records = await bench.until(lambda records: len(marks(records)) == 2 * PARTITIONS)
        await bench.write(0, event("after"))
        async with bench.running(clock):
            records = await bench.until(lambda records: "after" in ids(records))
    assert sorted(ids(records)) == sorted([f"e{number:02}" for number in range(50)] + ["after"])


async def test_a_source_in_backlog_waits_for_one_that_is_further_behind(bench: Bench) -> None:
    hour, count = 3_600_000, 12_000
    older, newer = bench.topics.raw_topics
    for number in range(count):
        await bench.producer.send(older, event(f"old{number}", NOW - 2 * hour), partition=0)
        await bench.producer.send(newer, event(f"new{number}", NOW - hour), partition=0)
    await bench.producer.flush()

    def slow(append: Any) -> Any:
        async def appending(records: Sequence[OutRecord]) -> None:
            values = [record.value or b"" for record in records]
            if any(b'"old' in value for value in values):
                await asyncio.sleep(1.5)
            elif any(b'"new' in value for value in values):
                await asyncio.sleep(0.5)
            await append(records)

        return appending

    async with bench.running(wrap=slow):
        records = await bench.until(lambda records: len(events(records)) >= 2 * count, seconds=60)
    assert bench.metrics.value("tracker_flow_waits_total")
    names = [decode_canonical(record.value).event_id for record in events(records)]
    assert len(names) == len(set(names)) == 2 * count
