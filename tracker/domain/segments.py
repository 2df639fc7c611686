"""Segments: those that events name, and those that the model derives from what is known of the person."""

from __future__ import annotations

from tracker.domain.events import Event
from tracker.domain.predicates import Moment
from tracker.domain.state import Facts, Journey
from tracker.domain.table import Table


def of(facts: Facts, journey: Journey | None, event: Event | None, now: int, table: Table) -> list[str]:
    """The person's segments at `now` (ms), as outputs carry them: first the named, then the derived, each once."""
    if not table.segments:
        return facts.segments
    moment = Moment(facts, journey, event, now)
    derived = [name for name, where in table.segments if name not in facts.segments and where.holds(moment)]
    return [*facts.segments, *derived]
