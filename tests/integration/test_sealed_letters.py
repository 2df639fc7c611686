"""Dead letters that are redacted or encrypted, through the real commands: sent again they are what they were."""

from __future__ import annotations

import asyncio
import json
import secrets
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from cryptography.fernet import Fernet

from tests.integration.pipeline import PARTITIONS, Pipeline
from tests.services import KafkaServer, RedisServer
from tests.waiting import until

VALUE = b'{"event_id": "e1", "type": "page_viewed", "ts": "kari@example.com", "customer_id": "kari@example.com"}'
HIDDEN = b"kari@example.com"
KEY = Fernet.generate_key().decode()


async def send(kafka: KafkaServer, topic: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    await producer.start()
    try:
        await producer.send_and_wait(topic, VALUE, HIDDEN, partition=0, headers=[("trace", HIDDEN)])
    finally:
        await producer.stop()


async def records(kafka: KafkaServer, topic: str) -> list[ConsumerRecord]:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        tps = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        consumer.assign(tps)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(tps)
        found: list[ConsumerRecord] = []
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found += batch
        return found
    finally:
        await consumer.stop()


@pytest.mark.parametrize("mode", ["redacted", "encrypted"])
def test_a_sealed_letter_hides_the_record_and_sends_it_again(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path: Path, mode: str
) -> None:
    settings = {"TRACKER_DEAD_LETTERS": mode, **({"TRACKER_DEAD_LETTERS_KEY": KEY} if mode == "encrypted" else {})}
    pipeline = Pipeline(kafka, redis_server, f"t{secrets.token_hex(3)}.", tmp_path, **settings)
    pipeline.run("topics")
    raw, letters = pipeline.prefix + "shop.clicks", pipeline.prefix + "journey.dead-letters"
    with pipeline.worker():
        asyncio.run(send(kafka, raw))
        asyncio.run(until_there(kafka, letters, 1))
        (letter,) = asyncio.run(records(kafka, letters))
        assert HIDDEN not in b"".join([letter.key or b"", letter.value or b"", *(given for _, given in letter.headers)])
        (listed,) = json.loads(pipeline.run("dead-letters", "list", "--json"))
        assert listed["reason"] == "bad_ts"
        assert listed["sealed"] == ("redacted" if mode == "redacted" else None)
        assert (HIDDEN.decode() in listed["detail"]) == (mode == "encrypted")
        again = json.loads(pipeline.run("dead-letters", "replay", "--json"))
        assert (again["sent"], again["too_large"], again["sealed"]) == (1, 0, 0)
        first, second = asyncio.run(records(kafka, raw))
        assert (second.key, second.value) == (first.key, first.value) == (HIDDEN, VALUE)
        assert second.headers[:1] == first.headers
    assert HIDDEN.decode() not in pipeline.worker_log()
    assert KEY not in pipeline.worker_log()


def test_without_its_key_an_encrypted_letter_stays_closed(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    settings = {"TRACKER_DEAD_LETTERS": "encrypted", "TRACKER_DEAD_LETTERS_KEY": KEY}
    pipeline = Pipeline(kafka, redis_server, f"t{secrets.token_hex(3)}.", tmp_path, **settings)
    pipeline.run("topics")
    with pipeline.worker():
        asyncio.run(send(kafka, pipeline.prefix + "shop.clicks"))
        asyncio.run(until_there(kafka, pipeline.prefix + "journey.dead-letters", 1))
    other = Pipeline(kafka, redis_server, pipeline.prefix, tmp_path)
    (listed,) = json.loads(other.run("dead-letters", "list", "--json"))
    assert (listed["sealed"], listed["detail"], listed["begins"]) == ("encrypted", "", "")
    assert json.loads(other.run("dead-letters", "replay", "--json"))["sealed"] == 1


async def until_there(kafka: KafkaServer, topic: str, number: int) -> None:
    found: list[ConsumerRecord] = []

    async def look() -> None:
        while len(found) < number:
            found[:] = await records(kafka, topic)
            await asyncio.sleep(0.2)

    task = asyncio.create_task(look())
    await until(lambda: len(found) >= number, f"{number} letters")
    await task
