"""What an event says about who is who, as control records: the merge of its two ids, the claims of what it names.

Pure but for the memory of what was said lately. Saying it again is harmless, so forgetting is.
"""

from __future__ import annotations

from tracker.domain.claims import CLAIM_AGAIN, claim_keys
from tracker.domain.events import Event, is_identity
from tracker.stream.ports import OutRecord
from tracker.wire.control import Claim, Control, Merge, control_headers, encode_control
from tracker.wire.partition import partition_of

REMEMBERED = 20_000
"""Pairs of ids, and as many claims, that are remembered per raw partition."""


class Links:
    """The links that the events of one raw partition state. `topic` is the log, with so many `partitions`."""

    def __init__(self, topic: str, partitions: int) -> None:
        self._topic = topic
        self._partitions = partitions
        self._merged: dict[tuple[str, str], int] = {}
        self._claimed: dict[tuple[str, str], int] = {}

    def merge(self, event: Event, person: str, out: list[OutRecord], now: int) -> None:
        """Tell the anonymous person's partition whose they are, unless that was said lately."""
        anonymous = event.anonymous_id
        if is_identity(anonymous):
            pair = (f"a:{anonymous}", person)
            if _news(self._merged, pair, event.ts) is None:
                out.append(self._record(pair[0], Merge(person, event.ts), now))

    def claim(self, event: Event, person: str, out: list[OutRecord], now: int) -> None:
        """Tell the partitions of the order, cart and checkout who named them, once a day of event time."""
        for key in claim_keys(event):
            last = _news(self._claimed, (key, person), event.ts)
            if last is None or event.ts - last >= CLAIM_AGAIN:
                self._claimed[key, person] = event.ts
                out.append(self._record(key, Claim(person, event.ts), now))

    def _record(self, to: str, control: Control, now: int) -> OutRecord:
        key = to.encode()
        place = partition_of(key, self._partitions)
        return OutRecord(self._topic, place, key, encode_control(control), control_headers(control), now)


def _news(known: dict[tuple[str, str], int], pair: tuple[str, str], ts: int) -> int | None:
    """When this was said, None if it is news. What was seen least recently is forgotten first."""
    last = known.pop(pair, None)
    known[pair] = ts if last is None else last
    if len(known) > REMEMBERED:
        del known[next(iter(known))]
    return last
