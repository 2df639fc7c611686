"""One partition of the log folded again in memory, without broker, store, batches or faults.

What the tracker does to a partition is a function of its records, so this gives every output, state and counter that
the real workers have to have made of them, in order and to the byte. It judges the protocol, not the fold: that is
what the naive oracle is for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from tests.properties.log import Worker
from tracker.wire.control import Config, control_kind, decode_control
from tracker.wire.topics import Topics
from tracker.wiring import table_of

CACHE = 20_000
NO_LIMIT = 1 << 40


def digest(value: bytes | None) -> bytes:
    """What stands for a value where millions are kept."""
    return blake2b(value or b"", digest_size=12).digest()


class Refold:
    """Feed it the partition's records in order; `outputs` grows: topic -> (person, digest)."""

    def __init__(self, partition: int, partitions: int, topics: Topics) -> None:
        self.outputs: dict[str, list[tuple[bytes, bytes]]] = {topic: [] for topic in (*topics.outputs, topics.late)}
        self.sent_on: Counter[tuple[bytes, bytes]] = Counter()
        """Forwards and absorbs: what goes back into the log, of this partition or another."""
        self._partition = partition
        self._partitions = partitions
        self._topics = topics
        self._worker: Worker | None = None

    @property
    def states(self) -> dict[str, bytes]:
        """Encoded states by person."""
        return {} if self._worker is None else self._worker.states

    @property
    def counters(self) -> dict[str, int]:
        """The map's counters that are not 0."""
        return {} if self._worker is None else self._worker.counted()

    @property
    def dead(self) -> int:
        """Records that could not be folded."""
        return 0 if self._worker is None else self._worker.dead

    def feed(self, records: Sequence[Any], following: int) -> None:
        """The next records; the first config among them applies from the partition's start."""
        if self._worker is None:
            self._worker = Worker(
                cache=CACHE,
                deadlines=NO_LIMIT,
                partition=self._partition,
                partitions=self._partitions,
                topics=self._topics,
                config=_first_config(records),
                compile=table_of,
            )
        worker = self._worker
        worker.handle(records, following)
        for topic, key, value in worker.said:
            known = self.outputs.get(topic)
            if known is None:
                self.sent_on[key, digest(value)] += 1
            else:
                known.append((key, digest(value)))
        worker.said.clear()


def _first_config(records: Sequence[Any]) -> Config:
    for record in records:
        if control_kind(record.headers) == "config":
            config = decode_control("config", record.value)
            assert isinstance(config, Config)
            return config
    raise AssertionError("the first records of a partition hold no config")
