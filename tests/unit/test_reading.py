from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pytest

from tracker.domain.events import Event
from tracker.errors import BadEvent
from tracker.metrics import Tally
from tracker.stream.canonical import Canonical
from tracker.stream.sources import WallSource
from tracker.wire.dialects import Fields, Webhook
from tracker.wire.reading import Detecting
from tracker.wire.topics import Topics

NOW = 1_700_000_000_000
TOPICS = Topics("", ("shop.hooks",))


class Record(NamedTuple):
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    offset: int = 0
    timestamp: int = NOW
    timestamp_type: int = 1
    key: bytes | None = None
    topic: str = "shop.hooks"
    partition: int = 0


class Hooks(Webhook):
    """Deliveries whose headers say everything but who it was."""

    name = "hooks"
    reads = "Hooks."
    header = "x-hook-topic"

    def recognises(self, fields: Fields) -> bool:
        return "hook" in fields

    def delivered(self, value: bytes, stamp: int, headers: Mapping[str, str]) -> list[Event]:
        topic = headers.get(self.header, "none")
        return [] if topic == "products/update" else [Event("e", topic, stamp, customer_id=value.decode())]


def test_a_delivery_is_known_by_its_header_however_that_is_written() -> None:
    read = Detecting([Hooks()])
    dialect, (found,) = read(Record(b"42", (("trace", None), ("X-Hook-Topic", b"order_completed"))), NOW)
    assert (dialect, found.event.type, found.person) == ("hooks", "order_completed", "c:42")


def test_a_delivery_without_headers_is_known_by_its_fields() -> None:
    _, (found,) = Detecting([Hooks()])(Record(b'{"hook": 1}'), NOW)
    assert found.event.type == "none"
    with pytest.raises(BadEvent, match="missing_id"):
        Detecting([Hooks()])(Record(b"{}", (("trace", b"x"),)), NOW)


def test_a_record_that_tells_of_nobody_becomes_nothing_and_is_counted() -> None:
    tally = Tally()
    counts = {TOPICS.events: 1, TOPICS.dead_letters: 1}
    canonical = Canonical(TOPICS, counts, Detecting([Hooks()]), tally, 1_000_000, wall=True)
    record = Record(b"{}", (("X-Hook-Topic", b"products/update"),))
    assert canonical.take([record], WallSource(0), NOW) == ([], None)
    assert (tally.dialects, tally.skipped, tally.dead_letters) == ({"hooks": 1}, {"hooks": 1}, {})
