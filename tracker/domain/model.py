"""Journey models: one table of phases and rules that engine, documentation, diagrams and map read.

A model is data; `table.Table` is the same table turned round, by event type, so that folding an event costs one
look-up and pays only for what that type can do.
"""

from __future__ import annotations

from typing import Literal

import msgspec

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A way into a phase: any of these event types, once the person has at least `orders` orders (the event's
    own included)."""

    events: tuple[str, ...]
    orders: int = 0


class Phase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step of the journey. `purchase` phases are entered before or by an order; `after` phases are tried on
    converted journeys only. Texts are what the map shows."""

    id: str
    name: str
    gloss: str
    stage: Literal["before", "purchase", "after"]
    enter: tuple[Entry, ...]
    back_on: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    goals: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()


class DropOffRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A drop-off: armed `when` one of these happens and the cart is as said, due `wait` ms after it.

    `when` names event types, or `cart_changed` for any change of the cart's content."""

    reason: str
    when: tuple[str, ...]
    cart: Literal["empty", "filled", "any"] = "any"
    wait: int
    significance: int


class QuietHours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Local hours in which nothing fires; `start` and `end` are minutes of the day, `zone` an IANA name."""

    start: int
    end: int
    zone: str = "Europe/Oslo"


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A journey model as written in YAML, durations in ms."""

    id: str
    version: int
    language: str
    name: str
    phases: tuple[Phase, ...]
    conversion: tuple[str, ...]
    rules: tuple[DropOffRule, ...]
    reopen: tuple[str, ...]
    """Types that open the next journey after the order's session; a cart change that adds always does."""
    journey_timeout: int = 30 * DAY
    cart_ttl: int = 30 * DAY
    recovery_window: int = 30 * DAY
    quiet_hours: QuietHours | None = None
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
