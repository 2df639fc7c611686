"""Recordings: canonical events in files, one JSON object a line, checked and put in order of time before
replay."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tracker.domain.events import Event
from tracker.errors import BadEvent, BadRecording, SettingError
from tracker.wire.bounds import MAX_TS, MIN_TS
from tracker.wire.decode import encode_event, read_event

DAY = 86_400_000
MOMENTS = ("_at", "_until")
"""How the names of properties end that are moments."""
SHOWN = 10
"""How many bad lines an error message lists."""


class Recorded(NamedTuple):
    """One event ready to send: its time in ms UTC, its person's id and its bytes."""

    ts: int
    person: str
    value: bytes


class BadLine(NamedTuple):
    """A line that is no canonical event: where it stands (`file:line`) and why it cannot be used."""

    where: str
    reason: str


class Recording(NamedTuple):
    """Events in order of time (those of one instant in order of file and line), and the lines left out."""

    events: Sequence[Recorded]
    bad: Sequence[BadLine]

    @property
    def first(self) -> int:
        """The time of the first event, in ms UTC; a recording that is to be replayed has one."""
        return self.events[0].ts

    @property
    def last(self) -> int:
        """The time of the last event, in ms UTC."""
        return self.events[-1].ts


def read_recording(paths: Sequence[Path], *, skip_bad: bool = False) -> Recording:
    """Read files (plain or .gz), check every line as ingest would, sort by time.

    Raises `SettingError` for a file that cannot be read or holds no event, and `BadRecording` naming the bad
    lines unless `skip_bad` leaves them out. Everything is held in memory: about 600 bytes an event."""
    events: list[Recorded] = []
    bad: list[BadLine] = []
    for path in paths:
        for number, line in enumerate(_lines(path), 1):
            if not line.strip():
                continue
            try:
                events.append(_recorded(line.strip()))
            except BadEvent as error:
                bad.append(BadLine(f"{path}:{number}", str(error)))
    if bad and not skip_bad:
        listed = "\n".join(f"  {where}: {reason}" for where, reason in bad[:SHOWN])
        more = f"\n  and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise BadRecording(
            f"{len(bad)} of {len(bad) + len(events)} lines are not canonical events, nothing was sent:\n"
            f"{listed}{more}\nMend them, or leave them out with --skip-bad.",
        )
    if not events:
        names = ", ".join(str(path) for path in paths)
        raise SettingError(f"{names}: no event to replay; expected canonical events as JSON, one a line")
    events.sort(key=lambda recorded: recorded.ts)
    return Recording(events, bad)


def recording_of(events: Iterable[Event]) -> Recording:
    """A recording of events that are in memory, such as the demo's."""
    recorded = [_recorded(encode_event(event)) for event in events]
    recorded.sort(key=lambda one: one.ts)
    return Recording(recorded, ())


def joined(recordings: Iterable[Recording]) -> Recording:
    """All of them as one."""
    parts = list(recordings)
    events = [recorded for part in parts for recorded in part.events]
    events.sort(key=lambda recorded: recorded.ts)
    return Recording(events, [bad for part in parts for bad in part.bad])


def shifted(recording: Recording, by: int) -> Recording:
    """The same events `by` ms later, and with them the moments (ms) that their properties name, such as `delivery_at`.
    Ids are unchanged: an order that the tracker knows already stays known."""
    events = []
    for ts, person, value in recording.events:
        event = read_event(value)[0]
        event.ts = ts + by
        if event.properties is not None:
            event.properties = {name: _later(name, value, by) for name, value in event.properties.items()}
        events.append(Recorded(ts + by, person, encode_event(event)))
    return Recording(events, recording.bad)


def _later(name: str, value: Any, by: int) -> Any:
    moment = name.endswith(MOMENTS) and isinstance(value, int) and MIN_TS <= value < MAX_TS
    return value + by if moment else value


def whole_days(ms: int) -> int:
    """The least number of whole days, in ms, that is at least `ms`: a shift that keeps the time of day."""
    return -(-ms // DAY) * DAY


def _recorded(line: bytes) -> Recorded:
    event, person, value = read_event(line)
    return Recorded(event.ts, person, value)


def _lines(path: Path) -> Iterator[bytes]:
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rb") as packed:
                yield from packed
        else:
            with path.open("rb") as plain:
                yield from plain
    except (OSError, EOFError, zlib.error) as error:
        raise SettingError(f"{path}: cannot be read: {error}") from error
