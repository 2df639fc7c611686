"""Journey models: one table of phases and rules that engine, documentation, diagrams and map read.

A model is data; `table.Table` is the same table turned round, by event type, so that folding an event costs one
look-up and pays only for what that type can do. What a model says to people is made of `texts`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tracker.domain.conditions import Condition, Duration
from tracker.domain.texts import ChannelGoal, Feeling, Improvement, Kpi, Text, Touchpoint, Zones

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class After(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Time alone leads on: so many ms after the first event of this type on the journey, into a phase that it has not
    been in."""

    event: str
    wait: Duration


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A way into a phase: any of these event types, or time alone, `after` an event, once the person has at least
    `orders` orders (the event's own included) and the condition holds."""

    events: tuple[str, ...] = ()
    orders: int = 0
    where: Condition | None = None
    after: After | None = None


class Phase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step of the journey. `purchase` phases are entered before or by an order; `after` phases are tried on
    converted journeys only: before, during and after. Texts are what the map shows."""

    id: str
    name: str
    gloss: str
    also: tuple[Text, ...] = ()
    """Other names that the phase goes by."""
    stage: Literal["before", "purchase", "after"]
    enter: tuple[Entry, ...]
    back_on: tuple[str, ...] = ()
    success: tuple[str, ...] = ()
    """Phases that count as conversion of this one; any later one if none is named."""
    feeling: Feeling | None = None
    actions: tuple[Text, ...] = ()
    goals: tuple[Text, ...] = ()
    questions: tuple[Text, ...] = ()
    thoughts: tuple[Text, ...] = ()
    barriers: tuple[Text, ...] = ()
    possibilities: tuple[Text, ...] = ()
    improvements: tuple[Improvement, ...] = ()
    channels: tuple[str, ...] = ()
    """Channels that fit."""
    kpis: tuple[Kpi, ...] = ()
    touchpoints: tuple[Touchpoint, ...] = ()


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`when` one of these happens (and `where` holds), `wait` ms, and unless one of `unless` comes before, `emit`.

    `when` names event types, `cart_changed` for any change of the cart's content, `first_identified` for the first
    event that names the customer."""

    id: str
    emit: Literal["drop_off", "trigger"] = "drop_off"
    when: tuple[str, ...] = ()
    where: Condition | None = None
    cart: Literal["empty", "filled", "any"] = "any"
    wait: Duration = 0
    at: str | None = None
    """A property of the event with a time (ms UTC or RFC 3339): `wait` counts from there, `before` ms ahead of it."""
    before: Duration = 0
    yearly: str | None = None
    """A property with a date (YYYY-MM-DD or MM-DD): due on that day of every year at `hour` in the model's zone."""
    hour: int = 9
    unless: tuple[str, ...] = ()
    """Event types that take the waiting rule back, of the same cart, order or person as `key` says."""
    only_if: Condition | None = None
    """What must hold when it fires."""
    key: Literal["person", "cart", "order"] = "person"
    group: str | None = None
    """Of the triggers of a group that wait for one person, only the most significant stays."""
    significance: int = 1
    again: Duration = 0
    """Not again for the same key within so many ms of the last time; 0 for no limit."""
    times: int = 0
    """At most so often for one person; 0 for no limit."""
    service: bool = False
    """A message about something bought: it needs no marketing consent, and neither quiet hours nor caps hold it."""
    data: tuple[str, ...] = ()
    """Properties of the event that the trigger carries."""


class QuietHours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Local hours in which nothing fires; `start` and `end` are minutes of the day, `zone` an IANA name."""

    start: int
    end: int
    zone: str = "Europe/Oslo"


class Cap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most so many drop-offs and triggers for one person within so many ms; what is more waits its turn."""

    most: int
    within: Duration


class Segment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """People of whom something holds; carried on outputs beside the segments that events name."""

    id: str
    name: Text
    where: Condition


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A journey model as written in YAML, durations in ms."""

    id: str
    version: int
    language: str
    name: str
    gloss: str = ""
    part: bool = False
    """A part of the journey (a complaint, say): only entry events open it, and what converts it is no order."""
    buyer: Literal["person", "account"] = "person"
    """Whose the journey is: the person's, or that of all who act for one business (see `accounts`)."""
    method: tuple[Text, ...] = ()
    """How a team works with the map, step by step."""
    review: Duration | None = None
    """How often the figures are looked at together, ms."""
    phases: tuple[Phase, ...]
    conversion: tuple[str, ...]
    rules: tuple[Rule, ...] = ()
    reopen: tuple[str, ...] = ()
    """Types that open the next journey after the order's session; a cart change that adds always does."""
    segments: tuple[Segment, ...] = ()
    channels: tuple[ChannelGoal, ...] = ()
    zones: Zones = Zones()
    journey_timeout: Duration = 30 * DAY
    cart_ttl: Duration = 30 * DAY
    recovery_window: Duration = 30 * DAY
    quiet_hours: QuietHours | None = None
    caps: tuple[Cap, ...] = ()
    zone: str = "Europe/Oslo"
    """The shop's time zone: days of the map's counters are its calendar days."""


class FoldSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that change what a record means; they travel in the log's `config` records. All in ms."""

    session_gap: int = 30 * MINUTE
    session_cap: int = 24 * HOUR
    out_of_orderness: int = 30_000
    allowed_lateness: int = HOUR
    state_ttl: int = 400 * DAY
    consent_default: bool = True
    """Whether an unknown marketing consent allows a drop-off to be sent."""
    bots_out: bool = False
    """Whether what bots do, and what runs away (see `pace`), is kept out of journeys."""
    analytics_default: bool = True
    """Whether an unknown analytics consent allows anything to be kept of a person."""
