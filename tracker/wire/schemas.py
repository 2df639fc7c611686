"""Schemas of a registry: what was written with them, Avro or Protobuf, as JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from decimal import Decimal
from io import BytesIO
from typing import Any, NamedTuple

import fastavro
import orjson
from fastavro._read_py import schemaless_reader as read_in_python
from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from tracker.errors import BadEvent
from tracker.wire.envelopes import Decoder

_WELL_KNOWN = (any_pb2, duration_pb2, empty_pb2, field_mask_pb2, struct_pb2, timestamp_pb2, wrappers_pb2)
UNREADABLE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What the readers of schemas and of Avro raise is whatever their parts raise."""
_MOST_INDEXES = 64
"""How deep a Protobuf message may lie in others."""


class SchemaText(NamedTuple):
    """A schema as the registry has it: of type AVRO, PROTOBUF (a base64 `FileDescriptorProto`) or JSON, and what it
    refers to under which names."""

    kind: str
    text: str
    references: Sequence[tuple[str, SchemaText]] = ()


def decoder_of(schema: SchemaText) -> Decoder:
    """Reads records of a schema. Raises `ValueError` where the schema cannot be used."""
    if schema.kind == "AVRO":
        return _avro(schema)
    if schema.kind == "PROTOBUF":
        return _protobuf(schema)
    if schema.kind == "JSON":
        return bytes
    raise ValueError(f"schemas of type {schema.kind!r} are not read; allowed: AVRO, PROTOBUF, JSON")


def _avro(schema: SchemaText) -> Decoder:
    named: dict[str, Any] = {}

    def parsed(part: SchemaText) -> Any:
        for _, other in part.references:
            parsed(other)
        return fastavro.parse_schema(orjson.loads(part.text), named_schemas=named)

    try:
        writer = parsed(schema)
    except fastavro.schema.SchemaParseException as error:
        raise ValueError(f"the Avro schema cannot be used: {error!r}") from None

    if _is_bottomless(writer, named):
        raise ValueError("the Avro schema has an array of what takes no bytes: a short record could hold any number")
    # The compiled reader has no bound: where a type holds itself, a small record could nest it until the process dies.
    read = read_in_python if _holds_itself(writer, named) else fastavro.schemaless_reader

    def decode(payload: bytes) -> bytes:
        try:
            return orjson.dumps(read(BytesIO(payload), writer, None), default=_plain)
        except UNREADABLE as error:
            raise BadEvent("bad_payload", f"the payload does not fit its Avro schema: {error!r:.200}") from None

    return decode


def _holds_itself(schema: Any, named: Mapping[str, Any]) -> bool:
    """Whether any type in a parsed schema holds itself; `named` has the types by name."""
    within: set[str] = set()
    done: set[str] = set()

    def look(part: Any) -> bool:
        if isinstance(part, list):
            return any(look(one) for one in part)
        if isinstance(part, str):
            return part in within or (part in named and part not in done and look(named[part]))
        kind = part["type"]
        if not isinstance(kind, str):
            return look(kind)
        if kind in ("record", "error"):
            name = part["name"]
            within.add(name)
            found = any(look(field["type"]) for field in part["fields"])
            within.discard(name)
            done.add(name)
            return found
        return look(part["items"] if kind == "array" else part["values"] if kind == "map" else [])

    return look(schema)


def _is_bottomless(schema: Any, named: Mapping[str, Any]) -> bool:
    """Whether a parsed schema has an array whose items take no bytes."""
    seen: set[str] = set()

    def is_nothing(part: Any, within: frozenset[str] = frozenset()) -> bool:
        kind, given = _type_of(part, named)
        if kind in ("record", "error"):
            name = given["name"]
            return name not in within and all(is_nothing(field["type"], within | {name}) for field in given["fields"])
        return kind == "null" or (kind == "fixed" and given["size"] == 0)

    def look(part: Any) -> bool:
        if isinstance(part, list):
            return any(look(one) for one in part)
        kind, given = _type_of(part, named)
        if kind in ("record", "error"):
            if given["name"] in seen:
                return False
            seen.add(given["name"])
            return any(look(field["type"]) for field in given["fields"])
        if kind == "array":
            return is_nothing(given["items"]) or look(given["items"])
        return kind == "map" and look(given["values"])

    return look(schema)


def _type_of(part: Any, named: Mapping[str, Any]) -> tuple[str, Any]:
    """(type, what defines it) of a part of a parsed schema that is no union; `union` for one."""
    while True:
        if isinstance(part, list):
            return "union", part
        if isinstance(part, str):
            if part not in named:
                return part, part
            part = named[part]
        if isinstance(part["type"], str):
            return part["type"], part
        part = part["type"]


def _protobuf(schema: SchemaText) -> Decoder:
    pool = DescriptorPool()
    for known in _WELL_KNOWN:
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)

    def add(part: SchemaText, name: str) -> Any:
        for other_name, other in part.references:
            if not other_name.startswith("google/protobuf/"):
                add(other, other_name)
        file = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(part.text, validate=True))
        file.name = name
        pool.Add(file)
        return pool.FindFileByName(name)

    try:
        file = add(schema, "the record's")
    except (ValueError, TypeError, KeyError, DecodeError) as error:
        raise ValueError(f"the Protobuf schema cannot be used: {error!r:.200}") from None
    top = list(file.message_types_by_name.values())

    def decode(payload: bytes) -> bytes:
        try:
            indexes, begin = _indexes(payload)
            found = top[indexes[0]]
            for index in indexes[1:]:
                found = found.nested_types[index]
            message = GetMessageClass(found).FromString(payload[begin:])
            return orjson.dumps(MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=pool))
        except (DecodeError, IndexError, ValueError, TypeError) as error:
            raise BadEvent("bad_payload", f"the payload does not fit its Protobuf schema: {error!r:.200}") from None

    return decode


def _indexes(payload: bytes) -> tuple[list[int], int]:
    """Which message of the schema, and where it begins: a count and so many indexes as zigzag varints; zero alone
    stands for the first message."""
    count, at = _zigzag(payload, 0)
    if count == 0:
        return [0], at
    if not 0 < count <= _MOST_INDEXES:
        raise ValueError(f"{count} message indexes")
    indexes = []
    for _ in range(count):
        index, at = _zigzag(payload, at)
        if index < 0:
            raise ValueError(f"message index {index}")
        indexes.append(index)
    return indexes, at


def _zigzag(payload: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = payload[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
        if shift > 28:
            raise ValueError("a varint that does not end")


def _plain(given: object) -> object:
    """What JSON has no form for."""
    if isinstance(given, Decimal):
        return float(given)
    if isinstance(given, bytes):
        return base64.b64encode(given).decode()
    raise TypeError(f"{type(given).__name__} has no form in JSON")
