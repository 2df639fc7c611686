"""Several partitions of the log, a worker each; what they send each other is under way until it is delivered."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from tests.properties.log import TOPICS, Log, Worker, ingested
from tracker.domain.events import Event
from tracker.stream.links import Links
from tracker.wire.control import Control, Passed
from tracker.wire.encode import Encoded
from tracker.wire.partition import partition_of

PARTITIONS = 3
Move = tuple[str, int, int]
"""`deliver` from one partition to another, or `read` one."""


@dataclass
class Cluster:
    """Workers read when they are told to, and what one of them sends to a partition stays in order, as on Kafka. Ingest
    remembers what it said of links."""

    logs: list[Log] = field(default_factory=lambda: [Log() for _ in range(PARTITIONS)])
    workers: list[Worker] = field(
        default_factory=lambda: [Worker(partition=place, partitions=PARTITIONS) for place in range(PARTITIONS)]
    )
    links: Links = field(default_factory=lambda: Links(TOPICS.events, PARTITIONS))
    under_way: dict[tuple[int, int], list[Encoded]] = field(default_factory=lambda: defaultdict(list))

    def tell(self, told: Event) -> None:
        """An event as ingest writes it, with the links that it states."""
        person, out = ingested(told, self.links)
        self.logs[_place(person)].event(told, person)
        for one in out:
            self.logs[one.partition].add(one.key, one.value or b"", one.headers)

    def control(self, control: Control, key: str) -> None:
        """A control record as a command writes it."""
        self.logs[_place(key)].control(control, key)

    def moves(self) -> list[Move]:
        """What can happen next."""
        unread = [place for place, log in enumerate(self.logs) if self.workers[place].position.offset < log.end]
        return [*(("deliver", *way) for way in sorted(self.under_way)), *(("read", place, place) for place in unread)]

    def make(self, move: Move) -> None:
        """The first record on a way gets into its log, or a worker reads all that its log has."""
        what, sender, place = move
        if what == "read":
            self._read(place)
            return
        way = sender, place
        record = self.under_way[way].pop(0)
        if not self.under_way[way]:
            del self.under_way[way]
        self.logs[place].add(record.key or None, record.value, record.headers)

    def settle(self) -> None:
        """Everything is delivered and read."""
        while moves := self.moves():
            self.make(moves[0])

    def time(self, watermark: int) -> None:
        """Time moves only when nothing is under way: that is what w1 is for (see `stream.marks`)."""
        self.settle()
        for log in self.logs:
            log.control(Passed(dict.fromkeys(range(PARTITIONS), (watermark, watermark))))
        self.settle()

    def _read(self, place: int) -> None:
        log, worker = self.logs[place], self.workers[place]
        batch = [record for record in log.records if record.offset >= worker.position.offset]
        before = len(worker.sent)
        worker.handle(batch, log.end)
        for record in worker.sent[before:]:
            self.under_way[place, record.partition].append(record)


def _place(key: str) -> int:
    return partition_of(key.encode(), PARTITIONS)
