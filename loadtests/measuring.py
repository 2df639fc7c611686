"""A worker under measurement: servers, a namespace with the workload in it, the process, and what it used."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import redis

from loadtests.workload import Sent, fill_log
from tests.faults.reader import read_partition
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
EXACTLY_ONCE, AT_LEAST_ONCE = "exactly_once", "at_least_once"
"""TRACKER_DELIVERY"""


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


async def make_topics(where: Servers) -> Topics:
    """A namespace of its own, with its topics."""
    topics = Topics(f"load{secrets.token_hex(3)}.", RAW)
    await ensure_topics(
        where.brokers,
        topics,
        partitions=PARTITIONS,
        replication=1,
        events_retention=DAY,
        outputs_retention=DAY,
    )
    return topics


async def prepare(where: Servers, workload: Sequence[Sent], *, end: int, announce: bool) -> tuple[Topics, list[int]]:
    """A namespace of its own with the log in it; the offsets at which the log ends."""
    topics = await make_topics(where)
    return topics, await fill_log(where.brokers, topics, workload, PARTITIONS, end=end, announce=announce)


class Worker:
    """A `track` worker that is connected."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.pid = process.pid
        self._process = process
        self._log = log

    async def until(self, done: Callable[[], bool], pause: float = 0.01) -> None:
        """Wait until something is so; raises `SystemExit` with the worker's words where it ends, or takes too long."""
        deadline = time.monotonic() + PATIENCE
        while not done():
            self.check(deadline)
            await asyncio.sleep(pause)

    def check(self, deadline: float) -> None:
        """Raises `SystemExit` where the worker has ended, or `deadline` (of `time.monotonic`) is over."""
        code = self._process.poll()
        if code is not None or time.monotonic() > deadline:
            state = "is not done in time" if code is None else f"ended with {code}"
            raise SystemExit(f"the worker {state}:\n{self._log.read_text('utf-8', 'replace')[-4000:]}")


@contextlib.asynccontextmanager
async def worker(
    where: Servers, topics: Topics, settings: Mapping[str, str], profile: Path | None = None, only: str = "track"
) -> AsyncIterator[Worker]:
    """`tracker worker --only track --processes 1`, or with another stage, in a process of its own, started and stopped
    as in production; `settings` are further variables. The block begins when it is connected."""
    environment = {
        **os.environ,
        "TRACKER_BROKERS": where.brokers,
        "TRACKER_REDIS_URL": where.redis_url,
        "TRACKER_NAMESPACE": topics.namespace,
        "TRACKER_RAW_TOPICS": ",".join(RAW),
        "TRACKER_CLOCK": "event",
        "TRACKER_METRICS_PORT": "0",
        "TRACKER_LOG_LEVEL": "info",
        **settings,
    }
    program = ["loadtests.profiled", str(profile)] if profile else ["tracker"]
    command = [sys.executable, "-m", *program, "worker", "--only", only, "--processes", "1"]
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - starting it takes no time
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            started = Worker(process, Path(log.name))
            await started.until(lambda: CONNECTED in Path(log.name).read_bytes())
            yield started
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, 60)
            if process.poll() is None:
                process.kill()
                process.wait()


async def measure_worker(
    where: Servers,
    topics: Topics,
    count: int,
    ends: Sequence[int],
    end: int,
    *,
    profile: Path | None = None,
    delivery: str = EXACTLY_ONCE,
) -> Measured:
    """What a worker needs for `count` events, from when it is connected until `wait_for_commits` returns;
    `delivery` as in TRACKER_DELIVERY."""
    async with worker(where, topics, {"TRACKER_DELIVERY": delivery}, profile) as running:
        cpu, wall = cpu_of(running.pid), time.perf_counter()
        redis_before = redis_cpu(where)
        broker_before = cpu_of(where.broker_pid) if where.broker_pid else 0.0
        group = topics.track_group if delivery == EXACTLY_ONCE else topics.position_group
        await wait_for_commits(where, topics, group, ends, end, running)
        cpu, wall = cpu_of(running.pid) - cpu, time.perf_counter() - wall
        redis_after = redis_cpu(where)
        broker_after = cpu_of(where.broker_pid) if where.broker_pid else 0.0
    outputs = await count_outputs(where, topics)
    return Measured(count, cpu, wall, outputs, redis_after - redis_before, broker_after - broker_before)


async def wait_for_commits(
    where: Servers, topics: Topics, group: str, ends: Sequence[int], watermark: int, running: Worker
) -> None:
    """Until C of every partition, as `group` has it, lies past the log's end with the last watermark in force."""
    deadline = time.monotonic() + PATIENCE
    async with connected(where.brokers) as client:
        offsets = [Offsets(client, group, topics.events, number) for number in range(PARTITIONS)]
        reached = False
        while not reached:
            running.check(deadline)
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
    return sum(
        [
            len(records)
            for topic in topics.outputs
            for partition in range(PARTITIONS)
            async for records, _ in read_partition(where.brokers, topic, partition)
        ]
    )


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
