"""What a dialect is: one way in which shops write events, read by an adapter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from tracker.domain.events import Event

Fields = Mapping[str, msgspec.Raw]
"""A JSON object's top-level fields, their values still as text."""


class Dialect(Protocol):
    """An adapter: it keeps nothing between records, so that all partitions share one."""

    @property
    def name(self) -> str:
        """As in `TRACKER_DIALECTS`, metrics and docs."""

    def recognises(self, fields: Fields) -> bool:
        """Whether an object with these fields is of this dialect: true for no other dialect's records, and quick."""

    def events(self, value: bytes, stamp: int) -> list[Event]:
        """The canonical events in a record's JSON, at least one, in the order in which they happened; `stamp` is
        the broker's time of the record in ms, for what has no time of its own. Their bounds are checked by the
        caller. Raises `BadEvent`, which names the field at fault as the dialect calls it; then none of the record's
        events counts."""
