"""What a journey model says to people: texts, feelings, touchpoints and the figures that they are judged by.

The engine folds events without any of this; descriptions, diagrams and the journey map read it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Measure = Literal[
    "conversion", "reach", "drop_off", "recovery", "return_rate", "dwell", "load", "revenue", "orders", "nps", "ces",
    "csat", "rating",
]  # fmt: skip
"""What a figure of a phase, touchpoint or channel can be: shares of people (`conversion` to a later phase, `reach` of a
touchpoint, `drop_off`, `recovery`), the share of orders sent back (`return_rate`), medians in hours and ms (`dwell`,
`load`), sums (`revenue`, `orders`) and scores on their own scales."""

SHARES = frozenset({"conversion", "reach", "drop_off", "recovery", "return_rate"})
"""The measures that are shares, from 0 to 1."""


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text in the model's language with its English gloss."""

    text: str
    gloss: str = ""


class Feeling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How people are expected to feel; `level` from -2 (bad) over 0 (neither) to 2 (delighted), the scale that
    received scores are laid beside."""

    text: str
    level: int
    gloss: str = ""


class Kpi(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A figure with its target: a share from 0 to 1, hours, ms, money or points, as the measure says."""

    name: Text
    measure: Measure
    target: float


class Touchpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where people meet the firm within a phase: met by any of `events`, seen from their side (`job`, `feeling`) and
    from the firm's. Exactly one owner."""

    id: str
    name: Text
    events: tuple[str, ...]
    job: Text
    feeling: Feeling
    channel: str
    kind: Literal["digital", "physical"]
    controlled: bool
    """Whether the firm decides what it says; review sites and forums are not."""
    process: Text
    material: str
    """A link to an example."""
    owner: str
    goal: Text
    kpi: Kpi


class Improvement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A proposed change: one at a time, measured before the next. Notes of the map refer to it by id."""

    id: str
    text: Text
    state: Literal["proposed", "running", "measured"] = "proposed"
    touchpoint: str | None = None


class Threshold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A phase is in the zone when its figure lies below or above this."""

    measure: Measure
    below: float | None = None
    above: float | None = None


class Zones(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What makes a phase red (it loses people or value) or green (it does well)."""

    red: tuple[Threshold, ...] = ()
    green: tuple[Threshold, ...] = ()


class ChannelGoal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One goal with its measure for one channel."""

    channel: str
    goal: Text
    measure: Measure
    target: float
