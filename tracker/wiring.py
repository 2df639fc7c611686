"""The composition root: the only place that builds things. Commands call the `run_…` functions."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import uvloop
from aiokafka import AIOKafkaClient, AIOKafkaConsumer, TopicPartition

from tracker.broker.batches import BATCH_BYTES
from tracker.broker.embedded import embedded_broker
from tracker.broker.kafka import FAILURES, connected, detect, make_consumer, partitions_of
from tracker.broker.offsets import Offsets
from tracker.broker.publisher import make_publisher
from tracker.broker.raw import RawWriter
from tracker.broker.sender import Sender
from tracker.broker.topics import ensure_topics
from tracker.child import Child
from tracker.demo.scenarios import scenarios
from tracker.demo.simulation import simulation
from tracker.demo.summary import Run, Summary, summarize
from tracker.domain.events import KNOWN_TYPES
from tracker.domain.model import FoldSettings
from tracker.domain.state import State, decode_state
from tracker.domain.table import Table, compile_table
from tracker.errors import Irreconcilable, SettingError, Unavailable
from tracker.journeys.loader import from_text, load_all, to_text
from tracker.metrics import Metrics, serve
from tracker.settings import Settings
from tracker.store.embedded import embedded_store
from tracker.store.redis import RedisStore
from tracker.stream.deadletters import DeadLetters
from tracker.stream.deadletters import Replayed as DeadLettersReplayed
from tracker.stream.ingest import Ingest
from tracker.stream.recording import Recording, read_recording, recording_of
from tracker.stream.replay import Replayed, Sent, replay
from tracker.stream.track import FOLD_VERSION, Limits, TrackContext
from tracker.stream.tracker import Track
from tracker.wire.control import Config, Control, control_kind, decode_control, source_name
from tracker.wire.deadletters import DeadLetter
from tracker.wire.decode import decode_event
from tracker.wire.encode import OutputEncoder
from tracker.wire.position import NEVER, decode_position
from tracker.wire.topics import Topics

T = TypeVar("T")
Report = Callable[[Sent], None]


def topics_of(settings: Settings) -> Topics:
    """The names on the broker."""
    return Topics(settings.namespace, settings.raw_topics)


def store_of(settings: Settings) -> RedisStore:
    """The store."""
    return RedisStore(settings.redis_url, topics_of(settings).prefix)


def config_of(settings: Settings, sources: Sequence[str]) -> Config:
    """What this worker would have the log say about the fold; `sources` are the raw partitions."""
    models = load_all(settings.model, settings.state_ttl)
    if len(models) != 1:
        raise SettingError(
            f"TRACKER_MODEL is {','.join(settings.model)}: one model is followed at a time; allowed: one id or path"
        )
    fold = FoldSettings(
        session_gap=settings.session_gap,
        session_cap=settings.session_cap,
        out_of_orderness=settings.out_of_orderness,
        allowed_lateness=settings.allowed_lateness,
        state_ttl=settings.state_ttl,
        consent_default=settings.consent_default == "allow",
    )
    return Config(tuple(map(to_text, models)), fold, FOLD_VERSION, tuple(sources))


def table_of(config: Config) -> Table:
    """The compiled table of a config in the log."""
    return compile_table(from_text(config.models[0]), config.fold)


def check_change(before: Config, after: Config) -> None:
    """Journeys under way are kept by the place of their phase in the model: a model with other phases or rules
    cannot take them over."""
    old, new = from_text(before.models[0]), from_text(after.models[0])
    for name, was, now in (
        ("phases", [phase.id for phase in old.phases], [phase.id for phase in new.phases]),
        ("rules", [rule.reason for rule in old.rules], [rule.reason for rule in new.rules]),
    ):
        if was != now:
            raise Irreconcilable(
                f"TRACKER_MODEL: model {new.id} has the {name} {', '.join(now)}, but journeys are under way with "
                f"{', '.join(was)} (model {old.id}). Ways out: keep {name} and their order (their settings may "
                "change), or use another TRACKER_NAMESPACE"
            )
    if before.fold_version > after.fold_version:
        raise Irreconcilable(
            f"the log was folded by version {before.fold_version} of the fold, this tracker has {after.fold_version}: "
            "use the newer release"
        )


class Parts:
    """What a worker is made of, opened one after the other and closed in reverse."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.topics = topics_of(settings)
        self.exactly_once = False
        self.warnings: list[str] = []
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        """Ask broker and store whether they will do. Raises `SettingError`, `Unavailable`."""
        settings, topics = self.settings, self.topics
        self.counts = await topic_counts(settings)
        self.partitions = self.counts[topics.events]
        self.exactly_once = await delivery_of(settings)
        self.store = store_of(settings)
        self._stack.push_async_callback(self.store.close)
        self.warnings = await self.store.check()
        self.sender = Sender(settings.brokers_text, idempotent=self.exactly_once)
        self._stack.push_async_callback(self.sender.close)

    def ingest(self) -> Ingest:
        """The ingest stage."""
        brokers, topics = self.settings.brokers_text, self.topics
        consumer = make_consumer(brokers, topics.ingest_group)
        return Ingest(consumer, self.sender.append, topics, self.counts, self.settings, self.metrics)

    def track(self) -> Track:
        """The track stage."""
        settings, topics = self.settings, self.topics
        sources = [
            source_name(topic, partition) for topic in topics.raw_topics for partition in range(self.counts[topic])
        ]
        consumer = make_consumer(settings.brokers_text, topics.track_group)
        context = TrackContext(
            store=self.store,
            topics=topics,
            partitions=self.partitions,
            config=config_of(settings, sources),
            compile=table_of,
            encoder=OutputEncoder(topics, self.partitions),
            decode=decode_event,
            metrics=self.metrics,
            limits=Limits(settings.batch_deadlines, settings.state_cache, BATCH_BYTES),
            append=self.sender.append,
            first_config=lambda partition: first_config(settings, topics, partition),
            log_start=lambda partition: log_start(consumer, topics, partition),
            check_change=check_change,
        )
        return Track(
            consumer,
            context,
            lambda partition: make_publisher(settings.brokers_text, topics, partition, exactly_once=self.exactly_once),
            batch=settings.batch_records,
        )

    async def close(self) -> None:
        """Release everything."""
        await self._stack.aclose()


