"""Canonical events from bytes and back: one fast decode, a slower look only where that fails.

A shop's record is taken as it is when it already has the canonical form. The slow path mends what the contract
allows besides it (RFC 3339 times, ids given as numbers, null for "not given") and says precisely what is wrong
with everything else, as a `BadEvent` whose reason is one of `REASONS`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from tracker.domain.events import Event
from tracker.errors import BadEvent
from tracker.wire.bounds import ID_FIELDS, MAX_DEPTH, MAX_EVENT_BYTES, check
from tracker.wire.times import TS_MISSING, TS_RESCALED, milliseconds, scaled

REASONS: tuple[str, ...] = (
    "empty",
    "no_schema",
    "bad_payload",
    "not_json",
    "too_large",
    "too_deep",
    "wrong_type",
    "missing_id",
    "missing_type",
    "missing_ts",
    "bad_ts",
    "bad_number",
    "bad_currency",
    "id_too_long",
    "text_too_long",
    "list_too_long",
    "no_identity",
    "bad_control",
    "missing_key",
    "unexpected",
)
"""Why a record can be refused: stable words for headers, metrics and `tracker dead-letters --reason`."""

_decode = msgspec.json.Decoder(Event).decode
_encode = msgspec.json.Encoder().encode


def encode_event(event: Event) -> bytes:
    """The canonical JSON of an event; fields that were not given are left out."""
    return _encode(event)


def decode_canonical(value: bytes | None) -> Event:
    """The event in a record that ingest wrote: its bounds were checked there. Raises `BadEvent`."""
    try:
        return _decode(value or b"")
    except (ValueError, RecursionError):
        return decode_event(value)


def decode_event(value: bytes | None) -> Event:
    """The event in a record's value, checked against every bound of `tracker.wire.bounds`; raises `BadEvent`."""
    return read_event(value)[0]


def read_event(value: bytes | None, stamp: int | None = None) -> tuple[Event, str, bytes]:
    """(event, person id, canonical bytes): the bytes are the record's own where nothing had to be mended. An event
    without a `ts` is as of `stamp` ms, if that is known."""
    if not value:
        raise BadEvent("empty", "the record has no value; allowed: a JSON object, see docs/events.md")
    if len(value) > MAX_EVENT_BYTES:
        raise BadEvent("too_large", f"the record's value has {len(value)} bytes; allowed: {MAX_EVENT_BYTES}")
    event = quick(value)
    if event is None:
        event = _mend(value, stamp)
        return event, _checked(event, value), _encode(event)
    return finished(event, value)


def finished(event: Event, value: bytes) -> tuple[Event, str, bytes]:
    """(event, person id, canonical bytes) of an event that was decoded from these bytes. Raises `BadEvent`."""
    asked, ts, currency = event.flags, event.ts, event.currency
    event.flags = None  # ours to set, not a shop's
    person = _checked(event, value)
    as_it_is = asked is None and event.ts == ts and event.currency == currency
    return event, person, value if as_it_is else _encode(event)


def _checked(event: Event, value: bytes) -> str:
    """The person id. A time in seconds or microseconds is taken for what it is, and so is `nok`."""
    try:
        person = check(event, value)
    except BadEvent as error:
        if error.reason != "bad_ts" or (ts := scaled(event.ts)) is None:
            raise
        event.ts = ts
        event.flags = [TS_RESCALED]
        person = check(event, value)
    currency = event.currency
    if currency is not None and not currency.isupper():
        event.currency = currency.upper()
    return person


def quick(value: bytes | None) -> Event | None:
    """The event in a record that has the canonical form as it is, its bounds not checked; None for any other."""
    if not value or len(value) > MAX_EVENT_BYTES:
        return None
    try:
        return _decode(value)
    except (ValueError, RecursionError):
        return None


def _mend(value: bytes, stamp: int | None) -> Event:
    """The event in JSON that is not quite canonical; raises a `BadEvent` that names the field at fault."""
    try:
        raw = msgspec.json.decode(value.removeprefix(b"\xef\xbb\xbf"))
    except RecursionError:
        raise BadEvent("too_deep", f"nested too deeply; allowed: {MAX_DEPTH}") from None
    except ValueError as error:
        raise BadEvent("not_json", f"{error}; the value starts with {value[:60]!r}; allowed: JSON in UTF-8") from None
    if not isinstance(raw, dict):
        raise BadEvent("wrong_type", f"the value is {_kind(raw)} ({value[:60]!r}); allowed: a JSON object")
    for field, reason in (("event_id", "missing_id"), ("type", "missing_type")):
        if raw.get(field) is None or raw[field] == "":
            raise BadEvent(reason, f"{field} is missing in {value[:60]!r}; required: event_id and type")
    raw.pop("flags", None)
    given = raw.get("ts")
    if given is not None and given != "":
        raw["ts"] = given if isinstance(given, int) and not isinstance(given, bool) else milliseconds(given, "ts")
    elif stamp is not None:
        raw["ts"], raw["flags"] = stamp, [TS_MISSING]
    else:
        raise BadEvent("missing_ts", f"ts is missing in {value[:60]!r}; required: event_id, type and ts")
    for field in ID_FIELDS:
        _number_to_id(raw, field)
    items = raw.get("items")
    if isinstance(items, list):
        for index, item in enumerate(items):
            if isinstance(item, dict):
                items[index] = item = {name: given for name, given in item.items() if given is not None}
                _number_to_id(item, "product_id")
                _number_to_id(item, "sku")
                quantity = item.get("quantity")
                if isinstance(quantity, float) and quantity.is_integer():
                    item["quantity"] = int(quantity)
    try:
        return msgspec.convert(raw, Event)
    except msgspec.ValidationError as error:
        raise BadEvent("wrong_type", f"{error}, which is {_at(raw, str(error))!r:.60}") from None
    except RecursionError:
        raise BadEvent("too_deep", f"nested too deeply; allowed: {MAX_DEPTH}") from None


def _number_to_id(raw: dict[str, Any], field: str) -> None:
    given = raw.get(field)
    if isinstance(given, int) and not isinstance(given, bool):
        raw[field] = str(given)


def _at(raw: object, message: str) -> object:
    """The value that msgspec's message points at: `… - at `$.items[0].price``."""
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", message.rpartition("`$")[2]):
        if isinstance(raw, dict):
            raw = raw.get(name)
        elif isinstance(raw, list) and index:
            raw = raw[int(index)]
    return raw


def _kind(raw: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(raw), "null")
