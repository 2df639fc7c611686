"""Conditions that can never hold together, as far as that is seen without trying: the same thing asked in two ways."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tracker.domain.conditions import Condition
from tracker.journeys import words

NESTING = ("all", "any", "not_")


def contradiction(conditions: Iterable[Condition]) -> str | None:
    """What these conditions together ask in a way that cannot be, in words; None if nothing is seen."""
    parts = [part for condition in conditions for part in _conjuncts(condition)]
    asked = [atom for part in parts for atom in _atoms(part)]
    for part in parts:
        denied = [] if part.not_ is None else list(_atoms(part.not_))
        if len(denied) == 1 and denied[0] in asked and part.not_ == _alone(denied[0]):
            return f"{words.condition(part.not_)!r}, and of its opposite"
    for name, what in (("cart", "the cart"), ("customer", "the customer id")):
        if len({value for field, value in asked if field == name}) > 1:
            return what
    for name in ("channel", "device"):
        named = [set(value) for field, value in asked if field == name]
        if named and not set.intersection(*named):
            return f"the {name}"
    return _beyond_bounds(parts)


def _beyond_bounds(parts: list[Condition]) -> str | None:
    bounds: dict[str, tuple[float, float]] = {}
    for part in parts:
        for what, least, most in _ranges(part):
            lower, upper = bounds.get(what, (float("-inf"), float("inf")))
            bounds[what] = (
                lower if least is None else max(lower, least),
                upper if most is None else min(upper, most),
            )
    return next((what for what, (lower, upper) in bounds.items() if lower > upper), None)


def _ranges(part: Condition) -> Iterator[tuple[str, float | None, float | None]]:
    if part.orders is not None:
        yield "the number of orders", part.orders.at_least, part.orders.at_most
    if part.since is not None:
        yield f"the time since {words.SINCE[part.since.what]}", part.since.at_least, part.since.at_most
    if part.count is not None:
        yield f"the number of {words.counted(part.count)}", part.count.at_least, part.count.at_most
    if part.property is not None:
        yield part.property.name, part.property.at_least, part.property.at_most
    if part.known is not None:
        yield f"last known {part.known.name}", part.known.at_least, part.known.at_most


def _conjuncts(condition: Condition) -> Iterator[Condition]:
    """Everything that must hold for it to hold."""
    yield condition
    for part in (*condition.all, *(condition.any if len(condition.any) == 1 else ())):
        yield from _conjuncts(part)


def _atoms(condition: Condition) -> Iterator[tuple[str, Any]]:
    """What it asks itself: fields and values."""
    nothing = Condition()
    for name in condition.__struct_fields__:
        if name not in NESTING and getattr(condition, name) != getattr(nothing, name):
            yield name, getattr(condition, name)


def _alone(atom: tuple[str, Any]) -> Condition:
    return Condition(**{atom[0]: atom[1]})
