"""A partition of the log in memory, folded as a worker does it: scan, fetch, walk, commit; with cuts and restarts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tests.properties.runner import END_OF_TIME, Person, table
from tests.properties.strategies import START
from tracker.domain.claims import is_claim
from tracker.domain.events import Event
from tracker.domain.lineup import Lineup
from tracker.domain.model import FoldSettings
from tracker.domain.outputs import DropOff, SessionClosed, Transition
from tracker.domain.state import State, decode_state
from tracker.domain.units import NEVER
from tracker.metrics import Tally
from tracker.stream.canonical import LOG_APPEND_TIME
from tracker.stream.links import Links
from tracker.stream.marks import Marks, decode_marks, encode_marks
from tracker.stream.partition import Compile, PartitionFold
from tracker.stream.ports import OutRecord
from tracker.wire.control import (
    Config,
    Control,
    Passed,
    control_headers,
    encode_control,
)
from tracker.wire.decode import decode_canonical
from tracker.wire.encode import Encoded, OutputEncoder
from tracker.wire.position import Position
from tracker.wire.topics import Topics

TOPICS = Topics()
CONFIG = Config(models=("",), fold=FoldSettings(), fold_version=1, sources=())

Said = tuple[str, bytes, bytes]


@dataclass(frozen=True)
class LogRecord:
    """A record of the only partition."""

    offset: int
    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()
    topic: str = TOPICS.events
    partition: int = 0
    timestamp: int = 0
    timestamp_type: int = LOG_APPEND_TIME


@dataclass
class Log:
    """The records of a partition; offsets have gaps, as after aborted transactions."""

    records: list[LogRecord] = field(default_factory=list)

    def __repr__(self) -> str:
        return "".join(f"\n{r.offset} {r.key!r} {r.value[:200]!r} {list(r.headers)}" for r in self.records)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text("" if cycle else repr(self))

    @property
    def end(self) -> int:
        return self.records[-1].offset + 2 if self.records else 0

    def event(self, event: Event, key: str) -> None:
        self.add(key.encode(), msgspec.json.encode(event))

    def control(self, control: Control, key: str | None = None) -> None:
        self.add(None if key is None else key.encode(), encode_control(control), control_headers(control))

    def watermark(self, ts: int) -> None:
        self.control(Passed({0: (ts, ts)}))

    def add(self, key: bytes | None, value: bytes, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        self.records.append(LogRecord(self.end, key, value, headers))


@dataclass
class Worker:
    """Owns the partition. `cache` states stay in memory, at most `deadlines` of them are fetched per commit."""

    cache: int = 1000
    deadlines: int = 1000
    partition: int = 0
    partitions: int = 1
    topics: Topics = TOPICS
    config: Config = CONFIG
    compile: Compile = lambda _: table()
    lineups: list[Lineup] = field(default_factory=list)
    erased: dict[bytes, int] = field(default_factory=dict)
    states: dict[str, bytes] = field(default_factory=dict)
    timers: dict[str, int] = field(default_factory=dict)
    position: Position = field(default_factory=lambda: Position(0))
    meta: bytes = field(default_factory=lambda: encode_marks(Marks()))
    said: list[Said] = field(default_factory=list)
    sent: list[Encoded] = field(default_factory=list)
    """What of it goes to the log."""
    counters: dict[str, int] = field(default_factory=dict)
    dead: int = 0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin with nothing in memory, as after a restart."""
        self.fold = PartitionFold(
            self.partition,
            self.partitions,
            self.config,
            self.compile,
            OutputEncoder(self.topics, self.partitions),
            decode_canonical,
            Tally(),
            cache=self.cache,
            position=self.position,
            marks=decode_marks(self.meta),
            lineups=self.lineups,
            erased=self.erased,
        )

    def handle(self, records: Sequence[LogRecord], following: int, crash: bool = False) -> None:
        """Fold a batch in as many commits as it takes; with `crash` begin anew after the first of them."""
        while records or self.position.offset < following:
            needs = self.fold.scan(records)
            due: list[tuple[int, str]] = []
            horizon = None
            if needs.until is not None:
                ripe = sorted((at, person.encode()) for person, at in self.timers.items() if at <= needs.until)
                due = [(at, person.decode()) for at, person in ripe[: self.deadlines]]
                horizon = ripe[self.deadlines - 1] if len(due) == self.deadlines else None
            timers = [(at, person.encode()) for at, person in due]
            wanted = list(dict.fromkeys([*needs.persons, *self.fold.missing(key for _, key in timers)]))
            self.fold.load([(key, self.states.get(key.decode())) for key in wanted], timers)
            walked = self.fold.walk(records, following, NEVER if needs.until is None else needs.until, horizon)
            self.position = walked.position
            self.meta = encode_marks(self.fold.marks)
            states = self.fold.states
            self.config, self.lineups, self.erased = self.fold.config, states.lineups, dict(states.erased)
            self.states.update(walked.states)
            for person in walked.gone:
                self.states.pop(person, None)
            for person, at in walked.timers:
                if at is None:
                    self.timers.pop(person, None)
                else:
                    assert abs(at) < 1 << 53, "a sorted set holds no larger number exactly"
                    self.timers[person] = at
            for name, by in walked.counters:
                self.counters[name] = self.counters.get(name, 0) + by
            self.said += [(output.topic, output.key, output.value) for output in walked.outputs]
            self.sent += [output for output in walked.outputs if output.topic == self.topics.events]
            self.dead += len(walked.dead)
            records = records[walked.done :]
            if crash:
                self.start()
                crash = False

    def read(self, log: Log, cuts: Iterator[int] | None = None, crashes: Iterator[bool] | None = None) -> Worker:
        """The whole log, in batches of the sizes that `cuts` gives (one record each without)."""
        place = 0
        while place < len(log.records):
            size = next(cuts) if cuts is not None else 1
            batch = log.records[place : place + size]
            place += len(batch)
            following = log.records[place].offset if place < len(log.records) else log.end
            self.handle(batch, following, crash=crashes is not None and next(crashes))
        return self

    def counted(self) -> dict[str, int]:
        return {name: count for name, count in self.counters.items() if count}

    def people(self) -> dict[str, State]:
        """The stored states, without their timers: a lower bound may be any."""
        found = {person: decode_state(state) for person, state in self.states.items() if not is_claim(person.encode())}
        for state in found.values():
            state.timer = None
        return found


