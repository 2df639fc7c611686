"""A guard against what runs away: no person does so much in so short a time.

Counted by the events' own times, in windows that follow on each other, so that a backlog read at speed is no rush.
Orders and what is done to people (passive types) are a server's to tell, and are neither counted nor left out.
"""

from __future__ import annotations

from tracker.domain.events import Event
from tracker.domain.state import State
from tracker.domain.table import Table

MINUTES = 100_000
MOST_IN_MINUTES = 100
HALF_DAY = 12 * 3_600_000
MOST_IN_HALF_DAY = 2_500
"""So many events in a window (ms) count; the rest of it is left out."""


def runs_away(state: State, event: Event, table: Table) -> bool:
    """Whether an event is one too many, to be left out; it is counted if not."""
    rule = table.types.get(event.type, table.other)
    if rule.orders or not rule.active:
        return False
    minutes, in_minutes, half_day, in_half_day = state.pace
    ts = event.ts
    if ts >= minutes + MINUTES:
        minutes, in_minutes = ts - ts % MINUTES, 0
        if ts >= half_day + HALF_DAY:
            half_day, in_half_day = ts - ts % HALF_DAY, 0
    if in_minutes >= MOST_IN_MINUTES or in_half_day >= MOST_IN_HALF_DAY:
        return True
    state.pace = (minutes, in_minutes + 1, half_day, in_half_day + 1)
    return False
