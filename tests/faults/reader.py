"""Reads what is on the broker at the end: every committed record of a partition, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

SILENCE = 60.0
"""Seconds without anything new after which reading is given up."""


async def read_partition(brokers: str, topic: str, partition: int) -> AsyncIterator[tuple[Sequence[Any], int]]:
    """(records, position after them) of one partition, `read_committed`, up to its present end.

    The end is waited for: a transaction that a killed worker left open holds it back until the broker ends it."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=brokers,
        group_id=None,
        isolation_level="read_committed",
        enable_auto_commit=False,
        max_partition_fetch_bytes=8 * 1024 * 1024,
        fetch_max_wait_ms=100,
    )
    await consumer.start()
    try:
        tp = TopicPartition(topic, partition)
        consumer.assign([tp])
        await consumer.seek_to_beginning(tp)
        loop = asyncio.get_running_loop()
        heard = loop.time()
        while True:
            records = (await consumer.getmany(tp, timeout_ms=500)).get(tp, [])
            position = await consumer.position(tp)
            if records:
                heard = loop.time()
                yield records, position
            end = consumer.highwater(tp)
            if end is not None and position >= end:
                return
            if loop.time() - heard > SILENCE:
                raise TimeoutError(f"{topic}/{partition}: {position} of {end} was read, then nothing came any more")
    finally:
        await consumer.stop()


async def read_all(brokers: str, topic: str, partition: int) -> AsyncIterator[Any]:
    """The same, record by record."""
    async for records, _ in read_partition(brokers, topic, partition):
        for record in records:
            yield record
