"""Makes outputs fit the broker's largest record, so that nothing that a shop sends can stop the line.

An event is bounded, but what is said about a person can hold parts of many: a cart of a hundred lines with the longest
names there may be is larger than a record. Such an output goes out shortened, because a drop-off with shorter product
names is worth more than none; its header `tracker-truncated` has the bytes that it would have had. No id is ever cut.
Pure, so that a replay shortens alike.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tracker.domain.events import Item
from tracker.domain.identity import Legacy, decode_legacy, encode_legacy
from tracker.stream.ports import OutRecord
from tracker.wire.bounds import MAX_ID
from tracker.wire.control import Absorb, control_kind, decode_control, encode_control

TRUNCATED_HEADER = "tracker-truncated"
MAX_TEXT = MAX_ID
"""Characters that a shortened text keeps: as many as an id may have, so that ids stay whole."""
MAX_PRODUCTS = 20
"""Products that each order of a shortened past keeps; they only tell later which order a review or return is of."""
OVERHEAD = 1024
"""What a record takes besides key, value and headers, and the header that says it was shortened."""
PER_HEADER = 10

_json = msgspec.json.Encoder().encode


def size(record: OutRecord) -> int:
    """At least the bytes that a record takes in a batch of its own."""
    headers = sum(len(name) + len(value or b"") + PER_HEADER for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers + OVERHEAD


def shorten(record: OutRecord) -> OutRecord:
    """An output with every text that is no id cut short; an event without what no fold reads; a past with shorter
    texts and fewer products."""
    value = record.value or b""
    kind = control_kind(record.headers)
    control = decode_control(kind, value) if kind is not None else None
    if isinstance(control, Absorb):
        legacy = _shorter(decode_legacy(control.payload))
        shorter = encode_control(msgspec.structs.replace(control, payload=encode_legacy(legacy)))
    elif control is not None:
        return record
    else:
        output: dict[str, Any] = msgspec.json.decode(value)
        output.pop("properties", None)
        output.pop("user_agent", None)
        shorter = _json(_cut(output))
    headers = [*record.headers, (TRUNCATED_HEADER, b"%d" % len(value))]
    return record._replace(value=shorter, headers=headers)


def _cut(given: Any) -> Any:
    if isinstance(given, str):
        return given[:MAX_TEXT]
    if isinstance(given, list):
        return [_cut(entry) for entry in given]
    if isinstance(given, dict):
        return {name: _cut(entry) for name, entry in given.items()}
    return given


def _shorter(legacy: Legacy) -> Legacy:
    facts = legacy.facts
    facts.cart = [_shorter_line(line) for line in facts.cart]
    for order in facts.orders:
        order.products = order.products[:MAX_PRODUCTS]
    return legacy


def _shorter_line(line: Item) -> Item:
    return msgspec.structs.replace(
        line,
        name=None if line.name is None else line.name[:MAX_TEXT],
        category=None if line.category is None else line.category[:MAX_TEXT],
    )