async def topic_counts(settings: Settings) -> dict[str, int]:
    """The partitions of every topic that a worker needs; raises `SettingError` for those that are missing."""
    topics = topics_of(settings)
    counts = await partitions_of(settings.brokers_text, *topics.raw_topics, *topics.produced)
    missing = [topic for topic, count in counts.items() if not count]
    if missing:
        raise SettingError(
            f"these topics are missing on {settings.brokers_text}: {', '.join(missing)}; `tracker topics` makes them"
        )
    unequal = [topic for topic in topics.outputs if counts[topic] != counts[topics.events]]
    if unequal:
        raise SettingError(
            f"{unequal[0]} has {counts[unequal[0]]} partitions, {topics.events} has {counts[topics.events]}: allowed "
            "is the same number, because an output goes to the partition of its source"
        )
    return counts


async def delivery_of(settings: Settings) -> bool:
    """Whether outputs are published exactly once; raises `SettingError` where that is asked for and impossible."""
    if settings.delivery == "at_least_once":
        return False
    possible = await detect(settings.brokers_text)
    if settings.delivery == "exactly_once" and not possible:
        raise SettingError(
            f"TRACKER_DELIVERY is exactly_once, but the broker at {settings.brokers_text} has no transactions; "
            "allowed there: auto or at_least_once"
        )
    return possible


