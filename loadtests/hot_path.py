"""How much of the machine the hot path leaves: events per CPU-second of the worker against a reader that only decodes.

python -m loadtests.hot_path [--events 400000] [--repeat 3] [--finish] [--announce] [--profile] [--json]

In one run, on a real Kafka and Redis, alternating: (a) `loadtests.reader`, (b) the whole `track` worker as in
production (`tracker worker --only track --processes 1`, exactly-once publishing) on a log that is already there,
from the moment it is connected until the broker holds, for every partition, a position past the log's end with the
last watermark: every event folded, every session and drop-off published. CPU is the process's own, all threads.

`make bench` compiles the hot path first; without that it is measured as plain Python.

The servers are started for the run, unless TRACKER_BROKERS and TRACKER_REDIS_URL say where others are.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import pstats
import re
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import redis
from aiokafka import AIOKafkaConsumer, TopicPartition

from loadtests.workload import Sent, end_of, events, fill_log
from tests.services import KafkaServer, RedisServer
from tracker.broker.kafka import connected
from tracker.broker.offsets import Offsets
from tracker.broker.topics import ensure_topics
from tracker.domain import fold
from tracker.wire.position import decode_position
from tracker.wire.topics import Topics

PARTITIONS = 4
TICKS = os.sysconf("SC_CLK_TCK")
RAW = ("shop.clicks",)
CONNECTED = b"outputs are published"
PATIENCE = 300.0
DAY = 86_400_000
COMPILED = not fold.__file__.endswith(".py")


class Servers(NamedTuple):
    """Where broker and store are; the broker's process id if it is ours."""

    brokers: str
    redis_url: str
    broker_pid: int | None


class Measured(NamedTuple):
    """One measurement; CPU and wall in seconds."""

    events: int
    cpu: float
    wall: float
    outputs: int = 0
    redis_cpu: float = 0.0
    broker_cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Events per second of the process's CPU."""
        return self.events / self.cpu


@contextlib.contextmanager
def servers() -> Iterator[Servers]:
    """Those of the environment, or a Kafka and a Redis of our own."""
    brokers, url = os.environ.get("TRACKER_BROKERS"), os.environ.get("TRACKER_REDIS_URL")
    if brokers and url:
        yield Servers(brokers, url, None)
        return
    with KafkaServer(quick=False) as kafka, RedisServer() as store:
        yield Servers(kafka.bootstrap, store.url, kafka.pid)


async def prepare(where: Servers, workload: Sequence[Sent], *, end: int, announce: bool) -> tuple[Topics, list[int]]:
    """A namespace of its own with the log in it; the offsets at which the log ends."""
    topics = Topics(f"load{secrets.token_hex(3)}.", RAW)
    await ensure_topics(
        where.brokers,
        topics,
        partitions=PARTITIONS,
        replication=1,
        events_retention=DAY,
        outputs_retention=DAY,
    )
    return topics, await fill_log(where.brokers, topics, workload, PARTITIONS, end=end, announce=announce)


