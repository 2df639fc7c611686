"""Builds the parts: store, stages, publishers, and what they need to know of broker and models."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from tracker.broker.batches import BATCH_BYTES
from tracker.broker.kafka import FAILURES, detect, make_consumer, partitions_of
from tracker.broker.publisher import make_publisher
from tracker.broker.sender import Sender
from tracker.domain.model import FoldSettings
from tracker.domain.table import Table, compile_table
from tracker.errors import Irreconcilable, SettingError, Unavailable
from tracker.health import Health
from tracker.journeys.loader import from_text, load_all, to_text
from tracker.loop import new_event_loop
from tracker.metrics import Metrics
from tracker.settings import Settings
from tracker.store.redis import RedisStore
from tracker.stream.ingest import Ingest
from tracker.stream.stage import TrackStage
from tracker.stream.track import CONFIG_KEY, FOLD_VERSION, Limits, TrackContext
from tracker.wire.control import Config, Control, control_kind, decode_control, source_name
from tracker.wire.decode import decode_canonical
from tracker.wire.encode import OutputEncoder
from tracker.wire.sealing import Seal
from tracker.wire.topics import Topics
from tracker.wiring.dialects import Dialects

T = TypeVar("T")


def topics_of(settings: Settings) -> Topics:
    """The names on the broker."""
    return Topics(settings.namespace, settings.raw_topics)


def store_of(settings: Settings) -> RedisStore:
    """The store."""
    return RedisStore(
        settings.redis_url,
        topics_of(settings).prefix,
        wait_replicas=settings.redis_wait_replicas,
        wait_timeout=settings.redis_wait_timeout / 1000,
    )


def config_of(settings: Settings, sources: Sequence[str] = (), partitions: int = 0) -> Config:
    """What this worker would have the log say about the fold; `sources` are the raw partitions, `partitions` counts
    the log's. Raises `SettingError` where the models cannot be used."""
    models = load_all(settings.model, settings.state_ttl)
    fold = FoldSettings(
        session_gap=settings.session_gap,
        session_cap=settings.session_cap,
        out_of_orderness=settings.out_of_orderness,
        allowed_lateness=settings.allowed_lateness,
        state_ttl=settings.state_ttl,
        consent_default=settings.consent_default == "allow",
        bots_out=settings.bots == "exclude",
        analytics_default=settings.analytics_default == "allow",
    )
    return Config(tuple(map(to_text, models)), fold, FOLD_VERSION, tuple(sources), partitions)


def table_of(config: Config) -> Table:
    """The compiled table of a config in the log."""
    first, *others = map(from_text, config.models)
    return compile_table(first, config.fold, *others)


def check_partitions(topic: str, known: Config | None, partitions: int) -> None:
    """A person's state lies in the partition that the log had for them: with another count it would not be found.
    `known` is the config in force. Raises `SettingError`, since no worker of this namespace may start then."""
    if known is not None and known.partitions not in {0, partitions}:
        raise SettingError(
            f"{topic} has {partitions} partitions, but Redis holds what was folded of {known.partitions}: people would "
            "be looked for where they are not. Ways out: bring the topic back with as many as before, or begin anew "
            "under another TRACKER_NAMESPACE"
        )


def check_change(before: Config, after: Config) -> None:
    """Raises `Irreconcilable` where one config cannot follow another. Models may change (see `domain/migration.py`)."""
    if before.fold_version > after.fold_version:
        raise Irreconcilable(
            f"the log was folded by version {before.fold_version} of the fold, this tracker has {after.fold_version}: "
            "use the newer release"
        )
    was, now = buyer_of(before), buyer_of(after)
    if was != now:
        raise Irreconcilable(
            f"the first of TRACKER_MODEL has buyer: {now}, and the log was folded with buyer: {was}: whose journeys "
            "are published cannot change; use another TRACKER_NAMESPACE"
        )


def buyer_of(config: Config) -> str:
    """Whose journeys are followed under a config: the first model's word holds for all of them."""
    return from_text(config.models[0]).buyer


