"""Scenarios: stories of named customers with what must come of them, in YAML that a webshop's analyst can read.

The format is in docs/scenarios.md. The built-in ones are those that the demo plays.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import msgspec

from tracker.domain.conditions import Duration
from tracker.domain.events import KNOWN_TYPES, Campaign, Consent, Event, Item
from tracker.domain.model import Cap, QuietHours
from tracker.errors import BadEvent, ModelError, ScenarioError
from tracker.journeys.reader import Key, Reader, nearest
from tracker.wire.decode import encode_event, read_event

MONDAY = date(2026, 3, 2)
"""Day 0 of every scenario."""
ZONE = ZoneInfo("Europe/Oslo")
"""The zone of scenarios' times of day; those of the built-in models have the same clock."""
DEFAULT_MODEL = "nettbutikk-5"
AFTERWARDS = 2 * 86_400_000
"""For so many ms after the last event a scenario that does not say `until` goes on."""

_MOMENT = r"(?:-?\d{1,4} )?\d{1,2}:\d\d(?::\d\d(?:\.\d{1,3})?)?"
_WHO = r"( of \S+)?"
_PHASES = "enter|forward|skip|back|backfilled|converted"
_SENT = rf"\w+ armed {_MOMENT}( due {_MOMENT})?"
_LINES = {
    "transitions": (
        rf"{_MOMENT} (({_PHASES}) \S+|left|merged){_WHO}",
        f"TIME {_PHASES} PHASE, TIME left|merged",
    ),
    "sessions": (rf"{_MOMENT} to {_MOMENT}{_WHO}", "TIME to TIME"),
    "dropoffs": (
        rf"{_MOMENT} ({_SENT}|recovered \w+ armed {_MOMENT} worth [\d.]+|cancelled \w+ armed {_MOMENT}){_WHO}",
        "TIME REASON armed TIME [due TIME], TIME recovered REASON armed TIME worth N, TIME cancelled REASON armed TIME",
    ),
    "triggers": (rf"{_MOMENT} {_SENT}{_WHO}", "TIME RULE armed TIME [due TIME]"),
}
"""What each line of an expectation looks like: a pattern, and the same for people. WHO may follow where there are
several persons."""

log = logging.getLogger("tracker.scenarios")


