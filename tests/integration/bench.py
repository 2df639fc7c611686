"""Ingest in this process on a real broker, raw topics to write, and what comes into the log and the dead letters."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from tracker.broker.batches import BATCH_BYTES
from tracker.broker.kafka import make_consumer, partitions_of
from tracker.broker.sender import Sender
from tracker.broker.topics import ensure_topics
from tracker.health import Health
from tracker.metrics import Metrics
from tracker.settings import Settings
from tracker.stream.ingest import Ingest
from tracker.wire.control import Progress, control_headers, control_kind, decode_control, encode_control
from tracker.wire.deadletters import DeadLetter, read_letter
from tracker.wire.decode import decode_canonical
from tracker.wire.topics import Topics
from tracker.wiring.dialects import Dialects

PARTITIONS = 3
RAW = ("shop.clicks", "shop.orders")
BEHIND = 30_000
NOW = time.time_ns() // 1_000_000


class MemoryBoard:
    """What workers say of their sources."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    async def exchange(self, mine: Mapping[str, str], gone: Sequence[str]) -> dict[str, str]:
        for source in gone:
            self.words.pop(source, None)
        self.words |= mine
        return dict(self.words)


class Bench:
    """A namespace with its topics on a real broker, and hands to write raw topics and read the log with."""

    def __init__(self, brokers: str, namespace: str, producer: AIOKafkaProducer, *, idempotent: bool = True) -> None:
        self.brokers = brokers
        self.idempotent = idempotent
        self.topics = Topics(namespace, RAW)
        self.producer = producer
        self.metrics = Metrics()
        self.board = MemoryBoard()
        self.more: dict[str, Any] = {}
        """Settings of the next ingest."""

    async def write(self, topic: int, value: bytes, partition: int = 0, **more: Any) -> None:
        await self.producer.send_and_wait(self.topics.raw_topics[topic], value, partition=partition, **more)

    async def progress(self, ts: int) -> None:
        marker = Progress(ts)
        for topic in self.topics.raw_topics:
            for partition in range(PARTITIONS):
                await self.producer.send_and_wait(
                    topic, encode_control(marker), partition=partition, headers=control_headers(marker)
                )

    def ingest(self, clock: str = "wall", append: Any = None, sender: Sender | None = None) -> Ingest:
        settings = Settings(
            namespace=self.topics.namespace, raw_topics=RAW, clock=clock, out_of_orderness=BEHIND, **self.more
        )
        counts = dict.fromkeys([*self.topics.raw_topics, *self.topics.produced], PARTITIONS)
        consumer = make_consumer(self.brokers, self.topics.ingest_group, session_timeout_ms=6000)
        append = append or (sender.append if sender else None)
        return Ingest(
            consumer,
            append,
            self.topics,
            counts,
            Dialects(settings, self.topics),
            self.board,
            settings,
            self.metrics,
            lambda: partitions_of(self.brokers, self.topics.events),
            Health(["ingest"]),
            record_bytes=BATCH_BYTES,
        )

    @asynccontextmanager
    async def running(self, clock: str = "wall", wrap: Any = None) -> AsyncIterator[Ingest]:
        sender = Sender(self.brokers, idempotent=self.idempotent)
        ingest = self.ingest(clock, append=wrap(sender.append) if wrap else sender.append)
        await ingest.start()
        task = asyncio.create_task(ingest.run())
        try:
            yield ingest
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await ingest.stop()
            await sender.close()

    async def log(self) -> list[Any]:
        """Everything in journey.events, by partition and offset."""
        return await read_all(self.brokers, self.topics.events, PARTITIONS)

    async def until(self, enough: Any, seconds: float = 20) -> list[Any]:
        """The log, once it is enough."""
        deadline = time.monotonic() + seconds
        while True:
            records = await self.log()
            if enough(records):
                return records
            assert time.monotonic() < deadline, f"not within {seconds} s: {[(r.key, r.value) for r in records]}"
            await asyncio.sleep(0.1)


async def read_all(brokers: str, topic: str, partitions: int) -> list[Any]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=brokers, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    async with consumer:
        tps = [TopicPartition(topic, partition) for partition in range(partitions)]
        consumer.assign(tps)
        records: list[Any] = []
        while True:
            for found in (await consumer.getmany(timeout_ms=100)).values():
                records += found
            ends = {tp: consumer.highwater(tp) for tp in tps}  # right on both brokers, which end_offsets is not
            if all([end is not None and await consumer.position(tp) >= end for tp, end in ends.items()]):
                break
        return sorted(records, key=lambda record: (record.partition, record.offset))


def events(records: Sequence[Any]) -> list[Any]:
    return [record for record in records if control_kind(record.headers) is None]


def ids(records: Sequence[Any]) -> list[str]:
    return [decode_canonical(record.value).event_id for record in events(records)]


def controls(records: Sequence[Any], kind: str) -> list[tuple[Any, Any]]:
    return [(record, decode_control(kind, record.value)) for record in records if control_kind(record.headers) == kind]


def marks(records: Sequence[Any], partition: int = 0) -> dict[str, int]:
    """The highest mark of each source in one partition of the log."""
    highest: dict[str, int] = {}
    for record, control in controls(records, "watermark"):
        if record.partition == partition:
            for source, ts in control.sources.items():
                highest[source] = max(ts, highest.get(source, ts))
    return highest


def event(event_id: str, ts: int = NOW, **more: Any) -> bytes:
    return json.dumps({"event_id": event_id, "type": "page_viewed", "ts": ts, "anonymous_id": "v1"} | more).encode()


@asynccontextmanager
async def producing(brokers: str, *, idempotent: bool = True) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        bootstrap_servers=brokers, acks="all", enable_idempotence=idempotent, max_request_size=8 * 1024 * 1024
    )
    async with producer:
        yield producer


async def prepare(bench: Bench) -> None:
    await ensure_topics(
        bench.brokers,
        bench.topics,
        partitions=PARTITIONS,
        replication=1,
        events_retention=86_400_000,
        outputs_retention=86_400_000,
    )


async def letters(bench: Bench, enough: int = 1, seconds: float = 20) -> list[DeadLetter]:
    deadline = time.monotonic() + seconds
    while True:
        records = await read_all(bench.brokers, bench.topics.dead_letters, PARTITIONS)
        if len(records) >= enough:
            return [read_letter(record.key, record.value, record.headers) for record in records]
        assert time.monotonic() < deadline, f"{len(records)} of {enough} letters"
        await asyncio.sleep(0.1)
