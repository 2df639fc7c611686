"""A store and a publisher in memory, which note what they are asked, and a partition of the track stage on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tracker.domain.events import KNOWN_TYPES, Event
from tracker.errors import Fenced, PositionRefused, Unavailable
from tracker.metrics import Metrics
from tracker.settings import Settings
from tracker.stream.ports import Commit, Headers, OutRecord, PartitionRow
from tracker.stream.track import Limits, TrackContext, TrackPartition
from tracker.wire.control import Config, Passed, control_headers, encode_control
from tracker.wire.decode import decode_canonical, encode_event
from tracker.wire.encode import OutputEncoder
from tracker.wire.position import Position
from tracker.wire.topics import Topics
from tracker.wiring.parts import check_change, config_of, table_of

TOPICS = Topics()


class LogRecord(NamedTuple):
    """A record of the log as a consumer hands it over."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def of_event(offset: int, event: Event) -> LogRecord:
    person = f"c:{event.customer_id}" if event.customer_id else f"a:{event.anonymous_id}"
    return LogRecord(TOPICS.events, 0, offset, event.ts, person.encode(), encode_event(event), [])


def of_time(offset: int, ts: int) -> LogRecord:
    """Everything before `ts` is in the log, and published."""
    passed = Passed({0: (ts, ts)})
    return LogRecord(TOPICS.events, 0, offset, ts, None, encode_control(passed), control_headers(passed))


class MemoryStore:
    """One partition. `asked` notes the calls, shared with the publisher's."""

    def __init__(self, asked: list[str]) -> None:
        self.asked = asked
        self.token = ""
        self.position: Position | None = None
        self.meta = b""
        self.held: dict[str, bytes] = {}
        self.timers: dict[str, int] = {}
        self.entries: dict[Position, bytes] = {}
        self.commits: list[Commit] = []
        self.commits_left: int | None = None
        """So many more until the store goes away."""

    async def take(self, partition: int, token: str) -> None:
        self.asked.append("take")
        self.token = token

    async def row(self, partition: int) -> PartitionRow | None:
        self.asked.append("row")
        return None if self.position is None else PartitionRow(self.position, self.meta)

    async def states(self, partition: int, persons: Sequence[str]) -> list[bytes | None]:
        return [self.held.get(person) for person in persons]

    async def due(self, partition: int, until: int, limit: int) -> list[tuple[int, str]]:
        due = sorted((at, person.encode()) for person, at in self.timers.items() if at <= until)
        return [(at, person.decode()) for at, person in due[:limit]]

    async def commit(self, partition: int, token: str, commit: Commit) -> bool:
        if token != self.token:
            raise Fenced("another worker took the partition")
        if commit.begin != self.position:
            raise PositionRefused(f"{commit.begin} is not {self.position}")
        if self.commits_left is not None:
            if self.commits_left == 0:
                raise Unavailable("the store is away")
            self.commits_left -= 1
        self.commits.append(commit)
        self.position, self.meta = commit.end, commit.meta
        self.held.update(commit.states)
        for person in commit.gone:
            self.held.pop(person, None)
        for person, due in commit.timers:
            if due is None:
                self.timers.pop(person, None)
            else:
                self.timers[person] = due
        for position in commit.trim:
            self.entries.pop(position, None)
        if commit.outbox is not None:
            self.entries[commit.end] = commit.outbox
        return True

    async def outbox(self, partition: int) -> list[tuple[Position, bytes]]:
        return sorted(self.entries.items(), key=lambda entry: entry[0].order())

    async def counters(self, partition: int) -> dict[str, int]:
        return {}


class MemoryPublisher:
    """What a broker keeps of one partition."""

    exactly_once = True

    def __init__(self, asked: list[str]) -> None:
        self.asked = asked
        self.position: Position | None = None
        self.records: list[OutRecord] = []
        self.away = False

    async def open(self) -> None:
        self.asked.append("open")

    async def committed(self) -> Position | None:
        self.asked.append("committed")
        return self.position

    async def publish(self, records: Sequence[OutRecord], position: Position) -> None:
        self.asked.append("publish")
        if self.away:
            raise Unavailable("the broker is away")
        self.records += records
        self.position = position

    async def close(self) -> None:
        self.asked.append("close")


class Bench:
    """One partition, its store, its broker, and a log of `start` to `end`."""

    def __init__(self, *, records: int = 1000, deadlines: int = 1000, record_bytes: int = 900 * 1024) -> None:
        self.asked: list[str] = []
        self.store = MemoryStore(self.asked)
        self.publisher = MemoryPublisher(self.asked)
        self.start, self.end = 0, 1_000_000
        self.appended: list[OutRecord] = []
        self.metrics = Metrics(KNOWN_TYPES)
        self.limits = Limits(records, deadlines, cache=100, record_bytes=record_bytes)
        self.in_log: Config | None = None

    def partition(self) -> TrackPartition:
        """A new owner."""

        async def append(records: Sequence[OutRecord]) -> None:
            self.appended += records

        async def first_config(_: int, moved: Callable[[], None]) -> Config | None:
            moved()
            return self.in_log

        async def log_range(_: int) -> tuple[int, int | None]:
            return self.start, self.end

        async def has_outputs(_: int) -> bool:
            return bool(self.publisher.records)

        context = TrackContext(
            store=self.store,
            topics=TOPICS,
            partitions=1,
            config=config_of(Settings(), ["shop.clicks/0"], 1),
            compile=table_of,
            encoder=OutputEncoder(TOPICS, 1),
            decode=decode_canonical,
            metrics=self.metrics,
            limits=self.limits,
            append=append,
            first_config=first_config,
            log_range=log_range,
            has_outputs=has_outputs,
            check_change=check_change,
            wall=False,
        )
        return TrackPartition(0, context, self.publisher)
