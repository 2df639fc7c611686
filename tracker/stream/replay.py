"""Replay: sends a recording through the pipeline under the event clock and says how far time has come.

Events go to the first raw topic, keyed by person. After them, once every one of them is acknowledged, a
`progress` marker goes to every partition of every raw topic: "everything before ts is written". So the
tracker's time is that of the recording, however fast it is sent.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

from tracker.errors import SettingError, Unavailable
from tracker.stream.recording import Recorded, Recording, shifted, whole_days
from tracker.wire.bounds import MAX_TS

MARKER_EVERY_MS = 60_000
MARKER_EVERY_EVENTS = 2_000
EVENTS_AHEAD = 50_000
"""Events sent that the tracker's watermark has not passed yet, at most."""
PERSON_AHEAD = 400
"""The same for one person: fewer than a state keeps waiting (1,000) or in its tail (512), so that nothing
that the fold would do with one event after the other is forced because the sender is fast."""
TICK = 0.5
"""Seconds between two chunks when the replay has a speed: events due meanwhile go together, then a marker."""
POLL = 0.1
"""Seconds between two questions of how far the tracker has come."""

Progress = Callable[[], Awaitable[int | None]]
"""The least watermark, in ms, over C of all partitions; None while one of them has none."""


class RawLog(Protocol):
    """The raw topics as a sender sees them. Both calls block until the broker has acknowledged."""

    async def send(self, records: Sequence[Recorded]) -> None:
        """Write events, in this order, to the first raw topic, keyed by person, timestamped with their own
        time. Raises `Unavailable`."""

    async def mark(self, ts: int) -> None:
        """Write a `progress` marker (ts in ms) to every partition of every raw topic. Raises
        `Unavailable`."""


