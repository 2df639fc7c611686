"""What ingest costs with everything around it: records per CPU-second of its worker against a reader that only decodes.

python -m loadtests.ingest [--records 200000] [--repeat 2] [NAME …]

In one run, on a real Kafka and Redis, alternating: (a) aiokafka and a decode into plain objects, nothing else; (b)
`tracker worker --only ingest --processes 1` on the same raw topic, from when it is connected until the group has
committed the topic's end, by which every event is acknowledged in `journey.events`. CPU is the process's own, all
threads. The records are those of `loadtests.dialects`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

import msgspec
import uvloop

from loadtests.dialects import GOALS, sample
from loadtests.measuring import (
    COMPILED,
    PARTITIONS,
    PATIENCE,
    Measured,
    Servers,
    cpu_of,
    make_topics,
    servers,
    spread,
    worker,
)
from tests.dialects.fuzz import Raw
from tests.dialects.writers import WRITERS
from tracker.broker.batches import pack, send
from tracker.broker.kafka import connected, make_consumer, make_producer
from tracker.broker.offsets import Offsets
from tracker.stream.ports import OutRecord
from tracker.wire.topics import Topics

CHUNK = 20_000


async def fill(where: Servers, topics: Topics, raw: Sequence[Raw]) -> list[int]:
    """Write the records to the first raw topic, spread over its partitions; the offsets at which they end."""
    topic, ends = topics.raw_topics[0], [0] * PARTITIONS
    producer = make_producer(where.brokers, idempotent=False)
    await producer.start()
    try:
        for begin in range(0, len(raw), CHUNK):
            records = [
                OutRecord(topic, number % PARTITIONS, None, record.value, list(record.headers), record.timestamp)
                for number, record in enumerate(raw[begin : begin + CHUNK], begin)
            ]
            await asyncio.gather(*await send(producer, pack(producer, records)))
            for record in records:
                ends[record.partition] += 1
    finally:
        await producer.stop()
    return ends


async def read(brokers: str, topic: str, count: int) -> dict[str, float]:
    """(a)"""
    decode = msgspec.json.Decoder().decode
    consumer = make_consumer(brokers, f"reader-{secrets.token_hex(4)}", topic, auto_offset_reset="earliest")
    await consumer.start()
    try:
        seen, cpu = 0, time.process_time()
        while seen < count:
            for records in (await consumer.getmany(timeout_ms=500, max_records=5000)).values():
                for record in records:
                    decode(record.value)
                seen += len(records)
        return {"cpu": time.process_time() - cpu}
    finally:
        await consumer.stop()


def measure_reader(where: Servers, topics: Topics, count: int) -> Measured:
    """(a), in a process of its own."""
    command = [sys.executable, "-m", "loadtests.ingest", "--read", where.brokers, topics.raw_topics[0], str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    return Measured(count, json.loads(done.stdout)["cpu"], 0.0)


async def measure_ingest(where: Servers, topics: Topics, ends: Sequence[int], dialect: str) -> Measured:
    """(b)"""
    chosen = {"TRACKER_DIALECTS": f"{topics.raw_topics[0].removeprefix(topics.namespace)}={dialect}"}
    async with worker(where, topics, chosen, only="ingest") as running, connected(where.brokers) as client:
        cpu, wall = cpu_of(running.pid), time.perf_counter()
        offsets = [Offsets(client, topics.ingest_group, topics.raw_topics[0], n) for n in range(PARTITIONS)]
        deadline = time.monotonic() + PATIENCE
        while True:
            running.check(deadline)
            committed = [await offset.read() for offset in offsets]
            if all(found is not None and found.offset >= end for found, end in zip(committed, ends, strict=True)):
                break
            await asyncio.sleep(0.05)
        return Measured(sum(ends), cpu_of(running.pid) - cpu, time.perf_counter() - wall)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--read", nargs=3, metavar=("BROKERS", "TOPIC", "COUNT"), help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", metavar="NAME", help="dialects; all of them if none is named")
    chosen = parser.parse_args()
    if chosen.read:
        brokers, topic, count = chosen.read
        print(json.dumps(await read(brokers, topic, int(count))))
        return
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # new topics have no leader for a moment
    print(f"ingest is {'compiled' if COMPILED else 'not compiled'}\n")
    print("| dialect | reader | ingest, detecting | ingest, told | detecting / reader | goal |")
    print("|---|---|---|---|---|---|")
    with servers() as where:
        for name in chosen.names or WRITERS:
            raw = sample(WRITERS[name], chosen.records)
            readers: list[float] = []
            rates: dict[str, list[float]] = {"auto": [], name: []}
            for _ in range(chosen.repeat):
                for dialect, found in rates.items():
                    topics = await make_topics(where)
                    ends = await fill(where, topics, raw)
                    readers.append((await asyncio.to_thread(measure_reader, where, topics, len(raw))).rate)
                    found.append((await measure_ingest(where, topics, ends, dialect)).rate)
            ratio = statistics.median(rates["auto"]) / statistics.median(readers)
            goal = f"{GOALS[name]:,}" if name in GOALS else ""
            cells = [spread(readers), spread(rates["auto"]), spread(rates[name]), f"{ratio:.2f}", goal]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    uvloop.run(main())
