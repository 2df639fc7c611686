"""The partition processor shows the watchdog whatever has to move, and does not wait for what cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import TopicPartition

from tracker.health import Health
from tracker.metrics import Metrics
from tracker.stream.ports import Record
from tracker.stream.processor import PartitionProcessor

HERE = TopicPartition("shop.clicks", 1)


class SilentConsumer:
    """Has one partition, of which the broker says nothing any more, as after the end of aiokafka's fetching task."""

    def assignment(self) -> set[TopicPartition]:
        return {HERE}

    def last_poll_timestamp(self, partition: TopicPartition) -> int | None:
        return None

    async def getmany(self, *partitions: TopicPartition, **options: Any) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(0.001)
        return {}

    def highwater(self, partition: TopicPartition) -> int | None:
        return None

    def seek(self, partition: TopicPartition, offset: int) -> None: ...
    def pause(self, *partitions: TopicPartition) -> None: ...
    def resume(self, *partitions: TopicPartition) -> None: ...
    async def stop(self) -> None: ...


class Stage:
    """Does nothing with a partition."""

    steps = 0

    async def assign(self) -> int:
        return 0

    async def handle(self, records: Sequence[Record], following: int) -> None: ...
    async def idle(self) -> None: ...
    async def release(self) -> None: ...
    def leave(self) -> None: ...
    def behind(self) -> float | None:
        return None


async def nothing() -> None: ...


async def test_a_partition_of_which_nothing_was_read_since_it_was_taken_over_is_watched_too() -> None:
    processor = PartitionProcessor(
        "ingest", SilentConsumer(), ["shop.clicks"], lambda _: Stage(), Metrics(), nothing, Health(), batch=1
    )
    await processor.on_partitions_assigned([HERE])
    async with asyncio.timeout(5):
        while "reading shop.clicks/1" not in processor._progress():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)
    first = processor._progress()
    await asyncio.sleep(0.02)
    assert processor._progress() == first, "so the watchdog sees that it stands still"
    await processor.on_partitions_revoked([HERE])


class DeafConsumer(SilentConsumer):
    """Its poll waits for the next assignment, as aiokafka's does where records come while a rebalance begins."""

    async def getmany(self, *partitions: TopicPartition, **options: Any) -> dict[TopicPartition, list[Any]]:
        await asyncio.Event().wait()
        raise AssertionError("not reached")


async def test_a_rebalance_does_not_wait_for_a_poll_that_waits_for_the_rebalance() -> None:
    processor = PartitionProcessor(
        "ingest", DeafConsumer(), ["shop.clicks"], lambda _: Stage(), Metrics(), nothing, Health(), batch=1
    )
    await processor.on_partitions_assigned([HERE])
    async with asyncio.timeout(5):
        while not processor.owned:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)
        await processor.on_partitions_revoked([HERE])
    assert not processor.owned


async def test_what_is_assigned_while_the_worker_leaves_is_not_begun() -> None:
    processor = PartitionProcessor(
        "ingest", SilentConsumer(), ["shop.clicks"], lambda _: Stage(), Metrics(), nothing, Health(), batch=1
    )
    await processor.stop()
    await processor.on_partitions_assigned([HERE])
    await asyncio.sleep(0.01)
    assert not processor._tasks
    assert not processor.owned