def measure_reader(where: Servers, topics: Topics, count: int) -> Measured:
    """(a), in a process of its own."""
    command = [sys.executable, "-m", "loadtests.reader", where.brokers, topics.events, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    said = json.loads(done.stdout)
    return Measured(said["events"], said["cpu"], said["wall"])


async def measure_worker(
    where: Servers, topics: Topics, count: int, ends: Sequence[int], end: int, profile: Path | None = None
) -> Measured:
    """(b), in a process of its own, started and stopped as in production."""
    environment = {
        **os.environ,
        "TRACKER_BROKERS": where.brokers,
        "TRACKER_REDIS_URL": where.redis_url,
        "TRACKER_NAMESPACE": topics.namespace,
        "TRACKER_RAW_TOPICS": ",".join(RAW),
        "TRACKER_CLOCK": "event",
        "TRACKER_METRICS_PORT": "0",
        "TRACKER_LOG_LEVEL": "info",
    }
    program = ["loadtests.profiled", str(profile)] if profile else ["tracker"]
    command = [sys.executable, "-m", *program, "worker", "--only", "track", "--processes", "1"]
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs in this loop yet
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            await _until(lambda: CONNECTED in Path(log.name).read_bytes(), process, log.name, pause=0.01)
            cpu, wall = cpu_of(process.pid), time.perf_counter()
            redis_before = redis_cpu(where)
            broker_before = cpu_of(where.broker_pid) if where.broker_pid else 0.0
            await wait_for_commits(where, topics, ends, end, process, log.name)
            cpu, wall = cpu_of(process.pid) - cpu, time.perf_counter() - wall
            redis_after = redis_cpu(where)
            broker_after = cpu_of(where.broker_pid) if where.broker_pid else 0.0
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            if process.poll() is None:
                process.kill()
                process.wait()
    outputs = await count_outputs(where, topics)
    return Measured(count, cpu, wall, outputs, redis_after - redis_before, broker_after - broker_before)


async def _until(done: Any, process: subprocess.Popen[bytes], log: str, pause: float) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        if process.poll() is not None or time.monotonic() > deadline:
            state = f"ended with {process.returncode}" if process.poll() is not None else "is not done in time"
            said = await asyncio.to_thread(Path(log).read_text, "utf-8", "replace")
            raise SystemExit(f"the worker {state}:\n{said[-4000:]}")
        await asyncio.sleep(pause)


async def wait_for_commits(
    where: Servers,
    topics: Topics,
    ends: Sequence[int],
    watermark: int,
    process: subprocess.Popen[bytes],
    log: str,
) -> None:
    """Until C of every partition lies past the log's end with the last watermark in force."""
    deadline = time.monotonic() + PATIENCE
    async with connected(where.brokers) as client:
        offsets = [Offsets(client, topics.track_group, topics.events, number) for number in range(PARTITIONS)]
        reached = False
        while not reached:
            if process.poll() is not None or time.monotonic() > deadline:
                await _until(lambda: False, process, log, pause=0)
            await asyncio.sleep(0.1)
            positions = [
                decode_position(committed.metadata) if committed and committed.metadata else None
                for committed in [await offset.read() for offset in offsets]
            ]
            reached = all(
                position is not None
                and position.offset >= end
                and position.watermark >= watermark
                and position.due is None  # else it stands within the deadlines that the watermark made due
                for position, end in zip(positions, ends, strict=True)
            )


async def count_outputs(where: Servers, topics: Topics) -> int:
    """Committed records of the output topics."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=where.brokers,
        isolation_level="read_committed",
        enable_auto_commit=False,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    await consumer.start()
    try:
        parts = [TopicPartition(topic, partition) for topic in topics.outputs for partition in range(PARTITIONS)]
        consumer.assign(parts)
        await consumer.seek_to_beginning(*parts)
        ends = await consumer.end_offsets(parts)
        total = 0
        while any([await consumer.position(part) < ends[part] for part in parts]):
            total += sum(map(len, (await consumer.getmany(timeout_ms=200)).values()))
        return total
    finally:
        await consumer.stop()


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used so far, all threads (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def redis_cpu(where: Servers) -> float:
    """The same of the Redis server, by its own account."""
    with redis.Redis.from_url(where.redis_url) as store:
        said: Any = store.info("cpu")
    return float(said["used_cpu_user"] + said["used_cpu_sys"])


def spread(values: Sequence[float], unit: str = ",.0f") -> str:
    """median [min-max]"""
    return f"{statistics.median(values):{unit}} [{min(values):{unit}}-{max(values):{unit}}]"


def print_profile(path: Path, lines: int = 40) -> None:
    """What takes the time itself, and through which of the tracker's own functions it is spent."""
    stats: dict[Any, Any] = pstats.Stats(str(path)).stats  # type: ignore[attr-defined]
    total = sum(entry[2] for entry in stats.values())
    rows = [
        (
            own,
            cumulative,
            calls,
            f"{re.sub(r'.*/(site-packages|python3[.][0-9]+)/', '', file)}:{line}({name})",
        )
        for (file, line, name), (_, calls, own, cumulative, _) in stats.items()
    ]
    for title, place, part in (
        ("everything, by own time", 0, ""),
        ("the tracker's own, by time spent within", 1, "tracker/"),
    ):
        print(f"\n{title} (the profiler slows everything, small functions most)")
        for row in sorted((row for row in rows if part in row[3]), key=itemgetter(place), reverse=True)[:lines]:
            own, cumulative, calls, name = row
            print(
                f"{own:7.2f} s {own / total:6.1%}  within {cumulative:7.2f} s {cumulative / total:6.1%}"
                f"  {calls:>10,} x  {name[-70:]}"
            )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument(
        "--finish",
        action="store_true",
        help="let a day pass at the end: every session and drop-off comes out",
    )
    parser.add_argument("--announce", action="store_true", help="time advances while the log is read, as it does live")
    parser.add_argument("--profile", action="store_true", help="one run under cProfile instead of the measurement")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    workload = list(events(chosen.events))
    end = end_of(chosen.events, finish=chosen.finish)
    size = sum(len(sent.value) for sent in workload) / len(workload)
    people = len({sent.person for sent in workload})
    note = print if not chosen.json else (lambda *_, **__: None)
    note(
        f"{len(workload):,} events of {size:.0f} bytes, {people:,} customers, {PARTITIONS} partitions; "
        f"the hot path is {'compiled' if COMPILED else 'not compiled'}",
        flush=True,
    )
    readers: list[Measured] = []
    workers: list[Measured] = []
    with servers() as where:
        if chosen.profile:
            topics, ends = await prepare(where, workload, end=end, announce=chosen.announce)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "worker.prof"
                await measure_worker(where, topics, chosen.events, ends, end, path)
                print_profile(path)
            return
        for _ in range(chosen.repeat):
            topics, ends = await prepare(where, workload, end=end, announce=chosen.announce)
            readers.append(await asyncio.to_thread(measure_reader, where, topics, chosen.events))
            note(f"reader  {readers[-1].rate:>9,.0f} events/CPU-s", flush=True)
            workers.append(await measure_worker(where, topics, chosen.events, ends, end))
            done = workers[-1]
            note(
                f"worker  {done.rate:>9,.0f} events/CPU-s  CPU {done.cpu:.2f} s  wall {done.wall:.2f} s  outputs "
                f"{done.outputs:,}  Redis {done.redis_cpu:.2f} s  broker {done.broker_cpu:.2f} s",
                flush=True,
            )
    ratios = [worker.rate / reader.rate for worker, reader in zip(workers, readers, strict=True)]
    if chosen.json:
        result = {
            "events": chosen.events,
            "bytes": size,
            "customers": people,
            "finish": chosen.finish,
            "announce": chosen.announce,
            "compiled": COMPILED,
            "reader": [one._asdict() | {"rate": one.rate} for one in readers],
            "worker": [one._asdict() | {"rate": one.rate} for one in workers],
            "ratio": ratios,
        }
        print(json.dumps(result, indent=1))
        return
    print(f"\nreader {spread([one.rate for one in readers])} events/CPU-s")
    print(f"worker {spread([one.rate for one in workers])} events/CPU-s, {workers[-1].outputs:,} outputs")
    print(f"ratio  {spread(ratios, '.3f')}")


if __name__ == "__main__":
    asyncio.run(main())
