from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis.asyncio import Redis

from tests.services import KafkaServer, RedisServer


async def _create(kafka: KafkaServer, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def _send(kafka: KafkaServer, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=f"{topic}-tx")
    async with producer, producer.transaction():
        await producer.send(topic, value, partition=0)


async def _read(kafka: KafkaServer, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap, isolation_level="read_committed", enable_auto_commit=False
    )
    async with consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        return [(await asyncio.wait_for(consumer.getone(), 30)).value for _ in range(count)]


async def test_the_shared_broker_does_transactions(kafka: KafkaServer, namespace: str) -> None:
    topic = f"{namespace}numbers"
    await _create(kafka, topic)
    await _send(kafka, topic, b"1")
    assert await _read(kafka, topic, 1) == [b"1"]


@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "killed"])
async def test_a_broker_keeps_its_address_and_its_records_over_a_restart(crash: bool) -> None:
    with KafkaServer() as kafka:
        await _create(kafka, "numbers")
        await _send(kafka, "numbers", b"1")
        before = kafka.bootstrap
        await asyncio.to_thread(kafka.restart, crash=crash)
        assert kafka.bootstrap == before
        await _send(kafka, "numbers", b"2")
        assert await _read(kafka, "numbers", 2) == [b"1", b"2"]
        folder = kafka.folder
    assert not kafka.alive
    assert not folder.exists()


@pytest.mark.parametrize("aof", [False, True], ids=["memory", "aof"])
async def test_redis_keeps_what_it_was_told_over_a_stop_only_with_an_append_only_file(aof: bool) -> None:
    with RedisServer(aof=aof) as server:
        async with Redis.from_url(server.url) as redis:
            await redis.set("key", "value")
        server.restart()
        async with Redis.from_url(server.url) as redis:
            assert await redis.get("key") == (b"value" if aof else None)


async def test_redis_takes_further_directives() -> None:
    with RedisServer({"maxmemory": "10mb"}, aof=True) as server:
        async with Redis.from_url(server.url) as redis:
            assert (await redis.config_get("maxmemory"))["maxmemory"] == str(10 * 1024 * 1024)
            assert (await redis.config_get("appendfsync"))["appendfsync"] == "everysec"


async def test_redis_comes_back_with_the_data_of_a_snapshot_and_keeps_what_follows() -> None:
    with RedisServer(aof=True) as server:
        async with Redis.from_url(server.url) as redis:
            await redis.set("key", "then")
            snapshot = server.snapshot()
            await redis.set("key", "now")
        server.restore(snapshot)
        async with Redis.from_url(server.url) as redis:
            assert await redis.get("key") == b"then"
            await redis.set("key", "later")
        server.restart()
        async with Redis.from_url(server.url) as redis:
            assert await redis.get("key") == b"later"
