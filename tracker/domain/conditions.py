"""Conditions: what must hold of a person for an event to enter a phase, for a rule to arm or fire, for a segment."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Duration = Annotated[int, msgspec.Meta(extra={"unit": "ms"})]
"""Milliseconds; in YAML a number with a unit (30m, 14d)."""


class Count(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Events of these types, the present one included: `within` so many ms of now, or `during` the open session or the
    present journey, or ever since the person is known."""

    events: tuple[str, ...]
    at_least: int | None = None
    at_most: int | None = None
    within: Duration | None = None
    during: Literal["session", "journey"] | None = None


class Range(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number between two bounds, both included."""

    at_least: float | None = None
    at_most: float | None = None


class Since(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The time passed (ms) since something of the person's past; no bound holds of what never happened."""

    what: Literal["first_seen", "last_active", "last_order", "delivery"]
    at_least: Duration | None = None
    at_most: Duration | None = None


class Property(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A property of the event at hand: one of these texts, or a number between two bounds."""

    name: str
    one_of: tuple[str, ...] = ()
    at_least: float | None = None
    at_most: float | None = None


class Condition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that is given must hold. `all`, `any` and `not` nest; the lists of texts hold if one of them does."""

    all: tuple[Condition, ...] = ()
    any: tuple[Condition, ...] = ()
    not_: Condition | None = msgspec.field(default=None, name="not")
    count: Count | None = None
    orders: Range | None = None
    since: Since | None = None
    property: Property | None = None
    segment: tuple[str, ...] = ()
    channel: tuple[str, ...] = ()
    device: tuple[str, ...] = ()
    met: tuple[str, ...] = ()
    """Event types of which the present journey met at least one."""
    cart: Literal["empty", "filled"] | None = None
    customer: bool | None = None
    """Whether the person is known by a customer id."""
