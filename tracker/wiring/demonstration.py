"""`tracker demo`: the whole pipeline on an embedded broker and store."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tracker.broker.embedded import embedded_broker
from tracker.broker.topics import ensure_topics
from tracker.child import Child
from tracker.demo.scenarios import scenarios
from tracker.demo.simulation import simulation
from tracker.demo.summary import Run, Summary, summarize
from tracker.errors import Unavailable
from tracker.journeys.loader import load_all
from tracker.settings import Settings
from tracker.store.embedded import embedded_store
from tracker.stream.recording import recording_of
from tracker.wiring.parts import delivery_of, run, store_of, topic_counts, topics_of
from tracker.wiring.replaying import Report, replay_recording

WATCH_EVERY = 2.0
"""Seconds between two looks at what a demo that stays up is made of."""


class Embedded(NamedTuple):
    """A pipeline of our own: the environment in which commands find it, and its worker."""

    environment: dict[str, str]
    worker: Child


@asynccontextmanager
async def embedded(settings: Settings) -> AsyncIterator[Embedded]:
    """A broker, a store and a worker on them, all of our own."""
    async with embedded_broker() as brokers, embedded_store() as redis_url:
        environment = {
            "TRACKER_BROKERS": brokers,
            "TRACKER_REDIS_URL": redis_url,
            "TRACKER_REDIS_WAIT_REPLICAS": "0",
            "TRACKER_CLOCK": "event",
        }
        if settings.model != Settings().model:
            environment["TRACKER_MODEL"] = ",".join(settings.model)
        own = replace(settings, brokers=(brokers,), redis_url=redis_url, clock="event", namespace="")
        await ensure_topics(
            brokers,
            topics_of(own),
            partitions=own.partitions,
            replication=1,
            events_retention=own.events_retention,
            outputs_retention=own.outputs_retention,
        )
        with TemporaryDirectory(prefix="tracker-demo-") as folder:
            worker = Child(
                "the demo's worker",
                [sys.executable, "-m", "tracker", "worker"],
                ready="Ready",
                log=Path(folder) / "worker.log",
                env=os.environ
                | environment
                | {
                    "TRACKER_MODEL": ",".join(own.model),
                    "TRACKER_NAMESPACE": "",
                    "TRACKER_RAW_TOPICS": ",".join(own.raw_topics),
                    "TRACKER_METRICS_PORT": "0",
                    "TRACKER_LOG_LEVEL": "info",
                },
            )
            worker.spawn()
            try:
                await asyncio.to_thread(worker.wait_ready)
                yield Embedded(environment, worker)
            finally:
                await asyncio.to_thread(worker.stop)


async def map_counters(settings: Settings) -> dict[str, int]:
    """The map counters of all partitions together."""
    store = store_of(settings)
    try:
        total: Counter[str] = Counter()
        counts = await topic_counts(settings)
        for partition in range(counts[topics_of(settings).events]):
            total.update(await store.counters(partition))
        return dict(total)
    finally:
        await store.close()


def run_demo(
    settings: Settings,
    *,
    visitors: int,
    seed: int,
    stay: bool,
    report: Report,
    show: Callable[[Summary, Run], None],
) -> None:
    """`tracker demo`: the stories and the simulated visitors through the real pipeline, then a summary."""

    async def demo() -> None:
        started = time.perf_counter()
        stories = scenarios()
        simulated = list(simulation(visitors, seed))
        recording = recording_of([*(event for story in stories for event in story.events), *simulated])
        async with embedded(settings) as (environment, worker):
            own = replace(
                settings,
                brokers=(environment["TRACKER_BROKERS"],),
                redis_url=environment["TRACKER_REDIS_URL"],
                redis_wait_replicas=0,
                clock="event",
                namespace="",
            )
            await replay_recording(own, recording, report=report)
            model = load_all(own.model, own.state_ttl)[0]
            show(
                summarize(await map_counters(own), model),
                Run(
                    events=len(recording.events),
                    simulated=len(simulated),
                    stories=[story.title for story in stories],
                    seconds=time.perf_counter() - started,
                    exactly_once=await delivery_of(own),
                    environment=environment,
                    stays=stay,
                    command=own_name(),
                ),
            )
            if stay:
                with suppress(asyncio.CancelledError):
                    await _watch(own, worker)

    with suppress(KeyboardInterrupt):
        run(demo())


async def _watch(settings: Settings, worker: Child) -> None:
    """Runs until cancelled; raises `Unavailable` when a part of the demo has ended."""
    store = store_of(settings)
    try:
        while worker.alive:
            await asyncio.sleep(WATCH_EVERY)
            await topic_counts(settings)
            await store.check()
    finally:
        await store.close()
    raise Unavailable("the demo's worker has ended; start the demo again")


def own_name() -> str:
    """How this program was called, to be shown in commands that the reader can copy."""
    program = Path(sys.argv[0])
    if program.name != "tracker":
        return "tracker"
    on_path = shutil.which("tracker")
    if on_path is not None and Path(on_path).resolve() == program.resolve():
        return "tracker"
    try:
        return str(program.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(program)
