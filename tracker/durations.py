"""Durations as people write them (`30m`, `1h30m`, `500ms`) and as the code uses them: whole milliseconds."""

from __future__ import annotations

import re

UNITS: dict[str, int] = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
"""Milliseconds per unit, largest first."""

ALLOWED = "numbers with units (ms, s, m, h, d), for example 500ms, 30m, 1h30m or 7d"

_PART = re.compile(r"(\d+)\s*(ms|s|m|h|d)\s*")


def parse_duration(text: str) -> int:
    """Milliseconds of a text such as `1h30m`; raises ValueError on anything else, a bare number included."""
    rest, total = text.strip(), 0
    if rest == "0":
        return 0
    if not rest:
        raise ValueError("empty")
    while rest:
        part = _PART.match(rest)
        if part is None:
            raise ValueError(f"not a duration: {text!r}")
        total += int(part[1]) * UNITS[part[2]]
        rest = rest[part.end() :]
    return total


def format_duration(ms: int) -> str:
    """The shortest text that `parse_duration` reads back as the same duration, in at most two units."""
    if ms <= 0:
        return "0"
    for unit, size in UNITS.items():
        whole, rest = divmod(ms, size)
        if whole and not rest:
            return f"{whole}{unit}"
    parts = []
    for unit, size in UNITS.items():
        whole, ms = divmod(ms, size)
        if whole:
            parts.append(f"{whole}{unit}")
    return "".join(parts)
