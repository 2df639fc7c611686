"""What a record may be wrapped in: a schema registry's framing, a CloudEvent in binary or structured mode.

Only what lies inside goes to the dialects; its bytes stay as they are. A CloudEvent's own `id`, `source`, `type` and
`time` stand in for what an event inside leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from tracker.errors import BadEvent
from tracker.wire.bounds import MAX_ID
from tracker.wire.dialects.common import content_id, snake

MAGIC = 0
FRAME_BYTES = 5
"""A framed record begins with a zero byte and the schema's id in four bytes, big-endian."""
Decoder = Callable[[bytes], bytes]
"""A framed record's payload, what follows the schema's id, as JSON; raises `BadEvent`."""
Schemas = Mapping[int, Decoder | BadEvent]
"""By schema id a decoder, or why there is none."""

CE = "ce_"
STRUCTURED = b"application/cloudevents"
BATCH = b"application/cloudevents-batch"
MOST_LAYERS = 3
"""A framed record may hold a CloudEvent; no shop wraps deeper than that."""


class Attributes(NamedTuple):
    """Of a CloudEvent, what an event may leave out."""

    id: str
    source: str
    type: str
    time: str | None


class Opened(NamedTuple):
    """What was inside a record."""

    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    attributes: Attributes | None


class _Structured(msgspec.Struct):
    specversion: str
    id: str
    source: str
    type: str
    time: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    data_base64: bytes | None = None


_decode_structured = msgspec.json.Decoder(_Structured).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


def schema_id(value: bytes | None) -> int | None:
    """The id in a framed record, None for any other."""
    if value is None or len(value) < FRAME_BYTES or value[0] != MAGIC:
        return None
    return int.from_bytes(value[1:FRAME_BYTES], "big")


def opened(record: Any, schemas: Schemas) -> Any:
    """The record itself where it is in no envelope, else what is inside. Raises
    `BadEvent`."""
    value, headers, attributes = record.value, record.headers, None
    for _ in range(MOST_LAYERS):
        if value and value[0] == MAGIC:
            value = _unframed(value, schemas)
        elif headers and (mode := _mode(headers)) is not None:
            if mode == BATCH:
                raise BadEvent("bad_payload", "a batch of CloudEvents; allowed: one CloudEvent a record")
            if mode == STRUCTURED:
                value, attributes = _structured(value)
            else:
                attributes = _binary(headers)
            headers = [(name, content) for name, content in headers if not _is_envelope(name)]
        else:
            break
    return record if value is record.value and attributes is None else Opened(value, headers, attributes)


def is_structured(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether an object is a CloudEvent in structured mode whose record does not say so."""
    return "specversion" in fields and "source" in fields and ("data" in fields or "data_base64" in fields)


def unwrapped(value: bytes) -> Opened:
    """What is inside a CloudEvent in structured mode."""
    data, attributes = _structured(value)
    return Opened(data, (), attributes)


def completed(value: bytes | None, attributes: Attributes) -> bytes | None:
    """The event inside a CloudEvent, with what it leaves out."""
    try:
        event = _decode_object(value or b"")
    except (ValueError, RecursionError):
        return value
    own = f"{attributes.source}#{attributes.id}"
    if len(own) > MAX_ID:
        own = content_id(attributes.source.encode(), attributes.id.encode())
    name = next((part for part in reversed(attributes.type.split(".")) if not _is_version(part)), attributes.type)
    standing_in = {"event_id": own, "type": snake(name), "ts": attributes.time}
    missing = {field: given for field, given in standing_in.items() if given and event.get(field) in (None, "")}
    return _encode({**event, **missing}) if missing else value


def _unframed(value: bytes, schemas: Schemas) -> bytes:
    if len(value) < FRAME_BYTES:
        raise BadEvent("bad_payload", f"the value {value!r} begins with a zero byte, but has no schema id after it")
    number = int.from_bytes(value[1:FRAME_BYTES], "big")
    decoder = schemas.get(number)
    if decoder is None:
        raise BadEvent(
            "no_schema", f"the value was written with schema {number}; allowed with TRACKER_SCHEMA_REGISTRY_URL set"
        )
    if isinstance(decoder, BadEvent):
        raise decoder
    return decoder(value[FRAME_BYTES:])


def _mode(headers: Sequence[tuple[str, bytes | None]]) -> bytes | None:
    """`STRUCTURED`, `BATCH`, `b""` for binary mode, None where the headers name no CloudEvent."""
    binary = None
    for name, content in headers:
        if name == "content-type" and content is not None and content.lower().startswith(STRUCTURED):
            return BATCH if content.lower().startswith(BATCH) else STRUCTURED
        if name == "ce_specversion":
            binary = b""
    return binary


def _is_envelope(name: str) -> bool:
    return name.startswith(CE) or name == "content-type"


def _binary(headers: Sequence[tuple[str, bytes | None]]) -> Attributes:
    given = {name[len(CE) :]: (content or b"").decode(errors="replace") for name, content in headers if name[:3] == CE}
    for field in ("id", "source", "type"):
        if not given.get(field):
            raise BadEvent(
                "bad_payload", f"the CloudEvent has no header ce_{field}; required: ce_id, ce_source, ce_type"
            )
    return Attributes(given["id"], given["source"], given["type"], given.get("time"))


def _structured(value: bytes | None) -> tuple[bytes | None, Attributes]:
    try:
        found = _decode_structured(value or b"")
        data = found.data_base64 if found.data_base64 is not None else bytes(found.data)
        if data.startswith(b'"'):  # JSON that the producer put into a string
            data = msgspec.json.decode(data, type=str).encode()
    except (ValueError, RecursionError) as error:
        raise BadEvent("bad_payload", f"not a CloudEvent in JSON: {error}") from None
    return data, Attributes(found.id, found.source, found.type, found.time)


def _is_version(part: str) -> bool:
    return part[:1] in {"v", "V"} and part[1:].isdigit()
