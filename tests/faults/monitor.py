"""How long it takes from a fault until the tracker gets on: watches the positions that it commits to the broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiokafka.admin import AIOKafkaAdminClient

from tracker.broker.discard import FAILURES
from tracker.stream.settling import SETTLED
from tracker.wire.position import Position, decode_position
from tracker.wire.topics import Topics

EVERY = 0.2
PATIENCE = 5.0

Order = tuple[int, int, bytes]


@dataclass
class Fault:
    """One thing that was done. Times are of `time.monotonic`; `effective` is when nothing could go on as before.
    `touched` are the partitions that it was done to, none where it was done to what all of them need."""

    kind: str
    began: float
    effective: float
    ended: float = 0.0
    detail: str = ""
    touched: Sequence[int] = ()
    one: bool = False
    """Whether it was done to the network of one worker only."""

    @property
    def name(self) -> str:
        """What it is reported as."""
        return f"{self.kind} of one worker" if self.one else self.kind


@dataclass
class Recovery:
    """Seconds from a fault's beginning until the first partition that it touched moved on, and until all of the
    tracker's partitions had."""

    first: float | None
    all: float | None


@dataclass
class Monitor:
    """Polls the committed positions of the track group, directly at the broker."""

    brokers: str
    topics: Topics
    partitions: int
    polls: list[tuple[float, dict[int, Order]]] = field(default_factory=list)
    """(when it was asked, partition -> what was committed)"""
    committed: dict[int, Position] = field(default_factory=dict)
    """The newest answer."""
    fallen: dict[int, tuple[float, str]] = field(default_factory=dict)
    """By partition: since when its position lies before one that was seen, and from where to where."""
    backwards: list[str] = field(default_factory=list)
    """Positions that fell and stayed there, which none may: a broker that was killed answers with old ones for a moment
    (see decision 45)."""

    async def run(self) -> None:
        """Until cancelled."""
        admin: AIOKafkaAdminClient | None = None
        try:
            while True:
                asked = time.monotonic()
                try:
                    async with asyncio.timeout(PATIENCE):
                        if admin is None:
                            admin = AIOKafkaAdminClient(bootstrap_servers=self.brokers, request_timeout_ms=4000)
                            await admin.start()
                        self._note(asked, await admin.list_consumer_group_offsets(self.topics.track_group))
                except FAILURES:
                    if admin is not None:
                        await _close(admin)
                    admin = None
                await asyncio.sleep(EVERY)
        finally:
            if admin is not None:
                await _close(admin)

    def recovery(self, fault: Fault) -> Recovery:
        """What became of the tracker after a fault; None where that was not seen."""
        after = [(asked, found) for asked, found in self.polls if asked >= fault.effective]
        moved: dict[int, float] = {}
        baseline: dict[int, Order] = {}
        for asked, found in after:
            for partition, order in found.items():
                if partition not in baseline:
                    baseline[partition] = order
                elif partition not in moved and order > baseline[partition]:
                    moved[partition] = asked - fault.began
            if len(moved) == self.partitions:
                break
        touched = fault.touched or range(self.partitions)
        first = min((moved[partition] for partition in touched if partition in moved), default=None)
        return Recovery(first, max(moved.values()) if len(moved) == self.partitions else None)

    def _note(self, asked: float, reply: dict[object, object]) -> None:
        found: dict[int, Order] = {}
        for where, what in reply.items():
            topic, partition = where.topic, where.partition  # type: ignore[attr-defined]
            metadata = what.metadata  # type: ignore[attr-defined]
            if topic != self.topics.events or not metadata:
                continue
            position = decode_position(metadata)
            before = self.committed.get(partition)
            if before is not None and position.order() < before.order():
                fell = f"partition {partition}: from {before.encode()} to {position.encode()}"
                since, _ = self.fallen.setdefault(partition, (asked, fell))
                if asked - since <= SETTLED:
                    continue
                self.backwards.append(fell)
            self.fallen.pop(partition, None)
            self.committed[partition] = position
            found[partition] = position.order()
        self.polls.append((asked, found))


async def _close(admin: AIOKafkaAdminClient) -> None:
    try:
        async with asyncio.timeout(1):
            await admin.close()
    except FAILURES:
        pass
