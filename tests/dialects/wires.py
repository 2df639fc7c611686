"""What writers give: a raw record, and what their dialect has no place for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tracker.domain.events import Event

Headers = tuple[tuple[str, bytes], ...]


class Wire(NamedTuple):
    """A raw record's value and headers."""

    value: bytes
    headers: Headers = ()


class Writer(NamedTuple):
    """`own` names the canonical fields that the dialect has no place for: in them the journey has what its adapter
    makes up (an id from the content, say), and everything else must be the same."""

    write: Callable[[Event], Wire | None]
    own: tuple[str, ...] = ()


def given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: given for name, given in fields.items() if given is not None}


def iso(ts: int) -> str:
    return datetime.fromtimestamp(ts / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
