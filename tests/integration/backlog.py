"""A shop's traffic of six hours, of which the tracker has missed the last three: made up, written, and judged.

Three hours cannot be waited for, so the raw topics are made with `message.timestamp.type=CreateTime` and every record
carries the time at which the broker would have stamped it: some seconds after the event, in the order of the
partition. A worker that is to run three hours ago is started by `AGO`, with the clock of its process set back; its
stopwatches (`time.monotonic`) and the broker's clock stay as they are. Everything else is real: servers, processes,
high watermarks, commits, and the wall clock of the worker that finds the backlog.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from msgspec.structs import replace

from tests.integration.pipeline import Pipeline
from tests.oracle import naive
from tracker.domain.events import Event, Item
from tracker.wire.decode import encode_event

MINUTE = 60_000
AWAY = 180 * MINUTE
BEHIND = 30_000
"""TRACKER_OUT_OF_ORDERNESS, by default."""
SLOWEST = 10_000
"""The longest (ms) from an event to its record: less than BEHIND, so that no event is out of order."""
PARTITIONS = {"shop.clicks": 2, "shop.orders": 2}
EARLY, LATE = AWAY - 15 * MINUTE, AWAY + 20 * MINUTE
"""Nothing becomes due between these times, so it does not matter how long a test takes."""
LONGEST_PAUSE = 5 * MINUTE
"""While a test writes and looks, between the last that the tracker sees and the first that it misses."""
AGO = [
    sys.executable,
    "-c",
    f"""
import time

def back(read, amount):
    return lambda: read() - amount