class Parts:
    """What a worker is made of, opened one after the other and closed in reverse."""

    def __init__(self, settings: Settings, metrics: Metrics, health: Health) -> None:
        self.settings = settings
        self.metrics = metrics
        self.health = health
        self.topics = topics_of(settings)
        self.exactly_once = False
        self.warnings: list[str] = []
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        """Ask broker and store whether they will do. Raises `SettingError`, `Unavailable`."""
        settings, topics = self.settings, self.topics
        self.dialects = Dialects(settings, topics)
        self._stack.push_async_callback(self.dialects.close)
        self.counts = await topic_counts(settings)
        self.partitions = self.counts[topics.events]
        self.exactly_once = await delivery_of(settings)
        self.store = store_of(settings)
        self._stack.push_async_callback(self.store.close)
        self.warnings = await self.store.check()
        check_partitions(topics.events, await stored_config(self.store, 0), self.partitions)
        self.sender = Sender(settings.brokers_text, idempotent=self.exactly_once)
        self._stack.push_async_callback(self.sender.close)
        self.health.opened()

    def ingest(self) -> Ingest:
        """The ingest stage."""
        brokers, topics = self.settings.brokers_text, self.topics
        consumer = make_consumer(brokers, topics.ingest_group)
        return Ingest(
            consumer,
            self.sender.append,
            topics,
            self.counts,
            self.dialects,
            self.store,
            self.settings,
            self.metrics,
            self._ask,
            self.health,
            record_bytes=BATCH_BYTES,
        )

    async def _ask(self) -> None:
        await partitions_of(self.settings.brokers_text, self.topics.events)

    async def _count_sources(self) -> Sequence[str]:
        counts = await partitions_of(self.settings.brokers_text, *self.topics.raw_topics)
        return sources_of(self.topics, counts)

    def track(self) -> TrackStage:
        """The track stage."""
        settings, topics = self.settings, self.topics
        sources = sources_of(topics, self.counts)
        consumer = make_consumer(settings.brokers_text, topics.track_group)
        context = TrackContext(
            store=self.store,
            topics=topics,
            partitions=self.partitions,
            config=config_of(settings, sources, self.partitions),
            compile=table_of,
            encoder=OutputEncoder(topics, self.partitions),
            decode=decode_canonical,
            metrics=self.metrics,
            limits=Limits(settings.batch_records, settings.batch_deadlines, settings.state_cache, BATCH_BYTES),
            append=self.sender.append,
            first_config=lambda partition, moved: first_config(settings, topics, partition, moved),
            log_range=lambda partition: log_range(consumer, topics, partition, known_end=self.exactly_once),
            has_outputs=lambda partition: has_outputs(consumer, topics, partition),
            check_change=check_change,
            wall=settings.clock == "wall",
            seal=Seal(settings.dead_letters, settings.dead_letters_key),
        )
        return TrackStage(
            consumer,
            context,
            lambda partition: make_publisher(settings.brokers_text, topics, partition, exactly_once=self.exactly_once),
            self._ask,
            self.health,
            self._count_sources,
            batch=settings.batch_records,
        )

    async def close(self) -> None:
        """Release everything."""
        await self._stack.aclose()


def sources_of(topics: Topics, counts: Mapping[str, int]) -> list[str]:
    """The raw partitions by name, where the topics have so many."""
    return [source_name(topic, partition) for topic in topics.raw_topics for partition in range(counts[topic])]


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


async def stored_config(store: RedisStore, partition: int) -> Config | None:
    """The config in force in a partition, as it lies beside the states; None where nothing was folded yet."""
    (stored,) = await store.states(partition, [CONFIG_KEY])
    found = None if stored is None else decode_control("config", stored)
    return found if isinstance(found, Config) else None


async def has_outputs(consumer: AIOKafkaConsumer, topics: Topics, partition: int) -> bool:
    """Whether an output topic holds, or has held, a record of this partition."""
    tps = [TopicPartition(topic, partition) for topic in topics.outputs]
    try:
        return any(end > 0 for end in (await consumer.end_offsets(tps)).values())
    except FAILURES as error:
        raise Unavailable(f"whether {tps[0].topic}/{partition} is empty is not known: {error!r}") from error


async def log_range(
    consumer: AIOKafkaConsumer, topics: Topics, partition: int, *, known_end: bool
) -> tuple[int, int | None]:
    """The first and the next offset of a partition of the log. The embedded broker says a wrong end, and a broker with
    transactions a right one (`known_end`)."""
    tp = TopicPartition(topics.events, partition)
    try:
        start = int((await consumer.beginning_offsets([tp]))[tp])
        return start, int((await consumer.end_offsets([tp]))[tp]) if known_end else None
    except FAILURES as error:
        raise Unavailable(f"where {topics.events}/{partition} begins and ends is not known: {error!r}") from error


async def first_config(settings: Settings, topics: Topics, partition: int, moved: Callable[[], None]) -> Config | None:
    """The first config record of a partition of the log, which applies from its start. `moved` hears of each answer."""
    tp = TopicPartition(topics.events, partition)
    consumer = make_consumer(settings.brokers_text, topics.track_group, group_id=None)
    try:
        await consumer.start()
        consumer.assign([tp])
        await consumer.seek_to_beginning(tp)
        while True:
            polled = await consumer.getmany(tp, timeout_ms=2_000)
            if polled:
                moved()
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


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine on the fast event loop."""
    return uvloop.run(main, loop_factory=new_event_loop)
