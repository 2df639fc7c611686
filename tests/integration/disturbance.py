"""A replay that runs beside the test, so that the test can do something to the product meanwhile, and all that the
product has to show for it at the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.integration.pipeline import COMMAND, PARTITIONS, Pipeline
from tests.services import KafkaServer, RedisServer, RedisService
from tests.waiting import until
from tracker.broker.raw import RawWriter
from tracker.demo.simulation import simulation
from tracker.domain.claims import is_claim
from tracker.domain.events import Event
from tracker.domain.state import State, decode_state
from tracker.domain.units import NEVER
from tracker.settings import Settings
from tracker.stream.recording import read_recording
from tracker.wire.position import decode_position
from tracker.wiring.replaying import longest_wait

TOPICS = ("journey.transitions", "journey.dropoffs", "journey.triggers", "journey.sessions")
OTHERS = ("journey.dead-letters", "journey.late")
SMALL_BATCHES = {"TRACKER_BATCH_RECORDS": "500", "TRACKER_BATCH_DEADLINES": "200"}
"""So that a disturbance has many places to fall into."""
RAW_TOPICS = ("shop.clicks", "shop.orders")
CHUNK = 2000
MORE = 100

log = logging.getLogger(__name__)


def told_by_one_name(visitors: int) -> Iterator[Event]:
    """The demo's visitors, each with one identity from first to last. Then the log's order of a person's events is
    that of the file, so the outputs of two runs are equal and not only equivalent, as they are where a merge may
    come a moment sooner or later."""
    for event in simulation(visitors=visitors):
        event.customer_id, event.anonymous_id = event.customer_id or f"{event.anonymous_id}".removesuffix("-a"), None
        event.customer_id = event.customer_id.removesuffix("-c")
        yield event


class Outcome(NamedTuple):
    """Everything that a run leaves behind, comparable with another run's."""

    outputs: dict[str, list[dict[str, Any]]]
    """topic -> payloads, ordered by id."""
    rest: dict[str, int]
    """topic -> records in the topics of what could not be used."""
    counters: dict[str, int]
    states: dict[str, State]
    outbox: int
    """Entries not trimmed; those of the last commit of each partition may be there."""


def identity(payload: dict[str, Any]) -> tuple[str, int]:
    """What an output is identified by: its id, or a session's with the revision."""
    return payload.get("id") or payload["session_id"], payload.get("revision", 0)


async def outcome(pipeline: Pipeline, redis_server: RedisService) -> Outcome:
    """Read it all. Must be called when the worker has ended, and before something else is sent."""
    outputs = {
        topic: sorted(
            await pipeline.read(topic), key=lambda one: (one.get("id") or one["session_id"], one.get("revision", 0))
        )
        for topic in TOPICS
    }
    states: dict[str, State] = {}
    entries = 0
    with redis_server.client() as store:
        for key in store.scan_iter(match=f"{pipeline.prefix}{{p*}}:s:*", count=1000):
            person = key.decode().partition(":s:")[2]
            if person not in {"config", "lineups"} and not is_claim(person.encode()):
                states[person] = decode_state(store.get(key))
        for partition in range(PARTITIONS):
            entries += store.hlen(f"{pipeline.prefix}{{p{partition}}}:outbox")
    rest = {topic: len(await pipeline.read(topic)) for topic in OTHERS}
    return Outcome(outputs, rest, dict(pipeline.counters()), states, entries)


class Workload:
    """A recording and what an undisturbed run makes of it."""

    def __init__(self, recording: Path, expected: Outcome) -> None:
        self.recording = recording
        self.expected = expected
        self.transitions = len(expected.outputs["journey.transitions"])


def assert_once(outputs: Mapping[str, Iterable[dict[str, Any]]]) -> None:
    """Every output is on its topic once."""
    for topic, payloads in outputs.items():
        repeated = [name for name, times in Counter(map(identity, payloads)).items() if times > 1]
        assert not repeated, f"{len(repeated)} ids are twice on {topic}, for example {repeated[0]}"


def assert_undisturbed(found: Outcome, expected: Outcome) -> None:
    """All that came out, and all that is kept, is that of the undisturbed run."""
    assert_once(found.outputs)
    assert found.rest == expected.rest, _differing(found.rest, expected.rest)
    for topic, payloads in expected.outputs.items():
        assert found.outputs[topic] == payloads, topic
    assert found.counters == expected.counters, _differing(found.counters, expected.counters)
    assert found.states == expected.states, _differing(found.states, expected.states)


def _differing(found: Mapping[str, object], expected: Mapping[str, object]) -> str:
    """Where two mappings differ, for a person who has to find out why."""
    keys = [key for key in sorted({*found, *expected}) if found.get(key) != expected.get(key)]
    return f"{len(keys)} differ: " + "; ".join(f"{key}: {found.get(key)} for {expected.get(key)}" for key in keys[:5])