class Expected(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes of a scenario under these models, up to its end. What is None is not looked at."""

    models: tuple[str, ...] = (DEFAULT_MODEL,)
    transitions: tuple[str, ...] | None = None
    sessions: tuple[str, ...] | None = None
    dropoffs: tuple[str, ...] | None = None
    triggers: tuple[str, ...] | None = None
    orders: int | None = None
    """Orders that stand at the end, of all persons together."""
    revenue: float | None = None
    withheld: int | None = None
    """Drop-offs and triggers that were due and must not be sent."""
    known_wrong: str | None = None
    """Why this is not what comes out yet."""


class Overrides(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the fold that differ from their defaults; those of time in ms."""

    session_gap: Duration | None = None
    session_cap: Duration | None = None
    allowed_lateness: Duration | None = None
    consent_default: bool | None = None
    analytics_default: bool | None = None


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One story: what it shows, how it ends, and its events in the order in which they come in."""

    id: str
    title: str
    ends: str
    where: str
    """`file:line`."""
    events: tuple[Event, ...]
    marks: tuple[int, ...]
    """For each event how far the watermark has come when it comes in, ms."""
    erased: tuple[tuple[int, str], ...]
    """(ms, customer or visitor) of erasures, which come in after the events of that time."""
    until: int
    """How far time goes, ms."""
    settings: Overrides
    quiet_hours: QuietHours | None
    caps: tuple[Cap, ...]
    expect: tuple[Expected, ...]


def scenarios() -> list[Scenario]:
    """Every built-in story: Nina, Oliver and their twins."""
    return list(_builtin().values())


@cache
def _builtin() -> dict[str, Scenario]:
    folder = files("tracker.demo") / "scenarios"
    told: list[Scenario] = []
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".yaml"):
            told += parse_scenarios(file.read_text("utf-8"), file.name)
    return {scenario.id: scenario for scenario in told}


def load_scenarios(name: str) -> list[Scenario]:
    """The scenarios of a file, or the built-in one of that id. Raises `ScenarioError` with file, line, key and what is
    allowed."""
    path, builtin = Path(name), _builtin()
    if not path.is_file():
        if name in builtin:
            return [builtin[name]]
        raise ScenarioError(
            f"{name!r} is neither a file nor a built-in scenario.{nearest(name, builtin)} Allowed: "
            f"{', '.join(builtin)} or the path of a file"
        )
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read: {error}") from error
    return parse_scenarios(text, str(path))


def parse_scenarios(text: str, source: str) -> list[Scenario]:
    """The scenarios of a document; `source` names it in errors. Raises `ScenarioError`."""
    reader = Reader(source, _extends_nothing)
    try:
        told: tuple[_Told, ...] = reader.read(text, tuple[_Told, ...])
        found = [_Teller(reader, (place,)).scenario(one) for place, one in enumerate(told)]
        for place, scenario in enumerate(found):
            if scenario.id in {other.id for other in found[:place]}:
                reader.fail((place, "id"), f" is {scenario.id!r}, which stands above already")
    except ModelError as error:
        raise ScenarioError(str(error)) from None
    return found


def at(day: int, clock: time = time()) -> int:
    """ms UTC of a day (0 is the first Monday) and a local time of day."""
    moment = datetime.combine(MONDAY + timedelta(days=day), clock, ZONE)
    return round(moment.timestamp() * 1000)


def moment_of(text: str) -> int:
    """ms UTC of `DAY H:MM[:SS[.mmm]]`, or without the day on day 0; raises ValueError on anything else."""
    if not re.fullmatch(_MOMENT, text):
        raise ValueError(text)
    day, _, clock = text.rpartition(" ")
    return at(int(day or 0), time.fromisoformat(clock.zfill(5) if clock.count(":") == 1 else _padded(clock)))


def text_of(ms: int) -> str:
    """A time as scenarios write it."""
    local = datetime.fromtimestamp(ms / 1000, ZONE)
    clock = local.strftime("%H:%M")
    if ms % 1000:
        clock = f"{local:%H:%M:%S}.{ms % 1000:03}"
    elif ms % 60_000:
        clock = f"{local:%H:%M:%S}"
    return f"{(local.date() - MONDAY).days} {clock}"


def same_way(line: str) -> str:
    """A line of an expectation in the one way of writing it: times in full (one without a day is on the day of the one
    before it), `due` only where it is another time."""
    day = "0"

    def in_full(found: re.Match[str]) -> str:
        nonlocal day
        given, _, clock = found[0].rpartition(" ")
        day = given or day
        return text_of(moment_of(f"{day} {clock}"))

    line = re.sub(_MOMENT, in_full, line)
    return re.sub(rf"^({_MOMENT})( .*) due \1( |$)", r"\1\2\3", line)


class _Given(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of an event that its author gives."""

    customer_id: str | None = None
    anonymous_id: str | None = None
    account_id: str | None = None
    channel: str | None = None
    device: str | None = None
    url: str | None = None
    referrer: str | None = None
    campaign: Campaign | None = None
    cart_id: str | None = None
    checkout_id: str | None = None
    order_id: str | None = None
    items: tuple[Item, ...] | None = None
    value: float | None = None
    currency: str | None = None
    consent: Consent | None = None
    segments: tuple[str, ...] | None = None
    properties: dict[str, Any] | None = None


class _ToldEvent(_Given, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event as it stands in the file."""

    at: str
    type: str
    arrives: str | None = None
    event_id: str | None = None


class _Told(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A scenario as it stands in the file."""

    id: str
    title: str
    ends: str = ""
    common: _Given = _Given()
    events: tuple[_ToldEvent, ...] = ()
    events_of: str | None = None
    erased: tuple[str, ...] = ()
    until: str | None = None
    settings: Overrides = Overrides()
    quiet_hours: QuietHours | None = None
    caps: tuple[Cap, ...] = ()
    expect: tuple[Expected, ...] = ()


class _Teller:
    """Makes a scenario of what is told; `path` leads to it in the file."""

    def __init__(self, reader: Reader, path: Key) -> None:
        self.reader, self.path = reader, path

    def fail(self, path: Key, problem: str) -> NoReturn:
        self.reader.fail((*self.path, *path), problem)

    def scenario(self, told: _Told) -> Scenario:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", told.id):
            self.fail(("id",), f" is {told.id!r}; allowed: small letters, digits and dashes")
        if bool(told.events) == bool(told.events_of):
            self.fail((), ": needs either events or events_of, the id of a built-in scenario")
        if told.events_of:
            events, marks = self.borrowed(told.events_of)
        else:
            events, marks = self.events(told)
        for place, expected in enumerate(told.expect):
            self.lines(place, expected)
        erased = tuple(self.erasure(place, line, events) for place, line in enumerate(told.erased))
        last = max(event.ts for event in events)
        until = last + AFTERWARDS if told.until is None else self.moment(("until",), told.until)
        if until < max(last, *marks, *(ts for ts, _ in erased)):
            self.fail(("until",), f" is {told.until!r}, which lies before the last event")
        return Scenario(
            id=told.id,
            title=told.title,
            ends=told.ends,
            where=self.reader.at(self.path),
            events=tuple(events),
            marks=tuple(marks),
            erased=tuple(sorted(erased)),
            until=until,
            settings=told.settings,
            quiet_hours=told.quiet_hours,
            caps=told.caps,
            expect=told.expect,
        )

    def borrowed(self, name: str) -> tuple[Sequence[Event], Sequence[int]]:
        builtin = _builtin()
        if name not in builtin:
            self.fail(("events_of",), f" is {name!r}.{nearest(name, builtin)} Allowed: {', '.join(builtin)}")
        return builtin[name].events, builtin[name].marks

    def events(self, told: _Told) -> tuple[list[Event], list[int]]:
        events: list[Event] = []
        marks: list[int] = []
        for place, own in enumerate(told.events):
            path = ("events", place)
            event = self.event(path, told, own, f"{told.id}-{place + 1:02}")
            mark = event.ts if own.arrives is None else self.moment((*path, "arrives"), own.arrives)
            if own.arrives is None and events and event.ts < events[-1].ts:
                self.fail((*path, "at"), f" is {own.at!r}, before the event above; say when it `arrives`")
            if own.arrives is not None and marks and mark < marks[-1]:
                self.fail((*path, "arrives"), f" is {own.arrives!r}, before the event above came in")
            events.append(event)
            marks.append(max(mark, marks[-1]) if marks else mark)
        return events, marks

    def event(self, path: Key, told: _Told, own: _ToldEvent, event_id: str) -> Event:
        fields = {field.name: getattr(told.common, field.name) for field in msgspec.structs.fields(_Given)}
        fields |= {name: given for name in fields if (given := getattr(own, name)) is not None}
        for name in ("items", "segments"):
            if fields[name] is not None:
                fields[name] = list(fields[name])
        if fields["properties"] is not None:
            fields["properties"] = {name: _dated(name, given) for name, given in fields["properties"].items()}
        ts = self.moment((*path, "at"), own.at)
        event = Event(event_id=own.event_id or event_id, type=own.type, ts=ts, **fields)
        if own.type not in KNOWN_TYPES:
            log.warning(
                "%s: %s is not one of the canonical event types.%s",
                self.reader.at((*self.path, *path, "type")),
                own.type,
                nearest(own.type, KNOWN_TYPES),
            )
        try:
            read_event(encode_event(event))
        except BadEvent as error:
            self.fail(path, f": {error.detail}")
        return event

    def erasure(self, place: int, line: str, events: Sequence[Event]) -> tuple[int, str]:
        moment, _, person = line.rpartition(" ")
        people = {name for event in events for name in (event.customer_id, event.anonymous_id) if name is not None}
        if person not in people:
            self.fail(("erased", place), f" is {line!r}; allowed: TIME and one of {', '.join(sorted(people))}")
        return self.moment(("erased", place), moment), person

    def moment(self, path: Key, text: str) -> int:
        try:
            return moment_of(text)
        except ValueError:
            self.fail(path, f" is {text!r}; allowed: a day and a time of day, for example 0 10:00 or -3 8:15:30")

    def lines(self, place: int, expected: Expected) -> None:
        for section, (pattern, allowed) in _LINES.items():
            for number, line in enumerate(getattr(expected, section) or ()):
                path = ("expect", place, section, number)
                if not re.fullmatch(pattern, line):
                    self.fail(path, f" is {line!r}; allowed: {allowed} [of WHO]")
                for moment in re.findall(_MOMENT, line):
                    self.moment(path, moment)


def _dated(name: str, given: Any) -> Any:
    """Properties that name a moment (`delivery_at`, `valid_until`) may be given as the events' times are."""
    if isinstance(given, str) and name.endswith(("_at", "_until")) and re.fullmatch(_MOMENT, given):
        return moment_of(given)
    return given


def _padded(clock: str) -> str:
    """A time of day with two digits for the hour and three for milliseconds."""
    clock, _, part = clock.partition(".")
    return f"{clock.zfill(8)}.{part.ljust(3, '0')}" if part else clock.zfill(8)


def _extends_nothing(*_: str) -> tuple[str, str]:
    raise ValueError("which a scenario does not know")
