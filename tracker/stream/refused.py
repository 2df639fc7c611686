"""What cannot be folded, or not be published, becomes a dead letter; what is only too long is shortened before that."""

from __future__ import annotations

from tracker.errors import BadEvent
from tracker.metrics import Tally
from tracker.stream.fit import shorten, size
from tracker.stream.partition import DeadRecord
from tracker.stream.ports import Headers, OutRecord
from tracker.wire.deadletters import Origin, write_letter
from tracker.wire.sealing import PLAIN, Seal
from tracker.wire.topics import Topics


class Refused:
    """Of one partition of the log. `record_bytes` is the broker's largest record."""

    def __init__(self, partition: int, topics: Topics, tally: Tally, record_bytes: int, seal: Seal = PLAIN) -> None:
        self._partition = partition
        self._topics = topics
        self._tally = tally
        self._most = record_bytes
        self._seal = seal

    def letter(self, dead: DeadRecord, at: int) -> OutRecord:
        """The dead letter, written at `at` (ms), of a record that cannot be folded."""
        record = dead.record
        origin = Origin(record.topic, record.partition, record.offset, record.timestamp)
        return self._write(origin, record.key, record.value, record.headers, dead.error, at)

    def fit(self, outputs: list[OutRecord], offset: int) -> list[OutRecord]:
        """What the broker would refuse must not be committed to the store first, and must not stop the line. The log
        was folded up to `offset` before."""
        most = self._most
        if all(len(output.value or b"") < most // 2 for output in outputs):
            return outputs  # the usual case, without a look at each header
        fitting = []
        for output in outputs:
            if size(output) <= most:
                fitting.append(output)
                continue
            shorter = shorten(output)
            fits = size(shorter) <= most
            self._tally.bounds["output_shortened" if fits else "output_refused"] += 1
            fitting.append(shorter if fits else self._too_large(output, offset))
        return fitting

    def _too_large(self, output: OutRecord, offset: int) -> OutRecord:
        """Its origin is the topic it was for, and how far the log was folded before."""
        origin = Origin(output.topic, output.partition, offset, output.timestamp)
        error = BadEvent(
            "output_too_large", f"{size(output)} bytes; allowed by the broker's largest record: {self._most}"
        )
        return self._write(origin, output.key, output.value, output.headers, error, output.timestamp)

    def _write(
        self, origin: Origin, key: bytes | None, value: bytes | None, headers: Headers, error: BadEvent, at: int
    ) -> OutRecord:
        self._tally.dead_letters[error.reason] += 1
        letter = write_letter(origin, key, value, headers, error, seal=self._seal)
        return OutRecord(self._topics.dead_letters, self._partition, *letter, at)
