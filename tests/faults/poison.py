"""Records that are no events, one way or another: each must become a dead letter and stop nothing."""

from __future__ import annotations

import json
from random import Random
from typing import Any, NamedTuple

from tests.faults.lives import START

KEY = b"poison"
"""The key of all of them, by which the judge counts them."""


class Poison(NamedTuple):
    """A raw record's value and headers."""

    value: bytes | None
    headers: list[tuple[str, bytes]]


def poison(random: Random) -> Poison:
    """One record that ingest has to refuse."""
    good: dict[str, Any] = {"event_id": f"x{random.random()}", "type": "page_viewed", "ts": START, "customer_id": "px"}
    values: list[bytes | None] = [
        None,
        b"",
        b"not JSON at all",
        b'{"event_id": "cut off',
        b"\xff\xfe\x00 no UTF-8",
        b"[1, 2, 3]",
        b'"text"',
        json.dumps({**good, "properties": {"blob": "x" * 300_000}}).encode(),
        json.dumps({**good, "ts": "yesterday"}).encode(),
        json.dumps({**good, "ts": True}).encode(),
        json.dumps({**good, "ts": START // 1_000_000}).encode(),
        b"\x00\x00\x00\x00\x07no schema registry",
        json.dumps({**good, "items": "one"}).encode(),
        json.dumps({**good, "customer_id": {"id": 1}}).encode(),
        json.dumps({**good, "customer_id": "null"}).encode(),
        json.dumps({**good, "event_id": "x" * 200}).encode(),
        json.dumps({**good, "value": 1e300}).encode(),
        json.dumps({name: given for name, given in good.items() if name != "type"}).encode(),
        b'{"event_id": "deep", "type": "t", "ts": 1700000000000, "customer_id": "p", "properties": '
        + b"[" * 2000
        + b"]" * 2000
        + b"}",
    ]
    chosen = random.randrange(len(values) + 2)
    if chosen < len(values):
        return Poison(values[chosen], [])
    kind = random.choice((b"watermark", b"passed", b"no such kind", b"progress"))
    return Poison(b'{"ts": "soon"}', [("tracker-control", kind)])
