"""What exactly once costs: the worker's CPU and the time until an output can be read, against at-least-once publishing.

python -m loadtests.delivery [--events 200000] [--repeat 3] [--rate 100] [--seconds 20] [--json]

In one run, on a real Kafka and Redis, alternating between `TRACKER_DELIVERY` exactly_once and at_least_once:

- **CPU**: the `track` worker on a log that is already there, measured as by `loadtests.hot_path`.
- **Latency**: `--rate` new customers a second, each with one event that moves them into a phase, are written to the
  log on a fixed schedule (no event waits for an earlier one). From the broker's timestamp of the event to the moment
  at which a reader of journey.transitions has the output: read_committed for exactly once, else read_uncommitted.
  It begins when outputs of every partition have come; two seconds to warm up do not count.

Ratios and differences are taken within a pair. The servers are started for the run, unless TRACKER_BROKERS and
TRACKER_REDIS_URL say where others are; for latencies they must share this machine's clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from loadtests.measuring import (
    AT_LEAST_ONCE,
    COMPILED,
    EXACTLY_ONCE,
    PARTITIONS,
    PATIENCE,
    Measured,
    Servers,
    make_topics,
    measure_worker,
    prepare,
    servers,
    spread,
    worker,
)
from loadtests.workload import START, STEP, end_of, events
from tracker.broker.kafka import make_producer
from tracker.domain.events import Event
from tracker.wire.decode import encode_event
from tracker.wire.partition import partition_of
from tracker.wire.topics import Topics

DELIVERIES = (EXACTLY_ONCE, AT_LEAST_ONCE)
WARM_UP = 2.0
FIRST = 40
"""Events by which every partition has some."""


class Latency(NamedTuple):
    """Milliseconds from an event's append to its output being readable."""

    p50: float
    p99: float
    samples: int


async def measure_latency(where: Servers, delivery: str, rate: float, seconds: float) -> Latency:
    """At `rate` events per second, for `seconds` after warming up."""
    topics = await make_topics(where)
    warming, total = int(WARM_UP * rate), int((WARM_UP + seconds) * rate)
    first = [_event(number) for number in range(-FIRST, 0)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=where.brokers,
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed" if delivery == EXACTLY_ONCE else "read_uncommitted",
    )
    settings = {"TRACKER_DELIVERY": delivery}
    async with (
        worker(where, topics, settings),
        consumer,
        make_producer(where.brokers, idempotent=True, linger_ms=0) as producer,
    ):
        partitions = [TopicPartition(topics.transitions, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        async with asyncio.timeout(PATIENCE):
            await _append(producer, topics, first, rate)
            await _readable(consumer, FIRST)
            scheduled = [_event(number) for number in range(total)]
            readable, appended = await asyncio.gather(
                _readable(consumer, total), _append(producer, topics, scheduled, rate)
            )
    taken = [readable[event_id] - at for event_id, at in appended[warming:]]
    return Latency(statistics.median(taken), statistics.quantiles(taken, n=100)[-1], len(taken))


def _event(number: int) -> Event:
    return Event(f"e{number}", "product_viewed", START + number * STEP, customer_id=f"c{number}")


async def _append(
    producer: AIOKafkaProducer, topics: Topics, scheduled: Sequence[Event], rate: float
) -> list[tuple[str, int]]:
    """(event id, the broker's timestamp in ms) of each event, written at `rate` per second."""
    sent: list[tuple[str, Any]] = []
    begun = time.monotonic()
    for number, event in enumerate(scheduled):
        await asyncio.sleep(max(begun + number / rate - time.monotonic(), 0))
        key = f"c:{event.customer_id}".encode()
        future = await producer.send(
            topics.events, encode_event(event), key=key, partition=partition_of(key, PARTITIONS)
        )
        sent.append((event.event_id, future))
    return [(event_id, (await future).timestamp) for event_id, future in sent]


async def _readable(consumer: AIOKafkaConsumer, total: int) -> dict[str, float]:
    """When (ms since 1970) the first output of each event was there."""
    found: dict[str, float] = {}
    while len(found) < total:
        polled = await consumer.getmany(timeout_ms=1000)
        now = time.time() * 1000
        for records in polled.values():
            for record in records:
                found.setdefault(json.loads(record.value)["event_id"], now)
    return found


def report_cpu(done: dict[str, list[Measured]]) -> None:
    """Rates, and what one delivery costs of the other's."""
    for delivery, runs in done.items():
        print(f"{delivery:14}{spread([one.rate for one in runs])} events/CPU-s, {runs[-1].outputs:,} outputs")
    pairs = list(zip(done[EXACTLY_ONCE], done[AT_LEAST_ONCE], strict=True))
    print(f"{'ratio':14}{spread([exact.rate / plain.rate for exact, plain in pairs], '.3f')}")


def report_latency(done: dict[str, list[Latency]]) -> None:
    """Percentiles, and what one delivery adds to the other's."""
    for delivery, runs in done.items():
        print(f"{delivery:14}{_percentiles(runs)}")
    pairs = zip(done[EXACTLY_ONCE], done[AT_LEAST_ONCE], strict=True)
    added = [Latency(exact.p50 - plain.p50, exact.p99 - plain.p99, exact.samples) for exact, plain in pairs]
    print(f"{'added':14}{_percentiles(added)}")


def _percentiles(runs: Sequence[Latency]) -> str:
    return f"p50 {spread([one.p50 for one in runs], '.1f')} ms, p99 {spread([one.p99 for one in runs], '.1f')} ms"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--rate", type=float, default=100.0, help="events per second, for the latency")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long, for the latency")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    workload = list(events(chosen.events))
    end = end_of(chosen.events, finish=False)
    note = print if not chosen.json else (lambda *_, **__: None)
    note(f"{len(workload):,} events; the hot path is {'compiled' if COMPILED else 'not compiled'}", flush=True)
    cpu: dict[str, list[Measured]] = {delivery: [] for delivery in DELIVERIES}
    latency: dict[str, list[Latency]] = {delivery: [] for delivery in DELIVERIES}
    with servers() as where:
        for _ in range(chosen.repeat):
            for delivery in DELIVERIES:
                topics, ends = await prepare(where, workload, end=end, announce=True)
                one = await measure_worker(where, topics, chosen.events, ends, end, delivery=delivery)
                cpu[delivery].append(one)
                note(f"{delivery:14}{one.rate:>9,.0f} events/CPU-s", flush=True)
        for _ in range(chosen.repeat):
            for delivery in DELIVERIES:
                measured = await measure_latency(where, delivery, chosen.rate, chosen.seconds)
                latency[delivery].append(measured)
                note(f"{delivery:14}p50 {measured.p50:.1f} ms, p99 {measured.p99:.1f} ms", flush=True)
    if chosen.json:
        result = {
            "events": chosen.events,
            "rate": chosen.rate,
            "compiled": COMPILED,
            "cpu": {name: [one._asdict() | {"rate": one.rate} for one in runs] for name, runs in cpu.items()},
            "latency_ms": {name: [one._asdict() for one in runs] for name, runs in latency.items()},
        }
        print(json.dumps(result, indent=1))
        return
    print()
    report_cpu(cpu)
    report_latency(latency)


if __name__ == "__main__":
    asyncio.run(main())
