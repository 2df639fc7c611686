"""What raw records are wrapped in, on real Kafka: registry framing, CloudEvents, compressed batches."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from cloudevents.core.bindings.kafka import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, timestamp_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from tests.integration.bench import Bench, events, letters
from tests.registry import Registry
from tracker.domain.events import Event, Item
from tracker.wire.decode import decode_canonical

pytestmark = pytest.mark.integration

TS = 1_772_442_000_000
EVENT: dict[str, Any] = {
    "event_id": "e1",
    "type": "product_added",
    "ts": TS,
    "customer_id": "c1",
    "items": [{"product_id": "dress-12", "quantity": 2, "price": 899.5}],
    "currency": "NOK",
}
READ = Event(
    "e1", "product_added", TS, customer_id="c1", items=[Item("dress-12", quantity=2, price=899.5)], currency="NOK"
)
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
ITEM = {
    "type": "record",
    "name": "Item",
    "namespace": "shop",
    "fields": [
        {"name": "product_id", "type": "string"},
        {"name": "quantity", "type": "int"},
        {"name": "price", "type": ["null", MONEY], "default": None},
    ],
}
AVRO = {
    "type": "record",
    "name": "Event",
    "namespace": "shop",
    "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "type", "type": "string"},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "customer_id", "type": ["null", "string"], "default": None},
        {"name": "items", "type": {"type": "array", "items": "shop.Item"}},
        {"name": "currency", "type": ["null", "string"], "default": None},
    ],
}
CONTEXT = SerializationContext("shop.clicks", MessageField.VALUE)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


async def read(bench: Bench, count: int) -> list[Event]:
    """What ingest makes of the raw topics, once it is so much."""
    async with bench.running():
        records = await bench.until(lambda records: len(events(records)) >= count)
    return [decode_canonical(record.value) for record in events(records)]


def framed_avro(registry: Registry) -> bytes:
    client = SchemaRegistryClient({"url": registry.url})
    client.register_schema("item", Schema(json.dumps(ITEM), "AVRO"))
    schema = Schema(json.dumps(AVRO), "AVRO", [SchemaReference("shop.Item", "item", 1)])
    value = EVENT | {
        "ts": datetime.fromtimestamp(TS / 1000, UTC),
        "items": [{"product_id": "dress-12", "quantity": 2, "price": Decimal("899.50")}],
    }
    return bytes(AvroSerializer(client, schema)(value, CONTEXT) or b"")


def protobuf_classes() -> tuple[Any, Any]:
    """Messages `Other` and `Event`, the second one of its file and with one inside."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="shop/event.proto", package="shop", syntax="proto3", dependency=["google/protobuf/timestamp.proto"]
    )
    file.message_type.add(name="Other")
    event = file.message_type.add(name="Event")
    item = event.nested_type.add(name="Item")
    item.field.add(name="product_id", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    item.field.add(name="quantity", number=2, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL)
    item.field.add(name="price", number=3, type=field.TYPE_DOUBLE, label=field.LABEL_OPTIONAL)
    for number, name in enumerate(("event_id", "type", "customer_id", "currency"), 1):
        event.field.add(name=name, number=number, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    event.field.add(
        name="ts",
        number=5,
        type=field.TYPE_MESSAGE,
        type_name=".google.protobuf.Timestamp",
        label=field.LABEL_OPTIONAL,
    )
    event.field.add(
        name="items", number=6, type=field.TYPE_MESSAGE, type_name=".shop.Event.Item", label=field.LABEL_REPEATED
    )
    pool = DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    found = pool.FindMessageTypeByName("shop.Event")
    return GetMessageClass(found), GetMessageClass(found.nested_types_by_name["Item"])


def framed_protobuf(registry: Registry) -> bytes:
    event, item = protobuf_classes()
    message = event(
        event_id="e1",
        type="product_added",
        customer_id="c1",
        currency="NOK",
        items=[item(product_id="dress-12", quantity=2, price=899.5)],
    )
    message.ts.FromMilliseconds(TS)
    client = SchemaRegistryClient({"url": registry.url})
    return bytes(ProtobufSerializer(event, client, {"use.deprecated.format": False})(message, CONTEXT) or b"")


def framed_json(registry: Registry) -> bytes:
    schema = json.dumps({"title": "event", "type": "object", "properties": {"event_id": {"type": "string"}}})
    return bytes(JSONSerializer(schema, SchemaRegistryClient({"url": registry.url}))(EVENT, CONTEXT) or b"")


@pytest.mark.parametrize("framed", [framed_avro, framed_protobuf, framed_json])
async def test_what_the_registrys_own_serializers_write_is_read(bench: Bench, registry: Registry, framed: Any) -> None:
    value = framed(registry)
    assert value[0] == 0
    registry.asked.clear()
    bench.more = {"schema_registry_url": registry.url}
    for _ in range(3):
        await bench.write(0, value)
    assert await read(bench, 3) == [READ] * 3
    assert len(set(registry.asked)) == len(registry.asked), "each thing is asked for once"


async def test_a_registry_that_is_away_pauses_and_loses_nothing(bench: Bench, registry: Registry) -> None:
    value = framed_avro(registry)
    registry.status = 503
    bench.more = {"schema_registry_url": registry.url}
    await bench.write(0, value)
    await bench.write(1, json.dumps(EVENT | {"event_id": "elsewhere"}).encode())
    async with bench.running():
        await bench.until(lambda records: len(events(records)) >= 1)
        assert len(registry.asked) > 0
        registry.status = None
        records = await bench.until(lambda records: len(events(records)) >= 2)
    assert [decode_canonical(record.value).event_id for record in events(records)].count("e1") == 1


async def test_what_no_schema_helps_with_is_a_dead_letter_that_says_why(bench: Bench, registry: Registry) -> None:
    value = framed_avro(registry)
    bench.more = {"schema_registry_url": registry.url}
    for bad in (b"\0\0\0\0\x63rest", value[:9], b"\0\0", value):
        await bench.write(0, bad)
    async with bench.running():
        found = await letters(bench, 3)
        await bench.until(lambda records: len(events(records)) >= 1)
    assert [letter.reason for letter in found] == ["no_schema", "bad_payload", "bad_payload"]
    assert "does not know schema 99" in found[0].detail
    assert [letter.value for letter in found] == [b"\0\0\0\0\x63rest", value[:9], b"\0\0"]


async def test_without_a_registry_a_framed_record_says_which_setting_is_missing(bench: Bench) -> None:
    await bench.write(0, b"\0\0\0\0\1rest")
    async with bench.running():
        (letter,) = await letters(bench, 1)
    assert (letter.reason, "TRACKER_SCHEMA_REGISTRY_URL" in letter.detail) == ("no_schema", True)


async def test_the_registrys_user_and_password_travel_along(bench: Bench) -> None:
    with Registry() as registry:
        value = framed_avro(registry)
        registry.user = "shop"
        bench.more = {"schema_registry_url": registry.url.replace("//", "//shop:s%2Fcret@")}
        await bench.write(0, value)
        assert await read(bench, 1) == [READ]


def cloud_event(data: dict[str, Any], **attributes: Any) -> CloudEvent:
    given = {"id": "42", "source": "/shop", "type": "com.shop.product_added.v1", "specversion": "1.0"}
    return CloudEvent(given | {"datacontenttype": "application/json"} | attributes, data)


@pytest.mark.parametrize("write", [to_binary, to_structured])
async def test_a_cloudevent_is_opened_and_stands_in_for_what_its_data_leaves_out(bench: Bench, write: Any) -> None:
    whole = write(cloud_event(EVENT), JSONFormat())
    bare = {name: given for name, given in EVENT.items() if name not in {"event_id", "type", "ts"}}
    partly = write(cloud_event(bare, time=datetime.fromtimestamp(TS / 1000, UTC)), JSONFormat())
    for message in (whole, partly):
        await bench.write(0, message.value, headers=list(message.headers.items()))
    first, second = await read(bench, 2)
    assert first == READ
    assert second.event_id == "/shop#42"
    assert (second.type, second.ts, second.items) == (READ.type, TS, READ.items)


async def test_a_structured_cloudevent_without_its_header_is_recognised(bench: Bench) -> None:
    await bench.write(0, to_structured(cloud_event(EVENT), JSONFormat()).value)
    assert await read(bench, 1) == [READ]


@asynccontextmanager
async def compressing(brokers: str, codec: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=brokers, compression_type=codec, linger_ms=50)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_compressed_batches_are_read(bench: Bench, codec: str) -> None:
    async with compressing(bench.brokers, codec) as producer:
        for number in range(50):
            value = json.dumps(EVENT | {"event_id": f"e{number}"}).encode()
            await producer.send(bench.topics.raw_topics[0], value, partition=0)
    assert {event.event_id for event in await read(bench, 50)} == {f"e{number}" for number in range(50)}