time.time, time.time_ns = back(time.time, {AWAY // 1000}), back(time.time_ns, {AWAY} * 1_000_000)
from tracker.cli import main
main(prog_name="tracker")
""",
]
FETCH = 4096
"""Bytes of a raw partition that `paged` fetches at once: a record batch at the least."""


def paged(records: int) -> list[str]:
    """The tracker where a raw partition is fetched and read so few records at a time that a backlog takes it seconds:
    the first that it says of time comes before the last that it reads."""
    return [
        sys.executable,
        "-c",
        f"""
import functools
from tracker.stream import ingest
from tracker.wiring import parts

assert ingest.BATCH_RECORDS > {records}
ingest.BATCH_RECORDS = {records}
parts.make_consumer = functools.partial(parts.make_consumer, max_partition_fetch_bytes={FETCH})
from tracker.cli import main
main(prog_name="tracker")
""",
    ]


Said = Counter[tuple[str, str, int, int]]
"""How often: (person, kind, armed at, detected at); times in ms."""


def wall() -> int:
    """The machine's time in ms UTC."""
    return time.time_ns() // 1_000_000


class Raw(NamedTuple):
    """An event with where and when (ms) the broker gets it; times count from the moment the tracker went away."""

    topic: str
    partition: int
    stamp: int
    event: Event

    def at(self, moment: int) -> Raw:
        """The same where the tracker went away at `moment`."""
        event = replace(self.event, ts=self.event.ts + moment)
        return self._replace(stamp=self.stamp + moment, event=event)


def traffic(visitors: int, pages: int = 0, seed: int = 1) -> list[Raw]:
    """Visits from three hours before to three hours after, in the order in which the broker gets them. A visitor
    looks, many fill a cart or get to the checkout, most of them order within four hours: from a backend, in a topic
    of its own. `pages` is how many pages each looks at besides."""
    random = Random(seed)
    found: list[Raw] = []
    number = 0
    while number < visitors:
        events = _visit(random, f"p{number}", pages)
        if _settled(events):
            found += [_sent(random, event) for event in events]
            number += 1
    return sorted(found, key=lambda raw: raw.stamp)


def _visit(random: Random, customer: str, pages: int) -> list[Event]:
    last = AWAY - 2 * MINUTE
    begun = random.randrange(-AWAY, last - 20 * MINUTE)
    types = ["product_viewed", "product_added", "checkout_started"][: random.choice((1, 2, 2, 3))]
    times = [begun + step * random.randrange(MINUTE, 5 * MINUTE) for step in range(len(types))]
    types += ["page_viewed"] * pages
    times += [begun + random.randrange(15 * MINUTE) for _ in range(pages)]
    if random.random() < 0.7:
        types.append("order_completed")
        times.append(max(times) + random.randrange(MINUTE, 240 * MINUTE))
    return [
        Event(
            f"{customer}-{number}",
            type_,
            ts,
            customer_id=customer,
            order_id=f"o-{customer}" if type_ == "order_completed" else None,
            items=[Item("sku-1", price=100.0)] if type_ in {"product_added", "order_completed"} else [],
            currency="NOK",
        )
        for number, (type_, ts) in enumerate(zip(types, times, strict=True))
        if ts < last
    ]


def _settled(events: Sequence[Event]) -> bool:
    """Whether it is, also where some minutes lie between what the tracker has seen and what it has missed."""
    for pause in (0, LONGEST_PAUSE):
        moved = [replace(event, ts=event.ts - pause) if event.ts < 0 else event for event in events]
        early, late = naive.fold(moved, EARLY), naive.fold(moved, LATE)
        if (early.drop_offs, early.recoveries) != (late.drop_offs, late.recoveries):
            return False
    return True


def _sent(random: Random, event: Event) -> Raw:
    topic = "shop.orders" if event.type == "order_completed" else "shop.clicks"
    return Raw(topic, random.randrange(PARTITIONS[topic]), event.ts + random.randrange(SLOWEST), event)


def due(raws: Iterable[Raw], watermark: int) -> Said:
    """What must have been said by `watermark`, in ms: the naive fold's word."""
    persons: defaultdict[str, list[Event]] = defaultdict(list)
    for raw in raws:
        persons[f"c:{raw.event.customer_id}"].append(raw.event)
    said: Said = Counter()
    for person, events in persons.items():
        fold = naive.fold(events, watermark)
        recovered = {recovery.armed_by for recovery in fold.recoveries}
        for one in fold.drop_offs:
            said[person, "dropped_off", one.armed_at, one.detected_at] += 1
            if one.armed_by in recovered:
                said[person, "recovered", one.armed_at, one.detected_at] += 1
    return said


def spared(raws: Sequence[Raw], known: Sequence[Raw], watermark: int) -> int:
    """How many drop-offs, said by `watermark` where only what is `known` counts, are wrong in view of all of it."""
    wrong = due(known, watermark) - due(raws, watermark)
    return sum(count for (_, kind, *_), count in wrong.items() if kind == "dropped_off")


def withheld(raws: Iterable[Raw], expected: Said, found: Said) -> Said:
    """What is expected and was not found, of those who ordered at or after their drop-off was detected: where an order
    is read before the clicks, the drop-off is withheld, and recovered no more."""
    orders = {f"c:{raw.event.customer_id}": raw.event.ts for raw in raws if raw.event.type == "order_completed"}
    return Counter({one: n for one, n in (expected - found).items() if orders.get(one[0], one[3] - 1) >= one[3]})


async def said(pipeline: Pipeline) -> Said:
    """What a `read_committed` reader finds."""
    return Counter(
        (one["person_id"], one["kind"], one["armed_at"], one["detected_at"])
        for one in await pipeline.read("journey.dropoffs")
    )


async def make_topics(pipeline: Pipeline, brokers: str) -> None:
    """The raw topics, so that their producers say when a record came."""
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    try:
        created = {"message.timestamp.type": "CreateTime"}
        await admin.create_topics(
            [NewTopic(pipeline.prefix + topic, count, 1, topic_configs=created) for topic, count in PARTITIONS.items()]
        )
    finally:
        await admin.close()


async def write(producer: AIOKafkaProducer, pipeline: Pipeline, raws: Iterable[Raw]) -> None:
    """All of it, in this order, acknowledged."""
    sent: list[Any] = [
        await producer.send(
            pipeline.prefix + raw.topic, encode_event(raw.event), partition=raw.partition, timestamp_ms=raw.stamp
        )
        for raw in raws
    ]
    for future in sent:
        await future
