"""The judge at the end of a small campaign in which nothing was broken, but something was tampered with afterwards:
whatever is missing, double or changed has to be named, or a clean campaign would mean nothing."""

from __future__ import annotations

from pathlib import Path

import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from tests.faults.campaign import NAMESPACE, campaign
from tests.faults.guards import MUTANT
from tests.faults.plan import Plan
from tests.services import KafkaServer, RedisServer

PLAN = Plan(seed=5, minutes=0.25, rate=300, speed=3000)


async def test_what_is_lost_doubled_or_changed_afterwards_is_named(tmp_path: Path) -> None:
    report = await campaign(PLAN, 1, [], tmp_path, lambda _: None, tamper=damage)
    violations = report.verdict.violations.copy()
    assert violations.pop("outputs missing") == 1
    assert violations.pop("outputs duplicated") == 1
    assert violations.pop("dead letters of good records") == 1
    assert violations.pop("states missing") == 1
    assert violations.pop("counters differ") == 1
    assert violations.pop("inputs not accounted for") == 1
    # The oracle, which knows nothing of the log, sees the same from its side.
    assert all(what.endswith("differ from the oracle's") or "timers" in what for what in violations)
    assert violations
    assert not report.clean
    assert "VIOLATION: outputs missing: 1" in report.as_text()


async def test_an_input_that_is_lost_on_its_way_is_not_accounted_for(tmp_path: Path) -> None:
    life = next(life for life in map(PLAN.life, range(PLAN.people)) if life.sent_until(PLAN.end))
    command = [*MUTANT, "--lose", life.events[0].event_id, "worker"]
    report = await campaign(PLAN, 1, [], tmp_path, lambda _: None, command=command)
    violations, counts = report.verdict.violations, report.verdict.counts
    assert violations["inputs not accounted for"] == 1
    assert violations["inputs missing"] == 1
    assert "outputs duplicated" not in violations
    assert counts["raw events"] >= counts["events sent"] > counts["distinct events sent"] > counts["applied"]


async def test_an_output_that_is_said_again_is_named_and_is_no_input(tmp_path: Path) -> None:
    report = await campaign(PLAN, 1, [], tmp_path, lambda _: None, tamper=say_again)
    violations, counts = report.verdict.violations, report.verdict.counts
    assert violations["outputs duplicated"] == 1
    assert not [what for what in violations if what.startswith(("inputs", "raw records"))]
    assert counts["raw records"] == counts["applied"] + counts["duplicates"] + counts["late"]
    assert counts["applied"] == counts["distinct events sent"] - counts["late"] < counts["events sent"]


async def say_again(kafka: KafkaServer, _: RedisServer) -> None:
    """A transition twice."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, isolation_level="read_committed")
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    async with consumer, producer:
        transitions = TopicPartition(f"{NAMESPACE}journey.transitions", 0)
        consumer.assign([transitions])
        await consumer.seek_to_beginning()
        said = await consumer.getone(transitions)
        await producer.send_and_wait(transitions.topic, said.value, said.key, partition=0)


async def damage(kafka: KafkaServer, store: RedisServer) -> None:
    """One session less, one drop-off twice, a dead letter of a good record, one state less, an order more."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, isolation_level="read_committed")
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await consumer.start()
    await producer.start()
    try:
        sessions = TopicPartition(f"{NAMESPACE}journey.sessions", 0)
        dropoffs = TopicPartition(f"{NAMESPACE}journey.dropoffs", 0)
        consumer.assign([sessions, dropoffs])
        await consumer.seek_to_beginning()
        first = await consumer.getone(sessions)
        await admin.delete_records({sessions: RecordsToDelete(before_offset=first.offset + 1)})
        said = await consumer.getone(dropoffs)
        await producer.send_and_wait(dropoffs.topic, said.value, said.key, partition=0)
        origin = {"source-topic": b"faults.shop.clicks", "source-partition": b"0", "source-offset": b"0"}
        await producer.send_and_wait(f"{NAMESPACE}journey.dead-letters", b"x", headers=list(origin.items()))
    finally:
        await producer.stop()
        await consumer.stop()
        await admin.close()
    with redis.Redis.from_url(store.url) as client:
        state = next(key for key in client.scan_iter(match=f"{NAMESPACE}{{p0}}:s:c:*"))
        client.delete(state)
        client.hincrby(f"{NAMESPACE}{{p0}}:map", "orders", 1)