async def log_start(consumer: AIOKafkaConsumer, topics: Topics, partition: int) -> int:
    """The first offset of a partition of the log."""
    tp = TopicPartition(topics.events, partition)
    try:
        return int((await consumer.beginning_offsets([tp]))[tp])
    except FAILURES as error:
        raise Unavailable(f"the beginning of {topics.events}/{partition} is not known: {error!r}") from error


async def first_config(settings: Settings, topics: Topics, partition: int) -> Config | None:
    """The first config record of a partition of the log, which applies from its start."""
    tp = TopicPartition(topics.events, partition)
    consumer = make_consumer(settings.brokers_text, topics.track_group, group_id=None)
    try:
        await consumer.start()
        consumer.assign([tp])
        await consumer.seek_to_beginning(tp)
        while True:
            polled = await consumer.getmany(tp, timeout_ms=2_000)
            for record in polled.get(tp, ()):
                if control_kind(record.headers) == "config":
                    found: Control = decode_control("config", record.value)
                    return found if isinstance(found, Config) else None
            if not polled and await consumer.position(tp) >= (consumer.highwater(tp) or 0):
                return None
    except FAILURES as error:
        raise Unavailable(f"the first config of {topics.events}/{partition} was not found: {error!r}") from error
    finally:
        await consumer.stop()


def run_worker(settings: Settings, only: str | None, processes: int) -> None:
    """`tracker worker`: blocks until it is told to stop."""
    from tracker.worker import own_command, supervise, work

    if settings.reads_direct_events:
        raise SettingError(
            "TRACKER_RAW_TOPICS is empty or TRACKER_DIRECT is on: events written straight to journey.events are not "
            "followed yet; allowed: raw topics, and TRACKER_DIRECT=off"
        )
    number = os.environ.get("TRACKER_PROCESS")
    if processes > 1 and number is None:
        raise SystemExit(supervise(own_command(), processes))
    metrics = Metrics(KNOWN_TYPES)
    server = serve(metrics, settings.metrics_host, settings.metrics_port, int(number or 0))
    try:
        work(lambda: Parts(settings, metrics), only, settings.log_level)
    finally:
        if server is not None:
            server.close()


def show_journey(settings: Settings, person: str) -> State | None:
    """`tracker journey`: a person's state, None for somebody never seen."""

    async def find() -> State | None:
        topics = topics_of(settings)
        partitions = (await partitions_of(settings.brokers_text, topics.events))[topics.events]
        store = store_of(settings)
        try:
            found = await store.find(person, partitions)
        finally:
            await store.close()
        return decode_state(found.state) if found is not None else None

    return run(find())


def longest_wait(settings: Settings) -> int:
    """After how many ms without another event every drop-off and session of a recording is out."""
    models = load_all(settings.model, settings.state_ttl)
    return max(rule.wait for model in models for rule in model.rules) + settings.session_gap


class Progress:
    """How far the tracker is: the least watermark over the positions that the broker holds."""

    def __init__(self, settings: Settings, partitions: int, client: AIOKafkaClient, *, exactly_once: bool) -> None:
        self._store = store_of(settings)
        self._partitions = partitions
        topics = topics_of(settings)
        group = topics.track_group if exactly_once else topics.position_group
        self._offsets = [Offsets(client, group, topics.events, partition) for partition in range(partitions)]

    async def watermark(self) -> int | None:
        """In ms; None while a partition has none. Raises `Unavailable`."""
        marks = [await self._one(partition) for partition in range(self._partitions)]
        least = min(marks, default=NEVER)
        return least if least > NEVER else None

    async def _one(self, partition: int) -> int:
        try:
            committed = await self._offsets[partition].read()
        except FAILURES as error:
            raise Unavailable(f"the broker did not say how far the tracker is: {error!r}") from error
        if committed is None:
            return NEVER
        if committed.metadata:
            return decode_position(committed.metadata).watermark
        # A broker that drops the metadata (the embedded one): the store knows the watermark of that offset.
        row = await self._store.row(partition)
        if row is None or committed.offset < row.position.offset or row.position.due is not None:
            return NEVER
        return row.position.watermark

    async def close(self) -> None:
        """Release the store."""
        await self._store.close()


