"""The built-in stories: named customers with their events, told in YAML that a webshop's analyst can read."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import yaml

from tracker.domain.events import Event

MONDAY = date(2026, 3, 2)
"""The demo's day 0."""
ZONE = ZoneInfo("Europe/Oslo")


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One story: what it shows, how it ends, and its events in order of time."""

    id: str
    title: str
    ends: str
    events: tuple[Event, ...]


def scenarios() -> list[Scenario]:
    """Every built-in story: Nina, Oliver and their twins."""
    folder = files("tracker.demo") / "scenarios"
    told = []
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".yaml"):
            stories = msgspec.convert(yaml.safe_load(file.read_text("utf-8")), list[_Told])
            told += [_scenario(story) for story in stories]
    return told


def at(day: int, clock: time = time()) -> int:
    """ms UTC of a day of the demo (0 is its first Monday) and a local time of day."""
    moment = datetime.combine(MONDAY + timedelta(days=day), clock, ZONE)
    return round(moment.timestamp() * 1000)


class _Told(msgspec.Struct, forbid_unknown_fields=True):
    """A story as it stands in the file."""

    id: str
    title: str
    ends: str
    common: dict[str, Any]
    events: list[dict[str, Any]]


def _scenario(told: _Told) -> Scenario:
    events = []
    for number, own in enumerate(told.events, 1):
        day, clock = own.pop("at").split()
        ts = at(int(day), time.fromisoformat(clock))
        fields = {"event_id": f"{told.id}-{number:02}", "ts": ts, **told.common, **own}
        events.append(msgspec.convert(fields, Event))
    return Scenario(id=told.id, title=told.title, ends=told.ends, events=tuple(events))
