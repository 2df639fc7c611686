"""Raw records as aiokafka hands them over, and what ingest makes of them."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from tracker.metrics import Tally
from tracker.stream.canonical import Canonical
from tracker.stream.ports import OutRecord
from tracker.stream.sources import EventSource, WallSource
from tracker.wire.reading import AUTO, reader_of
from tracker.wire.topics import Topics

TOPICS = Topics("", ("shop.clicks",))


NOW = 1_700_000_000_000


class Raw(NamedTuple):
    """A record as aiokafka hands it over."""

    value: bytes | None
    offset: int = 0
    timestamp: int = NOW
    timestamp_type: int = 1
    headers: tuple[tuple[str, bytes], ...] = ()
    key: bytes | None = None
    topic: str = "shop.clicks"
    partition: int = 1


def event(ts: int = NOW, **more: Any) -> bytes:
    return json.dumps({"event_id": "e", "type": "page_viewed", "ts": ts, "anonymous_id": "v"} | more).encode()


def canonical(*, wall: bool = True, record_bytes: int = 1_000_000) -> Canonical:
    counts = {TOPICS.events: 4, TOPICS.dead_letters: 1}
    return Canonical(TOPICS, counts, reader_of(AUTO), Tally(), record_bytes, wall=wall)


def taken(*records: Raw, now: int = NOW, wall: bool = True) -> tuple[list[OutRecord], int | None]:
    """(what is appended, the mark that it gives the source)."""
    source = WallSource(0) if wall else EventSource()
    out, _ = canonical(wall=wall).take(records, source, now)
    return out, source.acknowledge()
