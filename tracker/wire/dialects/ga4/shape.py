"""The shape of Measurement Protocol requests and of the export's rows, and the mending of those that nearly have it."""

from __future__ import annotations

from typing import Any

import msgspec

from tracker.wire.dialects.common import converted, json_object


class GivenEvent(msgspec.Struct, gc=False):
    """One of a request's events."""

    name: Any = None
    params: dict[str, Any] | None = None
    timestamp_micros: Any = None


class Value(msgspec.Struct, gc=False):
    """A parameter's value, in the field of its type."""

    string_value: str | None = None
    int_value: Any = None
    float_value: Any = None
    double_value: Any = None


class Param(msgspec.Struct, gc=False):
    """One of a row's parameters."""

    key: str
    value: Value | None = None


class Device(msgspec.Struct, gc=False):
    """`device`."""

    category: str | None = None


class Record(msgspec.Struct, gc=False):
    """What is read of a request (up to `user_agent`) and of a row; both have a user id, user properties and a
    device."""

    user_id: Any = None
    user_properties: Any = None
    device: Device | None = None

    events: list[GivenEvent] | None = None
    client_id: Any = None
    app_instance_id: Any = None
    timestamp_micros: Any = None
    consent: dict[str, Any] | None = None
    non_personalized_ads: bool | None = None
    user_agent: str | None = None

    event_name: Any = None
    event_timestamp: Any = None
    user_pseudo_id: Any = None
    event_bundle_sequence_id: Any = None
    batch_page_id: Any = None
    batch_ordering_id: Any = None
    batch_event_index: Any = None
    event_params: list[Param] | None = None
    items: list[dict[str, Any]] | None = None
    ecommerce: dict[str, Any] | None = None
    privacy_info: dict[str, Any] | None = None
    collected_traffic_source: dict[str, Any] | None = None
    session_traffic_source_last_click: dict[str, Any] | None = None


_OBJECTS = (
    "device",
    "consent",
    "ecommerce",
    "privacy_info",
    "collected_traffic_source",
    "session_traffic_source_last_click",
)
_decode = msgspec.json.Decoder(Record).decode


def decoded(value: bytes) -> Record:
    """The request, or the row, in a record. Raises `BadEvent`."""
    try:
        return _decode(value)
    except (ValueError, RecursionError):
        return converted(_mended(json_object(value)), Record, value)


def _mended(raw: dict[str, Any]) -> dict[str, Any]:
    """Without the empty lists that PHP writes for empty objects."""
    events = raw.get("events")
    for inner in [raw, *(events if isinstance(events, list) else ())]:
        if isinstance(inner, dict):
            for name in ("params", *_OBJECTS):
                if inner.get(name) in ([], ""):
                    inner[name] = None
    return raw
