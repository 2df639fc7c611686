"""The units of the domain: times in ms UTC, money in whole 1/10000 of the currency's unit so that sums are exact."""

from __future__ import annotations

from collections.abc import Iterable

from tracker.domain.events import Item

FAR = 1 << 62
"""Later than any time."""
NEVER = -FAR
"""Earlier than any time."""

MONEY = 10_000
"""Parts of one unit of a currency."""


def worth(items: Iterable[Item]) -> int:
    """The sum of quantity times price of the lines whose price is known."""
    return sum(round((item.price or 0.0) * MONEY) * item.quantity for item in items)
