"""What the stages need from the store and the broker: two narrow protocols and the records that cross them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from tracker.wire.position import Position
from tracker.wire.reading import Reader

Headers = Sequence[tuple[str, bytes]]


class Record(Protocol):
    """A record of the log, or of a raw topic, as the consumer hands it over. `timestamp` in ms."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Dialects(Protocol):
    """How raw records are read."""

    def reader(self, topic: str) -> Reader:
        """A reader for one partition of a raw topic."""

    async def learn(self, values: Iterable[bytes | None]) -> None:
        """Fetch what the readers need for records with these values. Raises `Unavailable`."""


class OutRecord(NamedTuple):
    """One record to publish. `timestamp` in ms."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int


class PartitionRow(NamedTuple):
    """R: what the store knows of a partition. `meta` is the track stage's own blob (watermarks, config in force)."""

    position: Position
    meta: bytes


class Commit(NamedTuple):
    """One batch of one partition, applied as a whole or not at all.

    `states` person -> bytes, `gone` persons whose state is deleted, `timers` person -> due ms (None removes),
    `counters` map field -> increment, `outbox` the batch's outputs as one blob (None: no outputs),
    `trim` positions whose outbox entries have been published."""

    begin: Position | None
    end: Position
    meta: bytes
    states: Sequence[tuple[str, bytes]]
    gone: Sequence[str]
    timers: Sequence[tuple[str, int | None]]
    counters: Sequence[tuple[str, int]]
    outbox: bytes | None
    trim: Sequence[Position]


class Store(Protocol):
    """Journey state by partition. Every call may block on the network; raises `Unavailable` when the store is away."""

    async def take(self, partition: int, token: str) -> None:
        """Write this owner's fencing token; every later commit must carry it."""

    async def row(self, partition: int) -> PartitionRow | None:
        """R, or None where the partition was never committed."""

    async def states(self, partition: int, persons: Sequence[str]) -> list[bytes | None]:
        """The stored states, in the order asked for."""

    async def due(self, partition: int, until: int, limit: int) -> list[tuple[int, str]]:
        """At most `limit` timers with due <= until, as (due, person), ordered by (due, person's bytes)."""

    async def commit(self, partition: int, token: str, commit: Commit) -> bool:
        """Apply a batch; False when it was in already. Raises `Fenced`, `PositionRefused`. Safe to send twice."""

    async def outbox(self, partition: int) -> list[tuple[Position, bytes]]:
        """What has not been trimmed, ordered by position."""

    async def counters(self, partition: int) -> dict[str, int]:
        """The map counters of a partition."""


class Publisher(Protocol):
    """Outputs and source offset of one partition of the log. `exactly_once` says which promise it keeps."""

    exactly_once: bool

    async def open(self) -> None:
        """Initialise the producer: from here on every older owner of the partition is fenced."""

    async def committed(self) -> Position | None:
        """C: the position that the broker holds, or None. Only meaningful after `open`."""

    async def publish(self, records: Sequence[OutRecord], position: Position) -> None:
        """Publish a batch with its position: all of it or none of it when `exactly_once`.
        After any error the publisher is unusable until `open` is called again. Raises `Fenced`, `Unavailable`."""

    async def close(self) -> None:
        """Release the producer; never raises."""
