"""Conditions: what must hold of a person for an event to enter a phase, for a rule to arm or fire, for a segment."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Duration = Annotated[int, msgspec.Meta(extra={"unit": "ms"})]
"""Milliseconds; in YAML a number with a unit (30m, 14d)."""


class Count(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Events of these types, the present one included: `within` so many ms of now (one just as long ago is out), or
    `during` the open session (none is open: none) or the present journey, or ever since the person is known. Counting
    begins when a model asks for it; events that came too late are not counted."""

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
    """The time passed (ms) since something of the person's past, both bounds included; no bound holds of what never
    happened. Last activity and last order are those before the event at hand, a delivery may be that event itself."""

    what: Literal["first_seen", "last_active", "last_order", "delivery"]
    at_least: Duration | None = None
    at_most: Duration | None = None


class Property(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A property of the event at hand: one of these texts (true and false are texts), or a number between two bounds,
    both included. It holds of no moment without an event: when a rule fires, or time alone acts."""

    name: str
    one_of: tuple[str, ...] = ()
    at_least: float | None = None
    at_most: float | None = None


class Condition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that is given must hold. `all`, `any` and `not` nest; the lists of texts hold if one of them does.

    Where an entry asks, the journey is the one that the event would move; elsewhere the one before the purchase, else
    the latest converted one."""

    all: tuple[Condition, ...] = ()
    any: tuple[Condition, ...] = ()
    not_: Condition | None = msgspec.field(default=None, name="not")
    count: Count | None = None
    orders: Range | None = None
    since: Since | None = None
    property: Property | None = None
    known: Property | None = None
    """The same of what an event last said of the person under that name, also where no event is at hand."""
    segment: tuple[str, ...] = ()
    """Named by events, or derived: by a segment of the model (in a segment's own condition, one that stands before)."""
    channel: tuple[str, ...] = ()
    """Of the open session, else (also for `device`) of the present journey."""
    device: tuple[str, ...] = ()
    met: tuple[str, ...] = ()
    """Event types of which the present journey met at least one."""
    cart: Literal["empty", "filled"] | None = None
    customer: bool | None = None
    """Whether the person is known by a customer id."""