async def replay_recording(
    settings: Settings,
    recording: Recording,
    *,
    speed: float | None = None,
    rebase: bool = False,
    until: int | None = None,
    report: Report = lambda sent: None,
) -> Replayed:
    """Send a recording through the pipeline; see `tracker.stream.replay`."""
    counts = await topic_counts(settings)
    topics = topics_of(settings)
    exactly_once = await delivery_of(settings)
    async with (
        connected(settings.brokers_text) as client,
        RawWriter(settings.brokers_text, topics.raw_topics, idempotent=exactly_once) as writer,
    ):
        progress = Progress(settings, counts[topics.events], client, exactly_once=exactly_once)
        try:
            return await replay(
                recording,
                writer,
                progress.watermark,
                clock="wall" if settings.clock == "wall" else "event",
                longest_wait=longest_wait(settings),
                until=until,
                speed=speed,
                rebase=rebase,
                report=report,
            )
        finally:
            await progress.close()


def run_replay(
    settings: Settings,
    files: Sequence[Path],
    speed: float | None,
    rebase: bool,
    until: int | None,
    *,
    skip_bad: bool = False,
    report: Report = lambda sent: None,
) -> Replayed:
    """`tracker replay`: blocks until the tracker has published all of it."""
    recording = read_recording(files, skip_bad=skip_bad)
    return run(replay_recording(settings, recording, speed=speed, rebase=rebase, until=until, report=report))


@asynccontextmanager
async def embedded(settings: Settings) -> AsyncIterator[dict[str, str]]:
    """A broker, a store and a worker on them, all of our own; gives the environment in which commands find them."""
    async with embedded_broker() as brokers, embedded_store() as redis_url:
        environment = {"TRACKER_BROKERS": brokers, "TRACKER_REDIS_URL": redis_url, "TRACKER_CLOCK": "event"}
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
                yield environment
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
        async with embedded(settings) as environment:
            own = replace(
                settings,
                brokers=(environment["TRACKER_BROKERS"],),
                redis_url=environment["TRACKER_REDIS_URL"],
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
                    await asyncio.Event().wait()

    with suppress(KeyboardInterrupt):
        run(demo())


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


@asynccontextmanager
async def dead_letters_of(settings: Settings) -> AsyncIterator[DeadLetters]:
    """The dead-letter topic, to list or to send again."""
    topics, brokers = topics_of(settings), settings.brokers_text
    exactly_once = await delivery_of(settings)
    sender = Sender(brokers, idempotent=exactly_once)

    async def partitions(topic: str) -> int:
        return (await partitions_of(brokers, topic))[topic]

    async with connected(brokers) as client:
        try:
            yield DeadLetters(
                topics,
                lambda: make_consumer(brokers, topics.track_group, group_id=None),
                sender.append,
                lambda partition: Offsets(client, topics.dead_letters_group, topics.dead_letters, partition),
                partitions,
            )
        finally:
            await sender.close()


def list_dead_letters(settings: Settings, reason: str | None, limit: int) -> list[DeadLetter]:
    """`tracker dead-letters list`: the newest `limit` letters, oldest first."""

    async def newest() -> list[DeadLetter]:
        async with dead_letters_of(settings) as letters:
            return await letters.newest(limit, reason)

    return run(newest())


def replay_dead_letters(settings: Settings, reason: str | None) -> DeadLettersReplayed:
    """`tracker dead-letters replay`: send them to where they came from, each once."""

    async def again() -> DeadLettersReplayed:
        async with dead_letters_of(settings) as letters:
            return await letters.replay(reason)

    return run(again())


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine on the fast event loop."""
    return uvloop.run(main)
