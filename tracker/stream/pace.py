"""How much one commit covers: as many records and deadlines as keep it small and quick on this machine, now."""

from __future__ import annotations

from collections.abc import Sequence

from tracker.errors import Unavailable
from tracker.stream.ports import OutRecord

COMMIT_BYTES = 32 * 1024 * 1024
MOST_COMMIT_BYTES = 256 * 1024 * 1024
"""Half of the largest argument that Redis takes (`proto-max-bulk-len`)."""

LONG_WALK = 1.0
"""Seconds for which a batch may keep everything else in this process waiting, heartbeats above all: a member of the
group that is not heard of for 10 s loses its partitions, and whoever takes them over begins with the same batch."""
FIRST_RECORDS = 1000
FIRST_DEADLINES = 500
"""What the first commit of an owner covers, before it is known how long that takes here and now."""


class Pace:
    """The records and deadlines that an owner's next commit covers, at most those given."""

    def __init__(self, most_records: int, most_deadlines: int) -> None:
        self._most_records = most_records
        self._most_deadlines = most_deadlines
        self.records = min(most_records, FIRST_RECORDS)
        self.deadlines = min(most_deadlines, FIRST_DEADLINES)

    def learn(
        self,
        states: Sequence[tuple[str, bytes]],
        outputs: Sequence[OutRecord],
        records: int,
        walking: float,
        *,
        cut: bool,
    ) -> None:
        """Keep commits near `COMMIT_BYTES` and walks (of `walking` seconds) below `LONG_WALK`: batches get smaller
        while people are large or the processor is slow, and larger again where they were full (of deadlines: `cut`),
        for a quick walk over few records says nothing about many. What exceeds the store's own bound by far is folded
        again in smaller batches. Raises `Unavailable` then."""
        total = sum(len(state) for _, state in states) + sum(len(output.value or b"") for output in outputs)
        if total > COMMIT_BYTES or walking > LONG_WALK:
            smallest = self.records == self.deadlines == 1
            self.records, self.deadlines = max(min(self.records, records) // 2, 1), max(self.deadlines // 2, 1)
            if total > MOST_COMMIT_BYTES and not smallest:
                raise Unavailable(
                    f"a commit of {total} bytes is more than the store may take ({MOST_COMMIT_BYTES}): trying again "
                    f"with {self.records} records and {self.deadlines} deadlines at a time"
                )
        elif total < COMMIT_BYTES // 4 and walking < LONG_WALK / 4:
            if records >= self.records:
                self.records = min(2 * self.records, self._most_records)
            if cut:
                self.deadlines = min(2 * self.deadlines, self._most_deadlines)
