"""What a dialect is: one way in which shops write events, read by an adapter."""

from __future__ import annotations

from abc import ABC, abstractmethod
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

    @property
    def reads(self) -> str:
        """What is read, in a sentence."""

    def recognises(self, fields: Fields) -> bool:
        """Whether an object with these fields is of this dialect: true for no other dialect's records, and quick."""

    def events(self, value: bytes, stamp: int) -> list[Event]:
        """The canonical events in a record's JSON, in the order in which they happened; none where the dialect says
        that the record tells of nobody's journey (a product's new price), which is counted. `stamp` is the broker's
        time of the record in ms, for what has no time of its own. Their bounds are checked by the caller. Raises
        `BadEvent`, which names the field at fault as the dialect calls it; then none of the record's events counts."""


class Webhook(ABC):
    """A dialect whose records were a webhook's requests: what each is about may stand in a header, not in its JSON."""

    name: str
    reads: str
    header: str
    """A record that has a header of this name (in lower case) is of this dialect, whatever its fields are."""

    @abstractmethod
    def recognises(self, fields: Fields) -> bool:
        """See `Dialect`."""

    @abstractmethod
    def delivered(self, value: bytes, stamp: int, headers: Mapping[str, str]) -> list[Event]:
        """The events in a record with these headers, their names in lower case; see `Dialect.events`."""

    def events(self, value: bytes, stamp: int) -> list[Event]:
        """See `Dialect`: those in a record without headers."""
        return self.delivered(value, stamp, {})