def send_on(log: Log, worker: Worker) -> None:
    """Let the worker read on; append what it addresses to its own log."""
    while worker.position.offset < log.end:
        batch = [record for record in log.records if record.offset >= worker.position.offset]
        before = len(worker.sent)
        worker.handle(batch, log.end)
        for record in worker.sent[before:]:
            assert record.partition == 0
            log.add(record.key or None, record.value, record.headers)


def ingested(told: Event, links: Links) -> tuple[str, list[OutRecord]]:
    """(whose an event is, the links that it states), as ingest would have it."""
    person = f"c:{told.customer_id}" if told.customer_id else f"a:{told.anonymous_id}"
    out: list[OutRecord] = []
    if told.customer_id is not None and told.anonymous_id is not None:
        links.merge(told, person, out, 0)
    links.claim(told, person, out, 0)
    return person, out


def append(log: Log, links: Links, told: Event) -> None:
    """An event as ingest appends it to the only partition, with the links that it states."""
    person, out = ingested(told, links)
    log.event(told, person)
    for record in out:
        log.add(record.key, record.value or b"", record.headers)


def retold(worker: Worker, name: str = "c:p") -> Person:
    """What the worker said of somebody, and their state, as a runner's person."""
    person = Person(name=name)
    kinds: dict[str, type[Any]] = {
        TOPICS.transitions: Transition,
        TOPICS.dropoffs: DropOff,
        TOPICS.sessions: SessionClosed,
    }
    for topic, key, value in worker.said:
        if topic in kinds and key == name.encode():
            person.out.append(msgspec.json.decode(value, type=kinds[topic]))
    if name in worker.states:
        person.state = worker.people()[name]
    person.watermark = START + 2 * END_OF_TIME
    return person
