"""A guard against what runs away: no person does so much in so short a time.

Counted by the events' own times, in windows that follow on each other, so that a backlog read at speed is no rush.
Orders and what is done to people (passive types) are a server's to tell, and are neither counted nor left out. Most
people never do enough to be counted: that begins when as many events as the shorter window allows are remembered.
"""

from __future__ import annotations

from tracker.domain.events import Event
from tracker.domain.ids import SHORT_HASH_BYTES
from tracker.domain.refold import decode_event
from tracker.domain.state import State, unframed
from tracker.domain.table import Table

MINUTES = 100_000
MOST_IN_MINUTES = 100
HALF_DAY = 12 * 3_600_000
MOST_IN_HALF_DAY = 2_500
"""So many events in a window (ms) count; the rest of it is left out."""
BUSY = MOST_IN_MINUTES * SHORT_HASH_BYTES
"""Bytes of remembered event ids from which on a person is counted."""


def runs_away(state: State, event: Event, table: Table) -> bool:
    """Whether an event is one too many, to be left out; it is counted if not."""
    rule = table.types.get(event.type, table.other)
    if rule.orders or not rule.active:
        return False
    minutes, in_minutes, half_day, in_half_day = state.pace or _so_far(state, event.ts)
    ts = event.ts
    if ts >= minutes + MINUTES:
        minutes, in_minutes = ts - ts % MINUTES, 0
        if ts >= half_day + HALF_DAY:
            half_day, in_half_day = ts - ts % HALF_DAY, 0
    if in_minutes >= MOST_IN_MINUTES or in_half_day >= MOST_IN_HALF_DAY:
        return True
    state.pace = (minutes, in_minutes + 1, half_day, in_half_day + 1)
    return False


def _so_far(state: State, ts: int) -> tuple[int, int, int, int]:
    """What the recent events and those that wait say of the windows around `ts`."""
    minutes, half_day = ts - ts % MINUTES, ts - ts % HALF_DAY
    times = [decode_event(raw).ts for raw in unframed(state.tail)] + [at for at, _, _ in state.waiting]
    in_minutes = sum(minutes <= at < minutes + MINUTES for at in times)
    return minutes, in_minutes, half_day, sum(half_day <= at < half_day + HALF_DAY for at in times)
