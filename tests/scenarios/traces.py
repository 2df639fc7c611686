"""Reads `traces.yaml`: short stories of one person with what must come of them, for oracle and tracker alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tracker.domain.events import Consent, Event, Item

MIDNIGHT = 1_700_006_400_000
"""00:00 UTC of the stories' day."""
DAY = 86_400_000


def clock(text: str) -> int:
    """`HH:MM[:SS[.mmm]]` of the stories' day as ms; 32:00 is 08:00 of the next day."""
    hours, minutes, *seconds = text.split(":")
    return MIDNIGHT + (int(hours) * 60 + int(minutes)) * 60_000 + round(float(seconds[0] if seconds else 0) * 1000)


def _minute(text: str) -> int:
    return (clock(text) - MIDNIGHT) // 60_000


@dataclass(frozen=True)
class Arrival:
    """An event and the watermark at which it comes in."""

    event: Event
    watermark: int


@dataclass(frozen=True)
class Trace:
    """A story; expectations as in the file, times in ms."""

    name: str
    arrivals: tuple[Arrival, ...]
    quiet_hours: tuple[int, int] | None
    sent: list[tuple[str, int, int]]
    cancelled: list[int]
    recovered: dict[int, float]
    withheld: int
    orders: int
    journeys: int | None
    sessions: list[tuple[int, int]] | None
    moves: list[tuple[str, str]] | None

    @property
    def until(self) -> int:
        return MIDNIGHT + 3 * DAY


def _arrival(number: int, row: dict[str, Any]) -> Arrival:
    row = dict(row)
    at = clock(row.pop("at"))
    arrives = row.pop("arrives", None)
    watermark = row.pop("watermark", None)
    items = row.pop("items", None)
    marketing = row.pop("marketing", None)
    if "customer_id" not in row and "anonymous_id" not in row:
        row["customer_id"] = "c1"
    event = Event(
        event_id=f"e{number}",
        ts=at,
        items=[Item(product, quantity=n, price=100.0) for product, n in items.items()] if items else None,
        consent=None if marketing is None else Consent(marketing=marketing),
        **row,
    )
    return Arrival(event, clock(watermark or arrives) if watermark or arrives else at)


def _trace(row: dict[str, Any]) -> Trace:
    quiet = row.get("quiet_hours")
    sessions, moves = row.get("sessions"), row.get("moves")
    return Trace(
        name=row["name"],
        arrivals=tuple(_arrival(number, event) for number, event in enumerate(row["events"], start=1)),
        quiet_hours=None if quiet is None else (_minute(quiet[0]), _minute(quiet[1])),
        sent=[(s["reason"], clock(s["armed_at"]), clock(s["detected_at"])) for s in row.get("sent", [])],
        cancelled=row.get("cancelled", []),
        recovered=row.get("recovered", {}),
        withheld=row.get("withheld", 0),
        orders=row.get("orders", 0),
        journeys=row.get("journeys"),
        sessions=None if sessions is None else [(clock(start), clock(end)) for start, end in sessions],
        moves=None if moves is None else [(direction, phase) for direction, phase in moves],
    )


TRACES = [_trace(row) for row in yaml.safe_load(Path(__file__).with_name("traces.yaml").read_text("utf-8"))]
