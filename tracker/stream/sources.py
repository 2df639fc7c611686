"""Source clocks: how far time has come in one raw partition. Pure: every time is an argument, in ms UTC.

A mark *m* says: every event of this partition with `ts < m` has been read and acknowledged by the log. It is
None until there is something to say, and never falls. The stage calls, in this order and for each round:

1. `answered` right after polling, with the position up to which records were handed out,
2. `read` or `progress` for what those records say about time,
3. `acknowledge` once everything handed out so far is in the log. Only this moves the mark.
"""

from __future__ import annotations

from typing import Protocol


class SourceClock(Protocol):
    """What moves the time of one raw partition."""

    mark: int | None

    def answered(self, position: int, end: int, at: int) -> None:
        """The broker's newest response came `at`, with high watermark `end`; the next record is `position`."""

    def read(self, time: int) -> None:
        """An event was read whose time is `time`: the lesser of its `ts` and the broker's record timestamp."""

    def progress(self, ts: int) -> None:
        """A `progress` marker was read: everything before `ts` is written to this partition."""

    def acknowledge(self) -> int | None:
        """Everything handed out so far is in the log: the mark as it is now."""


class _Clock:
    def __init__(self, floor: int | None = None) -> None:
        self.mark = floor
        self._next: int | None = None

    def acknowledge(self) -> int | None:
        """See `SourceClock`."""
        if self._next is not None:
            self.mark = self._next if self.mark is None else max(self.mark, self._next)
            self._next = None
        return self.mark

    def _reached(self, time: int) -> None:
        if self._next is None or time > self._next:
            self._next = time


class WallSource(_Clock):
    """Time under the wall clock, always `out_of_orderness` behind what is known.

    A partition that is fully read as of T is at T: the position is the high watermark of a response whose request
    left after T. A consumer has one request under way at a time, so a response's request left after the response
    before it came, and that is T. (The time at which the response itself came proves nothing: a process that was
    stopped, or a leader that could not be reached, would look caught up.) Otherwise there is a backlog, and time
    is that of the newest event read."""

    def __init__(self, out_of_orderness: int, floor: int | None = None) -> None:
        super().__init__(floor)
        self._behind = out_of_orderness
        self._at: int | None = None
        self._asked_after: int | None = None
        self._position = 0
        self._end = 0

    def answered(self, position: int, end: int, at: int) -> None:
        """See `SourceClock`."""
        if at != self._at:
            # Where the machine's clock was set back, the earlier of the two times is the safe one.
            self._asked_after = None if self._at is None else min(self._at, at)
            self._at = at
            # An old leader may answer late, with less than was known already; but where the position fell, the
            # topic was cut or made anew, and what was known is void.
            self._end = max(self._end, end) if position >= self._position else end
        self._position = position
        if self._asked_after is not None and position >= self._end:
            self._reached(self._asked_after - self._behind)

    def read(self, time: int) -> None:
        """See `SourceClock`."""
        self._reached(time - self._behind)

    def progress(self, ts: int) -> None:
        """See `SourceClock`. Markers mean nothing under the wall clock."""


class EventSource(_Clock):
    """Time under the event clock: only progress markers move it, and nothing is subtracted."""

    def answered(self, position: int, end: int, at: int) -> None:
        """See `SourceClock`. What is fully read says nothing: more of the recording may follow."""

    def read(self, time: int) -> None:
        """See `SourceClock`. Events move nothing."""

    def progress(self, ts: int) -> None:
        """See `SourceClock`."""
        self._reached(ts)
