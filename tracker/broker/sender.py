"""Appends records to topics as whole batches and waits until the broker has acknowledged every one of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from tracker.broker.batches import Batch, pack, send
from tracker.broker.kafka import FAILURES, discard, make_producer
from tracker.errors import Unavailable
from tracker.stream.ports import OutRecord

OPEN_TIMEOUT = 30.0
SEND_TIMEOUT = 60.0
"""Seconds until a batch that is not acknowledged is given up, and the producer with it: aiokafka can hang after a
broker's restart."""


class Sender:
    """One producer, shared by whoever appends, replaced after any error: after it a producer may be unusable for
    good. Kafka's idempotence keeps the order within a partition and a retry from doubling; without it
    (`idempotent` false) a retry may double a record."""

    def __init__(self, brokers: str, *, idempotent: bool) -> None:
        self._brokers = brokers
        self._idempotent = idempotent
        self._producer: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()
        self._turns: defaultdict[tuple[str, int], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def append(self, records: Sequence[OutRecord]) -> None:
        """Append all records, those of a partition in the order given; returns when every one is acknowledged.
        Calls side by side do not wait for each other. After an error any part of them may be in the log.

        Raises `Unavailable`; `PartitionError`, before anything is sent, for a record that no batch can hold."""
        producer = await self._open()
        batches = pack(producer, records)
        for _, _, batch in batches:
            batch.close()  # goes out at once: there is nothing to linger for
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                answers = await asyncio.gather(*await self._submit(producer, batches), return_exceptions=True)
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
        except FAILURES as error:
            if self._producer is producer:
                self._producer = None
                await discard(producer)
            raise Unavailable(f"{self._brokers} did not acknowledge {len(records)} records: {error!r}") from error

    async def _submit(self, producer: AIOKafkaProducer, batches: Sequence[Batch]) -> list[asyncio.Future[Any]]:
        """Hand batches over, one caller at a time for each partition: aiokafka lets callers that wait for the same
        partition overtake each other, and counts the waiting of the one that lost several times over."""
        futures: list[asyncio.Future[Any]] = []
        for batch in batches:
            async with self._turns[batch[:2]]:
                (future,) = await send(producer, [batch])
            future.add_done_callback(_heard)
            futures.append(future)
        return futures

    async def close(self) -> None:
        """Release the producer; never raises."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await discard(producer)

    async def _open(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._producer is None:
                producer = make_producer(self._brokers, idempotent=self._idempotent)
                try:
                    async with asyncio.timeout(OPEN_TIMEOUT):
                        await producer.start()
                except BaseException as error:
                    await discard(producer)
                    if isinstance(error, FAILURES):
                        raise Unavailable(f"no producer could be started on {self._brokers}: {error!r}") from error
                    raise
                self._producer = producer
            return self._producer


def _heard(future: asyncio.Future[Any]) -> None:
    """Nobody may be left to hear how a batch ended, where one after it was not even taken."""
    if not future.cancelled():
        future.exception()