@dataclass(frozen=True, slots=True)
class Sent:
    """How far a replay has come: events sent of `total`, the tracker's watermark (ms, None before the first)
    on its way from `first` to `end`, and for how many seconds it has not moved."""

    sent: int
    total: int
    watermark: int | None
    first: int
    end: int
    still: float


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a finished replay did; `shift` is what `rebase` added to every time, in ms."""

    events: int
    first: int
    last: int
    end: int
    shift: int
    markers: int
    seconds: float


async def replay(
    recording: Recording,
    log: RawLog,
    progress: Progress,
    *,
    clock: Literal["wall", "event"],
    longest_wait: int,
    until: int | None = None,
    speed: float | None = None,
    rebase: bool = False,
    report: Callable[[Sent], None] = lambda _: None,
    patience: float = 120.0,
    now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> Replayed:
    """Send everything and return when the tracker has published all of it, up to the end.

    `longest_wait` (ms: the models' longest drop-off wait and the session gap) places the end after the last
    event so that every drop-off and session of the recording is out; `until` (ms) sets a later one. `speed`
    is times real time, None as fast as the tracker folds. Under the wall clock only `rebase` at speed 1 makes
    sense: the recording then starts now and every event is sent at its own time.

    Raises `SettingError` when the recording cannot be replayed as asked, `Unavailable` when the tracker's
    watermark has not moved for `patience` seconds."""
    watermark = await progress()
    shift = _shift(recording, watermark, clock, rebase, speed, now)
    if shift:
        recording = shifted(recording, shift)
    if recording.last >= MAX_TS:
        raise SettingError(
            f"the last event would be at {_text(recording.last)}, and events end before {_text(MAX_TS)}: the tracker's "
            "time has run ahead; use an empty namespace (TRACKER_NAMESPACE)"
        )
    if clock == "wall":
        speed, end = 1.0, recording.last + 1
    else:
        end = recording.last + longest_wait + 1
    if until is not None:
        if until < recording.last:
            raise SettingError(
                f"--until {_text(until)} lies before the last event, {_text(recording.last)}; allowed: later than that"
            )
        if until > MAX_TS:  # time never goes back, so it would leave no room for another recording
            raise SettingError(f"--until is {until} ms; allowed: {_text(MAX_TS)} at the latest")
        end = max(end, until)
    sender = _Sender(recording, log, progress, end, report, patience, marks=clock == "event")
    started = time.monotonic()
    await sender.run(speed)
    return Replayed(
        events=len(recording.events),
        first=recording.first,
        last=recording.last,
        end=end,
        shift=shift,
        markers=sender.markers,
        seconds=time.monotonic() - started,
    )


def _shift(
    recording: Recording,
    watermark: int | None,
    clock: str,
    rebase: bool,
    speed: float | None,
    now: Callable[[], int],
) -> int:
    """What to add to every time, in ms; refuses what would only produce late events."""
    first = recording.first
    if clock == "wall":
        if not rebase:
            raise SettingError(
                f"TRACKER_CLOCK=wall: events from {_text(first)} would all be late for a tracker that lives "
                f"in real "
                "time. Use --rebase (starts now, sends every event at its own time), or a namespace of its "
                "own with "
                "TRACKER_CLOCK=event"
            )
        if speed not in (None, 1.0):
            raise SettingError(f"--speed {speed:g}: under TRACKER_CLOCK=wall a replay runs in real time; allowed: 1")
        return now() - first
    if watermark is None or first >= watermark:
        return 0
    if not rebase:
        raise SettingError(
            f"the first event, {_text(first)}, lies before the tracker's watermark, {_text(watermark)}: "
            f"what lies "
            "behind it is over. Use --rebase (adds whole days so that the recording begins after it), or an "
            "empty "
            "namespace (TRACKER_NAMESPACE)"
        )
    return whole_days(watermark - first)


class _Sender:
    """The state of one replay: what is sent, what the tracker has passed, what is in between."""

    def __init__(
        self,
        recording: Recording,
        log: RawLog,
        progress: Progress,
        end: int,
        report: Callable[[Sent], None],
        patience: float,
        marks: bool,
    ) -> None:
        self.events = recording.events
        self.first = recording.first
        self.log = log
        self.progress = progress
        self.end = end
        self.report = report
        self.patience = patience
        self.marks = marks
        self.markers = 0
        self.sent = 0
        self.watermark: int | None = None
        self.moved = time.monotonic()
        self.ahead: Counter[str] = Counter()
        self.chunks: deque[tuple[int, Counter[str]]] = deque()
        """Sent and not passed: each chunk's last ts, and its events by person."""

    async def run(self, speed: float | None) -> None:
        """Send to the end and wait until the tracker is there."""
        started = time.monotonic()
        while self.sent < len(self.events):
            reach = None if speed is None else self.first + int((time.monotonic() - started) * 1000 * speed)
            stop = self._chunk(self.sent, reach)
            chunk = self.events[self.sent : stop]
            if chunk:
                await self.log.send(chunk)
                self.sent = stop
                persons = Counter(recorded.person for recorded in chunk)
                self.ahead.update(persons)
                self.chunks.append((chunk[-1].ts, persons))
            done = self.events[stop].ts if stop < len(self.events) else self.end
            if reach is not None and stop < len(self.events):
                done = min(done, reach)
            await self._mark(done)
            await self._look()
            while self._too_far():
                await self._pause()
            if reach is not None and stop < len(self.events):
                await asyncio.sleep(TICK)
        while self.watermark is None or self.watermark < self.end:
            await self._pause()

    def _chunk(self, begin: int, reach: int | None) -> int:
        """Where the next chunk stops: the next marker is due there, a person has run far enough ahead, or
        what follows is not due yet (after `reach`, ms)."""
        events = self.events
        counts: Counter[str] = Counter()
        start_ts = events[begin].ts
        stop = begin
        while stop < len(events):
            ts, person, _ = events[stop]
            if reach is not None and ts > reach:
                break
            if stop - begin >= MARKER_EVERY_EVENTS and ts - start_ts >= MARKER_EVERY_MS:
                break
            if stop - begin >= EVENTS_AHEAD // 2 or counts[person] >= PERSON_AHEAD // 2:
                break
            counts[person] += 1
            stop += 1
        return stop

    def _too_far(self) -> bool:
        """Whether the tracker must catch up before the next chunk. Real time waits for nobody."""
        if not self.marks:
            return False
        if sum(self.ahead.values()) > EVENTS_AHEAD // 2:
            return True
        return max(self.ahead.values(), default=0) > PERSON_AHEAD // 2

    async def _mark(self, ts: int) -> None:
        if not self.marks:
            return
        await self.log.mark(ts)
        self.markers += 1

    async def _pause(self) -> None:
        await asyncio.sleep(POLL)
        await self._look()

    async def _look(self) -> None:
        """Ask how far the tracker has come, forget what it has passed, and say so."""
        watermark = await self.progress()
        if watermark != self.watermark:
            self.watermark = watermark
            self.moved = time.monotonic()
        while self.chunks and watermark is not None and self.chunks[0][0] <= watermark:
            self.ahead -= self.chunks.popleft()[1]
        waiting = bool(self.chunks)
        if not waiting and self.sent < len(self.events):
            self.moved = time.monotonic()
        still = time.monotonic() - self.moved
        self.report(Sent(self.sent, len(self.events), watermark, self.first, self.end, still))
        if still > self.patience:
            raise Unavailable(
                f"the tracker's watermark has stood at {_text(watermark)} for {still:.0f} s, with "
                f"{self.sent} of "
                f"{len(self.events)} events sent: does `tracker worker` run, with the same TRACKER_BROKERS, "
                "TRACKER_RAW_TOPICS and TRACKER_NAMESPACE, and TRACKER_CLOCK=event?"
            )


def _text(ms: int | None) -> str:
    return "nothing yet" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds")
