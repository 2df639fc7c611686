"""The product as its user runs it: the real commands in processes of their own, and readers for what comes out."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.messages import check_message
from tests.services import KafkaServer, RedisService
from tracker.domain.events import Event
from tracker.wire.decode import encode_event

COMMAND = [sys.executable, "-m", "tracker"]
PARTITIONS = 4


def write_events(path: Path, events: Iterable[Event]) -> Path:
    """A file that `tracker replay` reads."""
    path.write_bytes(b"".join(encode_event(event) + b"\n" for event in events))
    return path


class Broker(NamedTuple):
    """A broker that is not one of the tests' servers: where it is."""

    bootstrap: str


class Pipeline:
    """One tracker in a namespace of its own, under the event clock, on the given servers; logs go to `folder`."""

    def __init__(
        self, kafka: KafkaServer | Broker, redis_server: RedisService, namespace: str, folder: Path, **env: str
    ) -> None:
        self.prefix = namespace
        self.folder = folder
        self._brokers = kafka.bootstrap
        self._redis = redis_server
        self.env = {
            **os.environ,
            "TRACKER_BROKERS": kafka.bootstrap,
            "TRACKER_REDIS_URL": redis_server.url,
            "TRACKER_NAMESPACE": namespace,
            "TRACKER_CLOCK": "event",
            "TRACKER_PARTITIONS": str(PARTITIONS),
            "TRACKER_METRICS_PORT": "0",
            **env,
        }

    def run(self, *arguments: str, timeout: float = 120.0) -> str:
        """A command, to its end; its stdout."""
        done = subprocess.run(
            [*COMMAND, *arguments], env=self.env, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, f"tracker {' '.join(arguments)}: {done.stdout}{done.stderr}\n{self.worker_log()}"
        return done.stdout

    @contextlib.contextmanager
    def worker(self, *arguments: str, command: Sequence[str] = COMMAND) -> Iterator[subprocess.Popen[bytes]]:
        """`tracker worker` (or another `command` with its arguments) while the block runs; ended by SIGTERM, in its own
        process group."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [*command, "worker", *arguments], env=self.env, stdout=log, stderr=log, start_new_session=True
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def worker_log(self) -> str:
        """The end of what the workers wrote."""
        return self._log.read_text("utf-8", "replace")[-4000:] if self._log.exists() else "(no worker log)"

    async def read(self, topic: str) -> list[dict[str, Any]]:
        """Every committed record of an output topic, as its payload, in the order of each partition. Each of them is
        as the published schemas say."""
        name = self.prefix + topic
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._brokers,
            group_id=f"reader-{secrets.token_hex(4)}",
            isolation_level="read_committed",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            partitions = [TopicPartition(name, partition) for partition in range(PARTITIONS)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning()
            ends = await consumer.end_offsets(partitions)
            payloads: list[dict[str, Any]] = []
            while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        payloads.append(json.loads(record.value))
                        check_message(topic, record, payloads[-1])
            return payloads
        finally:
            await consumer.stop()

    def counters(self) -> Counter[str]:
        """The map counters, summed over partitions; those that end in a day, also over days under `name:*`. One that
        went up and down again is written or not, depending on whether one batch saw both: none is there."""
        sums: Counter[str] = Counter()
        with self._redis.client(decode_responses=True) as store:
            for partition in range(PARTITIONS):
                fields: dict[str, str] = store.hgetall(f"{self.prefix}{{p{partition}}}:map")
                for name, value in fields.items():
                    sums[name] += int(value)
                    kind, _, last = name.rpartition(":")
                    if len(last) == 10 and last[4:5] == "-":
                        sums[f"{kind}:*"] += int(value)
        return Counter({name: count for name, count in sums.items() if count})

    @property
    def _log(self) -> Path:
        return self.folder / "worker.log"
