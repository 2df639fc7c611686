"""Schemas of a registry, and registries, that are not as they should be: no record that names one stops the line."""

from __future__ import annotations

import json

import pytest

from tests.registry import Registry
from tracker.broker.registry import SchemaRegistry
from tracker.errors import BadEvent, Unavailable
from tracker.wire.schemas import SchemaText, decoder_of

LIST = {
    "type": "record",
    "name": "Step",
    "fields": [
        {"name": "page", "type": "string"},
        {"name": "next", "type": ["null", {"type": "array", "items": "Step"}]},
    ],
}


@pytest.mark.parametrize("depth", [5, 100_000])
def test_a_record_that_nests_a_type_in_itself_ends_at_a_bound(depth: int) -> None:
    read = decoder_of(SchemaText("AVRO", json.dumps(LIST)))
    payload = b"\x02p\x02\x02" * depth + b"\x02p\x00" + b"\x00" * depth
    if depth == 5:
        found, deep = json.loads(read(payload)), 0
        while found["next"]:
            found, deep = found["next"][0], deep + 1
        assert deep == depth
    else:
        with pytest.raises(BadEvent, match="does not fit its Avro schema: RecursionError"):
            read(payload)


EMPTY = {"type": "record", "name": "Empty", "fields": [{"name": "nothing", "type": "null"}]}


@pytest.mark.parametrize("items", ["null", EMPTY, {"type": "fixed", "name": "none", "size": 0}])
def test_a_schema_whose_short_records_could_hold_any_number_of_things_is_none(items: object) -> None:
    fields = [{"name": "tags", "type": ["null", {"type": "array", "items": items}]}]
    with pytest.raises(ValueError, match="an array of what takes no bytes"):
        decoder_of(SchemaText("AVRO", json.dumps({"type": "record", "name": "Event", "fields": fields})))


@pytest.mark.parametrize("items", ["string", ["null", "long"], LIST, {"type": "map", "values": "null"}])
def test_arrays_of_what_takes_bytes_are_read(items: object) -> None:
    read = decoder_of(SchemaText("AVRO", json.dumps({"type": "array", "items": items})))
    assert read(b"\x00") == b"[]"
    with pytest.raises(BadEvent, match="bad_payload"):
        read(b"\x80\x80\x80\x80\x10")


@pytest.mark.parametrize("text", ["null", "7", '"Unknown"', "{", '{"type": 1}'])
async def test_a_schema_that_is_none_refuses_its_records_and_does_not_stop_the_line(text: str) -> None:
    with Registry() as registry:
        registry.schemas.append({"schema": text})
        known = SchemaRegistry(registry.url)
        await known.learn([b"\0\0\0\0\1"])
        await known.close()
    found = known.decoders[1]
    assert isinstance(found, BadEvent)
    assert found.reason == "no_schema"


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_number_that_the_registry_takes_for_no_id_is_an_unknown_schema(status: int) -> None:
    with Registry() as registry:
        registry.status = status
        known = SchemaRegistry(registry.url)
        await known.learn([b"\0\xff\xff\xff\xff"])
        await known.close()
    assert str(known.decoders[2**32 - 1]) == (
        "no_schema: the schema registry at 127.0.0.1 does not know schema 4294967295"
    )


@pytest.mark.parametrize("status", [401, 403])
async def test_a_registry_that_refuses_who_asks_says_nothing_about_the_schema(status: int) -> None:
    with Registry() as registry:
        registry.status = status
        known = SchemaRegistry(registry.url)
        with pytest.raises(Unavailable, match="refused schema 1"):
            await known.learn([b"\0\0\0\0\1"])
        await known.close()
    assert not known.decoders