async def send_all(pipeline: Pipeline, kafka: KafkaServer, path: Path) -> int:
    """Write a recording to the raw topics as `tracker replay` does, without waiting for the tracker; the time (ms)
    at which it is through. For a broker that will be away, which ends a replay."""
    recording = read_recording([path])
    wait = longest_wait(Settings())
    async with RawWriter(kafka.bootstrap, [pipeline.prefix + topic for topic in RAW_TOPICS], idempotent=True) as raw:
        for start in range(0, len(recording.events), CHUNK):
            chunk = recording.events[start : start + CHUNK]
            await raw.send(chunk)
            await raw.mark(chunk[-1].ts)
        end = recording.last + wait + 1
        await raw.mark(end)
    return end


def reached(pipeline: Pipeline, redis_server: RedisService) -> int:
    """The time (ms) before which everything is folded: in the middle of a watermark's deadlines, that of the last."""
    with redis_server.client() as store:
        rows = [store.hget(f"{pipeline.prefix}{{p{partition}}}:r", "position") for partition in range(PARTITIONS)]
    positions = [decode_position(row) for row in rows if row is not None]
    if len(positions) < PARTITIONS:
        return NEVER
    return min(at.watermark if at.due is None else at.due - 1 for at in positions)


class Replay:
    """`tracker replay` under way."""

    def __init__(self, process: subprocess.Popen[str], pipeline: Pipeline, consumer: AIOKafkaConsumer) -> None:
        self._process = process
        self._pipeline = pipeline
        self._consumer = consumer

    @property
    def running(self) -> bool:
        """Whether it still waits for the tracker to publish the rest."""
        return self._process.poll() is None

    async def written(self, topic: str) -> int:
        """About how many records a topic has by now; transactions under way count as well."""
        name = self._pipeline.prefix + topic
        ends = await self._consumer.end_offsets([TopicPartition(name, number) for number in range(PARTITIONS)])
        return sum(ends.values())

    async def reach(self, topic: str, records: int) -> None:
        """Wait until a topic has so many records, and more than now, so that whoever writes them is at work; the
        replay must not be over by then."""
        records = max(records, await self.written(topic) + MORE)
        async with asyncio.timeout(60):
            while await self.written(topic) < records:
                assert self.running, f"the replay was over before {topic} had {records} records{self._report()}"
                await asyncio.sleep(0.02)
        assert self.running, f"the replay was over when {topic} had {records} records{self._report()}"

    async def finish(self, seconds: float = 60.0) -> None:
        """Wait until everything is published."""
        try:
            await asyncio.to_thread(self._process.wait, seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the replay did not end in {seconds:.0f} s{self._report()}") from None
        assert self._process.returncode == 0, f"the replay failed{self._report()}"

    def _report(self) -> str:
        self._process.kill()
        return f": {self._process.communicate()[0][-2000:]}\n{self._pipeline.worker_log()}"


@contextlib.asynccontextmanager
async def replaying(pipeline: Pipeline, kafka: KafkaServer, recording: Path) -> AsyncIterator[Replay]:
    """`tracker replay` beside the block."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=None)
    await consumer.start()
    process = subprocess.Popen(  # noqa: ASYNC220 - starting it takes no time
        [*COMMAND, "replay", str(recording)],
        env=pipeline.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Replay(process, pipeline, consumer)
    finally:
        process.kill()
        process.communicate()
        await consumer.stop()


def kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9, children included: each worker has a process group of its own."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def flush(server: RedisServer) -> None:
    """Lose everything that Redis holds."""
    with server.client() as store:
        store.flushall()


def gauge(port: int, sample: str) -> float | None:
    """A sample of a worker's metrics, None while nobody answers or it does not exist."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
            lines: Iterable[str] = answer.read().decode().splitlines()
    except OSError:
        return None
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(sample + " ")), None)


def answer(port: int, path: str) -> int:
    """The status of a worker's answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as reply:
            status: int = reply.status
    except urllib.error.HTTPError as error:
        return error.code
    return status


def tracked(port: int, state: str) -> float | None:
    return gauge(port, f'tracker_partitions{{stage="track",state="{state}"}}')


async def recovered(port: int, since: float, replay: Replay) -> None:
    """Wait until every partition runs and more comes out, and say how long after the fault (`pytest
    --log-cli-level=info`)."""
    before = await replay.written("journey.transitions")
    await until(lambda: tracked(port, "running") == PARTITIONS, "every partition runs again", 60)
    running = time.monotonic() - since
    await replay.reach("journey.transitions", before)
    log.info("from fault to running: %.1f s, to outputs: %.1f s", running, time.monotonic() - since)
