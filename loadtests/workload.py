"""Workload W1: shop traffic as canonical events of about 430 bytes, in the log as ingest would have left it.

52,000 customers at 400,000 events (60,000 possible, a few much busier than the others), 10 ms of event time apart.
The same seed gives the same events. The log holds a `watermark` record for all sources per minute of event time in
every partition, and no `config`: that is the worker's to write.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

from tracker.broker.batches import BATCH_BYTES, REQUEST_BYTES, pack, send
from tracker.domain.events import Campaign, Consent, Event, Item
from tracker.stream.ports import OutRecord
from tracker.wire.control import (
    Passed,
    Progress,
    WatermarkMarks,
    control_headers,
    encode_control,
    source_name,
)
from tracker.wire.decode import encode_event
from tracker.wire.partition import partition_of
from tracker.wire.topics import Topics

START = 1_700_000_000_000
STEP = 10
MINUTE = 60_000
DAY = 86_400_000
TYPES = ("page_viewed", "product_viewed", "product_added", "search_performed", "checkout_started")
CAMPAIGN = Campaign("google", "cpc", "autumn")
URL = "https://shop.example/p/123?utm_source=google&utm_medium=cpc"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0 Safari/537.36"
CHUNK = 20_000


class Sent(NamedTuple):
    """One event of the workload."""

    ts: int
    person: str
    value: bytes


def events(count: int, seed: int = 1) -> Iterator[Sent]:
    """`count` events in order of time."""
    random = Random(seed)
    for number in range(count):
        customer = f"c-{int(random.random() * random.random() * 60_000)}"
        kind = random.choice(TYPES)
        product = f"sku-{random.randrange(5000)}"
        event = Event(
            event_id=f"e{number}",
            type=kind,
            ts=START + number * STEP,
            customer_id=customer,
            anonymous_id=f"a{customer}",
            channel="paid_search",
            campaign=CAMPAIGN,
            url=URL,
            user_agent=AGENT,
            consent=Consent(marketing=True),
        )
        if kind.startswith("product") or kind == "checkout_started":
            event.items = [Item(product, price=199.0)]
            event.currency = "NOK"
        yield Sent(event.ts, f"c:{customer}", encode_event(event))


def end_of(count: int, *, finish: bool) -> int:
    """The time of the last watermark, in ms: right after the last event, or (`finish`) a day later, by which every
    session and drop-off of the workload is out."""
    return START + count * STEP + (DAY if finish else 0)


async def fill_log(
    brokers: str, topics: Topics, workload: Sequence[Sent], partitions: int, *, end: int, announce: bool
) -> list[int]:
    """Write the workload to the log, with a last watermark of `end` (ms); answers the offset after the last record
    of every partition.

    `announce` also writes the `passed` records that track would have appended by then, so that time advances while
    the log is read, as it does live; without it the worker has to find out at the end of the log, as after a long
    outage."""
    sources = [source_name(topic, number) for topic in topics.raw_topics for number in range(partitions)]
    async with _producer(brokers) as producer:
        mark = START
        ends = [0] * partitions
        for begin in range(0, len(workload), CHUNK):
            records: list[OutRecord] = []
            for ts, person, value in workload[begin : begin + CHUNK]:
                if ts >= mark:
                    records += _marks(topics, sources, mark, partitions, announce=announce)
                    mark += MINUTE
                key = person.encode()
                records.append(OutRecord(topics.events, partition_of(key, partitions), key, value, (), ts))
            await _write(producer, records, ends)
        await _write(producer, _marks(topics, sources, end, partitions, announce=announce), ends)
    return ends


async def fill_raw(brokers: str, topics: Topics, workload: Sequence[Sent], partitions: int, *, end: int) -> list[int]:
    """Write the workload to the first raw topic as a shop would, and the markers of a replay to all of them;
    answers the offset after the last record of every partition of the first."""
    first = topics.raw_topics[0]
    async with _producer(brokers) as producer:
        mark = START + MINUTE
        ends = [0] * partitions
        for begin in range(0, len(workload), CHUNK):
            records: list[OutRecord] = []
            for ts, person, value in workload[begin : begin + CHUNK]:
                if ts >= mark:
                    records += _progress(topics, mark, partitions)
                    mark += MINUTE
                key = person.encode()
                records.append(OutRecord(first, partition_of(key, partitions), key, value, (), ts))
            await _write(producer, records, ends)
        await _write(producer, _progress(topics, end, partitions), ends)
    return ends


def _marks(topics: Topics, sources: Sequence[str], ts: int, partitions: int, *, announce: bool) -> list[OutRecord]:
    said: list[WatermarkMarks | Passed] = [WatermarkMarks(dict.fromkeys(sources, ts))]
    if announce:
        said.append(Passed(dict.fromkeys(range(partitions), (ts, ts))))
    return [
        OutRecord(topics.events, partition, None, encode_control(record), control_headers(record), ts)
        for record in said
        for partition in range(partitions)
    ]


def _progress(topics: Topics, ts: int, partitions: int) -> list[OutRecord]:
    record = Progress(ts)
    return [
        OutRecord(topic, partition, None, encode_control(record), control_headers(record), ts)
        for topic in topics.raw_topics
        for partition in range(partitions)
    ]


def _producer(brokers: str) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        bootstrap_servers=brokers, acks="all", max_batch_size=BATCH_BYTES, max_request_size=REQUEST_BYTES
    )


async def _write(producer: AIOKafkaProducer, records: Sequence[OutRecord], ends: list[int]) -> None:
    """Write and wait; `ends` follows the highest offset of each partition of the topic that events go to."""
    topic = next((record.topic for record in records if record.key), records[0].topic)
    batches = pack(producer, records)
    futures = await send(producer, batches)
    for (batch_topic, partition, batch), future in zip(batches, futures, strict=True):
        metadata = await future
        if batch_topic == topic:
            ends[partition] = max(ends[partition], metadata.offset + batch.record_count())
