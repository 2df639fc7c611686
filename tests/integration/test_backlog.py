"""Nobody looks gone because the tracker was away: whoever's order is in a backlog gets no drop-off, everybody who is
due gets theirs, and nobody before their time. Under the wall clock; `backlog.py` says what of it is simulated."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from aiokafka import AIOKafkaProducer

from tests.integration.backlog import (
    AGO,
    AWAY,
    BEHIND,
    EARLY,
    LATE,
    Raw,
    Said,
    due,
    make_topics,
    paged,
    said,
    spared,
    traffic,
    wall,
    withheld,
    write,
)
from tests.integration.disturbance import OTHERS, kill, reached
from tests.integration.pipeline import Pipeline
from tests.services import KafkaServer, RedisServer
from tests.waiting import until

MOMENTS = 2.0
PAGE = 3
"""Records of a raw partition that are read at once: the few hundred orders of one take more than a second."""
WALL = {"TRACKER_CLOCK": "wall"}


async def prepared(kafka: KafkaServer, redis_server: RedisServer, namespace: str, folder: Path) -> Pipeline:
    pipeline = Pipeline(kafka, redis_server, namespace, folder, **WALL)
    await make_topics(pipeline, kafka.bootstrap)
    await asyncio.to_thread(pipeline.run, "topics")
    return pipeline


def of_kind(found: Said, kind: str) -> int:
    return sum(count for (_, name, *_), count in found.items() if name == kind)


async def caught_up(pipeline: Pipeline, redis_server: RedisServer, since: int) -> None:
    """Every raw partition was read to its end after `since`: in a backlog, time is BEHIND the newest event."""
    await until(lambda: reached(pipeline, redis_server) > since - BEHIND, "the backlog is read", 90)


async def assert_heard(pipeline: Pipeline, raws: Sequence[Raw], expected: Said) -> None:
    """This is said and nothing else, but for what was withheld because of an order, and counted."""
    found = await said(pipeline)
    spared_by_order = withheld(raws, expected, found)
    assert found + spared_by_order == expected
    assert of_kind(spared_by_order, "dropped_off") == pipeline.counters()["withheld:ordered"]


async def heard(pipeline: Pipeline, raws: Sequence[Raw], expected: Said) -> None:
    """All of this is said soon, by a worker that goes on, and no more than this in the next moments."""
    for _ in range(20):
        found = await said(pipeline)
        if found + withheld(raws, expected, found) == expected:
            break
        await asyncio.sleep(0.5)
    await asyncio.sleep(MOMENTS)
    await assert_heard(pipeline, raws, expected)


async def assert_said(pipeline: Pipeline, raws: Sequence[Raw], away: int) -> Said:
    """What is said in the end is what the oracle says, to the last drop-off, and nothing was given up."""
    expected = due(raws, away + EARLY)
    assert expected == due(raws, away + LATE), "the traffic leaves it open what is due by now"
    await assert_heard(pipeline, raws, expected)
    assert [await pipeline.read(topic) for topic in OTHERS] == [[], []]
    assert of_kind(expected, "dropped_off") > 100, "hardly anybody is due"
    return expected


async def test_all_workers_were_away_for_three_hours(
    kafka: KafkaServer, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    pipeline = await prepared(kafka, redis_server, namespace, tmp_path)
    plan = traffic(1500)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        began = wall() - AWAY
        before = [raw.at(began) for raw in plan if raw.stamp < 0]
        await write(producer, pipeline, before)
        with pipeline.worker(command=AGO):
            await caught_up(pipeline, redis_server, began)
        await assert_heard(pipeline, before, due(before, began))

        away = wall() - AWAY
        backlog = [raw.at(away) for raw in plan if raw.stamp >= 0]
        await write(producer, pipeline, backlog)
    everything = [*before, *backlog]
    clicks = [raw for raw in backlog if raw.topic == "shop.clicks"]
    assert spared(everything, [*before, *clicks], away + AWAY) > 100, "hardly anybody's order is in the backlog"
    with pipeline.worker(command=paged(PAGE)):
        await caught_up(pipeline, redis_server, away + AWAY)
    expected = await assert_said(pipeline, everything, away)
    assert of_kind(expected, "recovered") > 10, "hardly anybody came back too late"


async def test_only_ingest_was_away_for_three_hours_while_track_ran(
    kafka: KafkaServer, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    pipeline = await prepared(kafka, redis_server, namespace, tmp_path)
    plan = traffic(1500)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        with pipeline.worker("--only", "track"):
            began = wall() - AWAY
            before = [raw.at(began) for raw in plan if raw.stamp < 0]
            await write(producer, pipeline, before)
            with pipeline.worker("--only", "ingest", command=AGO) as ingest:
                await caught_up(pipeline, redis_server, began)
                kill(ingest)
            first = due(before, began)
            await heard(pipeline, before, first)
            held = reached(pipeline, redis_server)

            away = wall() - AWAY
            backlog = [raw.at(away) for raw in plan if raw.stamp >= 0]
            await write(producer, pipeline, backlog)
            everything = [*before, *backlog]
            await heard(pipeline, everything, first)
            assert reached(pipeline, redis_server) == held, "time stands while ingest is away"
            with pipeline.worker("--only", "ingest", command=paged(1)):
                await caught_up(pipeline, redis_server, away + AWAY)
    await assert_said(pipeline, everything, away)


async def test_one_raw_partition_is_stuck_while_the_others_flow(
    kafka: KafkaServer, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    """A shop's producer hangs within a transaction: whoever reads what is committed gets no further in that one
    partition, whatever others write behind it."""
    pipeline = await prepared(kafka, redis_server, namespace, tmp_path)
    away = wall() - AWAY
    plan = [raw.at(away) for raw in traffic(1500)]
    partition = [raw for raw in plan if (raw.topic, raw.partition) == ("shop.orders", 1)]
    others = [raw for raw in plan if (raw.topic, raw.partition) != ("shop.orders", 1)]
    passed = [raw for raw in partition if raw.stamp < away]
    hanging, behind = partition[len(passed)], partition[len(passed) + 1 :]
    flowing = [*others, *passed]
    held = max(min(raw.event.ts, raw.stamp) for raw in passed) - BEHIND
    assert spared(plan, flowing, away + AWAY) > 50, "hardly anybody's order is stuck"
    async with (
        AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer,
        AIOKafkaProducer(
            bootstrap_servers=kafka.bootstrap, transactional_id=f"{namespace}shop", transaction_timeout_ms=600_000
        ) as shop,
    ):
        await write(producer, pipeline, flowing)
        await shop.begin_transaction()
        await write(shop, pipeline, [hanging])
        await write(producer, pipeline, behind)
        with pipeline.worker():
            await until(lambda: reached(pipeline, redis_server) == held, "time waits for the stuck partition", 90)
            await heard(pipeline, plan, due(flowing, held))
            assert reached(pipeline, redis_server) == held
            await shop.commit_transaction()
            await caught_up(pipeline, redis_server, away + AWAY)
    await assert_said(pipeline, plan, away)


async def test_clicks_are_ten_times_as_many_as_orders(
    kafka: KafkaServer, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    """The few orders are read in a moment, which must not let time pass for the clicks that are still to be read."""
    pipeline = await prepared(kafka, redis_server, namespace, tmp_path)
    away = wall() - AWAY
    plan = [raw.at(away) for raw in traffic(3000, pages=6)]
    clicks = [raw for raw in plan if raw.topic == "shop.clicks"]
    assert len(clicks) > 10 * (len(plan) - len(clicks))
    assert spared(plan, clicks, away + AWAY) > 500, "hardly anybody's order is in the backlog"
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        await write(producer, pipeline, plan)
    with pipeline.worker(command=paged(10 * PAGE)):
        await caught_up(pipeline, redis_server, away + AWAY)
    await assert_said(pipeline, plan, away)
