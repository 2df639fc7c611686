"""What the publishers promise: with transactions on real Kafka, without them there and on the embedded broker."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import OffsetAndMetadata

from tests.services import KafkaServer
from tracker.broker import publisher as publishing
from tracker.broker.batches import BATCH_BYTES
from tracker.broker.embedded import embedded_broker
from tracker.broker.kafka import detect, make_consumer, make_producer, partitions_of
from tracker.broker.publisher import KafkaPublisher, PlainPublisher, TransactionalPublisher, make_publisher
from tracker.errors import Fenced, Irreconcilable, PartitionError, Unavailable
from tracker.stream.ports import OutRecord
from tracker.wire.partition import partition_of
from tracker.wire.position import Position
from tracker.wire.topics import Topics

PARTITION = 1
ONE = Position(10, 1_000)
TWO = Position(20, 2_000, 1_500, "c:å")
HEADERS = (("ce_id", b"\x00\xff"), ("content-type", b"application/json"))


class Place(NamedTuple):
    """A broker with a tracker's topics on it."""

    bootstrap: str
    topics: Topics
    exactly_once: bool
    keeps_metadata: bool

    def publisher(self) -> KafkaPublisher:
        return make_publisher(self.bootstrap, self.topics, PARTITION, exactly_once=self.exactly_once)

    def kept(self, position: Position) -> Position:
        """How the broker gives a position back to the next owner."""
        return position if self.keeps_metadata else Position(position.offset)

    def record(self, value: bytes, *, topic: str | None = None, partition: int = PARTITION) -> OutRecord:
        return OutRecord(topic or self.topics.sessions, partition, b"c:1", value, HEADERS, 1_700_000_000_000)


async def create_topics(bootstrap: str, topics: Topics, configs: dict[str, dict[str, str]] | None = None) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics(
            [NewTopic(name, 4, 1, topic_configs=(configs or {}).get(name, {})) for name in topics.produced]
        )
    finally:
        await admin.close()
    async with asyncio.timeout(20):
        while 0 in (await partitions_of(bootstrap, *topics.produced)).values():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)


@pytest.fixture(params=["transactions", "plain on kafka", "embedded"])
async def place(request: pytest.FixtureRequest, namespace: str) -> AsyncIterator[Place]:
    topics = Topics(namespace)
    if request.param == "embedded":
        async with embedded_broker() as bootstrap:
            await create_topics(bootstrap, topics)
            yield Place(bootstrap, topics, exactly_once=False, keeps_metadata=False)
        return
    bootstrap = request.getfixturevalue("kafka").bootstrap
    await create_topics(bootstrap, topics)
    yield Place(bootstrap, topics, exactly_once=request.param == "transactions", keeps_metadata=True)


@pytest.fixture
async def transactional(kafka: KafkaServer, namespace: str) -> Place:
    topics = Topics(namespace)
    await create_topics(kafka.bootstrap, topics, {topics.late: {"max.message.bytes": "1000"}})
    return Place(kafka.bootstrap, topics, exactly_once=True, keeps_metadata=True)


@pytest.fixture
async def publisher(place: Place) -> AsyncIterator[KafkaPublisher]:
    publisher = place.publisher()
    await publisher.open()
    yield publisher
    await publisher.close()


async def read(place: Place, topic: str, partition: int = PARTITION) -> list[ConsumerRecord[Any, Any]]:
    """All that a reader of committed records sees in a partition now."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=place.bootstrap, isolation_level="read_committed", enable_auto_commit=False
    )
    async with consumer:
        at = TopicPartition(topic, partition)
        consumer.assign([at])
        consumer.seek(at, 0)
        found = []
        async with asyncio.timeout(20):
            # The embedded broker answers an empty partition with no high watermark.
            while (got := await consumer.getmany(at, timeout_ms=500)) or (
                await consumer.position(at) < (consumer.highwater(at) or 0)
            ):
                found += got.get(at, [])
        return found


async def values(place: Place, topic: str, partition: int = PARTITION) -> list[bytes]:
    return [record.value for record in await read(place, topic, partition)]


async def test_the_broker_says_which_promise_it_can_keep(place: Place) -> None:
    began = time.monotonic()
    assert await detect(place.bootstrap) is place.keeps_metadata
    assert time.monotonic() - began < 5


async def test_a_partition_that_was_never_published_has_no_position(publisher: KafkaPublisher) -> None:
    assert await publisher.committed() is None


async def test_outputs_arrive_as_they_were_given_and_the_position_with_them(
    place: Place, publisher: KafkaPublisher
) -> None:
    first, other = place.record(b"1"), place.record(b"2", topic=place.topics.transitions, partition=2)
    await publisher.publish([first, other, place.record(b"3")], ONE)
    await publisher.publish([place.record(b"4")], TWO)
    assert await values(place, place.topics.sessions) == [b"1", b"3", b"4"]
    assert await values(place, place.topics.transitions, 2) == [b"2"]
    (record, *_) = await read(place, place.topics.sessions)
    assert (record.key, record.timestamp, record.headers) == (b"c:1", first.timestamp, HEADERS)
    await publisher.open()
    assert await publisher.committed() == place.kept(TWO)


async def test_a_position_goes_out_without_outputs(place: Place, publisher: KafkaPublisher) -> None:
    await publisher.publish([], ONE)
    assert await publisher.committed() == ONE
    await publisher.open()
    assert await publisher.committed() == place.kept(ONE)


async def test_what_was_just_published_is_the_position(publisher: KafkaPublisher) -> None:
    for offset in range(1, 20):
        await publisher.publish([], Position(offset, 5))
        assert await publisher.committed() == Position(offset, 5)


async def test_more_than_a_batch_holds_goes_out_in_order(place: Place, publisher: KafkaPublisher) -> None:
    sent = [b"%05d" % number + b"x" * 2_000 for number in range(1_500)]
    assert sum(map(len, sent)) > 3 * BATCH_BYTES
    await publisher.publish([place.record(value) for value in sent], ONE)
    assert await values(place, place.topics.sessions) == sent


async def test_a_record_that_is_too_large_is_refused_before_anything_is_sent(
    place: Place, publisher: KafkaPublisher
) -> None:
    with pytest.raises(PartitionError, match=r"journey.sessions/1 takes \d+ bytes; allowed"):
        await publisher.publish([place.record(b"1"), place.record(b"x" * BATCH_BYTES)], ONE)
    with pytest.raises(PartitionError, match="position"):
        await publisher.publish([place.record(b"1")], Position(10, 1, 1, "c:" + "x" * 5_000))
    await publisher.publish([place.record(b"2")], ONE)
    assert await values(place, place.topics.sessions) == [b"2"]


async def test_the_group_may_have_members(place: Place, publisher: KafkaPublisher) -> None:
    consumer = make_consumer(place.bootstrap, place.topics.track_group, place.topics.events)
    await consumer.start()
    try:
        async with asyncio.timeout(20):
            while not consumer.assignment():  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.05)
        await publisher.publish([place.record(b"1")], ONE)
        await publisher.open()
        assert await publisher.committed() == place.kept(ONE)
    finally:
        await consumer.stop()


async def test_a_publisher_must_be_open(place: Place) -> None:
    publisher = place.publisher()
    for _ in range(2):
        with pytest.raises(PartitionError, match="not open"):
            await publisher.publish([], ONE)
        with pytest.raises(PartitionError, match="not open"):
            await publisher.committed()
        await publisher.close()
        await publisher.open()
        await publisher.close()
        await publisher.close()


async def test_the_next_owner_fences_the_one_before(transactional: Place) -> None:
    place = transactional
    older, newer = place.publisher(), place.publisher()
    try:
        await older.open()
        await older.publish([place.record(b"of the older")], ONE)
        await newer.open()
        with pytest.raises(Fenced, match="another worker owns the partition"):
            await older.publish([place.record(b"too late")], TWO)
        assert await newer.committed() == ONE
        await newer.publish([place.record(b"of the newer")], TWO)
        assert await values(place, place.topics.sessions) == [b"of the older", b"of the newer"]
        await older.open()  # and the other way round
        with pytest.raises(Fenced):
            await newer.publish([], TWO)
    finally:
        await older.close()
        await newer.close()


async def test_the_next_owner_ends_the_transaction_of_one_that_died(transactional: Place) -> None:
    place = transactional
    publisher = place.publisher()
    await publisher.open()
    await publisher.publish([place.record(b"1")], ONE)
    await publisher.close()
    dead = AIOKafkaProducer(
        bootstrap_servers=place.bootstrap, transactional_id=place.topics.transactional_id(PARTITION)
    )
    await dead.start()
    try:
        await dead.begin_transaction()
        await dead.send_and_wait(place.topics.sessions, b"never committed", partition=PARTITION)
        at = {TopicPartition(place.topics.events, PARTITION): OffsetAndMetadata(TWO.offset, TWO.encode())}
        await dead.send_offsets_to_transaction(at, place.topics.track_group)
        await publisher.open()
        assert await publisher.committed() == ONE
        await publisher.publish([place.record(b"2")], TWO)
        assert await values(place, place.topics.sessions) == [b"1", b"2"]
    finally:
        await publisher.close()
        await dead.stop()


async def test_one_failed_send_takes_the_whole_batch_back(transactional: Place) -> None:
    place = transactional
    publisher = place.publisher()
    try:
        await publisher.open()
        await publisher.publish([place.record(b"1")], ONE)
        refused = place.record(os.urandom(2_000), topic=place.topics.late)  # the broker takes no more than 1000 bytes
        with pytest.raises(Unavailable, match="MessageSizeTooLarge"):
            await publisher.publish([place.record(b"2"), refused], TWO)
        with pytest.raises(PartitionError, match="not open"):
            await publisher.publish([], TWO)
        await publisher.open()
        assert await publisher.committed() == ONE
        await publisher.publish([place.record(b"3")], TWO)
        assert await values(place, place.topics.sessions) == [b"1", b"3"]
        assert await values(place, place.topics.late) == []
    finally:
        await publisher.close()


async def test_a_batch_that_was_cancelled_is_out_with_its_position_or_not_at_all(transactional: Place) -> None:
    place = transactional
    publisher = place.publisher()
    try:
        await publisher.open()
        expected: list[bytes] = []
        for number in range(12):
            position = Position(number + 1, 5)
            task = asyncio.create_task(publisher.publish([place.record(b"%d" % number)], position))
            await asyncio.sleep(number * 0.004)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await publisher.open()
            if await publisher.committed() == position:
                expected.append(b"%d" % number)
        assert await values(place, place.topics.sessions) == expected
    finally:
        await publisher.close()


async def test_an_offset_that_somebody_else_committed_stops_the_partition(transactional: Place) -> None:
    place = transactional
    publisher = TransactionalPublisher(place.bootstrap, place.topics, PARTITION)
    at = TopicPartition(place.topics.events, PARTITION)
    consumer = AIOKafkaConsumer(bootstrap_servers=place.bootstrap, group_id=place.topics.track_group)
    async with consumer:
        consumer.assign([at])
        try:
            for offset, metadata in ((7, ""), (7, "words"), (7, ONE.encode())):
                await consumer.commit({at: OffsetAndMetadata(offset, metadata)})
                await publisher.open()
                with pytest.raises(Irreconcilable, match="has offset 7"):
                    await publisher.committed()
        finally:
            await publisher.close()


async def test_a_broker_that_is_away_is_unavailable(namespace: str, unused_tcp_port: int) -> None:
    bootstrap = f"127.0.0.1:{unused_tcp_port}"
    with pytest.raises(Unavailable, match="no broker answers"):
        await detect(bootstrap)
    for kind in (TransactionalPublisher, PlainPublisher):
        publisher = kind(bootstrap, Topics(namespace), PARTITION)
        with pytest.raises(Unavailable, match="did not start"):
            await publisher.open()
        await publisher.close()


@pytest.mark.parametrize("how", ["frozen", "killed"])
async def test_a_broker_that_goes_away_half_way_is_unavailable_and_comes_back(
    how: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "PUBLISH_TIMEOUT", 3.0)
    topics = Topics(namespace)
    with KafkaServer() as server:
        await create_topics(server.bootstrap, topics)
        place = Place(server.bootstrap, topics, exactly_once=True, keeps_metadata=True)
        publisher = place.publisher()
        try:
            await publisher.open()
            await publisher.publish([place.record(b"1")], ONE)
            task = asyncio.create_task(publisher.publish([place.record(b"2")], TWO))
            await asyncio.sleep(0.005)
            if how == "killed":
                server.kill()
            else:
                assert server.pid is not None
                os.kill(server.pid, signal.SIGSTOP)
            began = time.monotonic()
            try:
                with pytest.raises(Unavailable, match="could not be published"):
                    await task
                assert time.monotonic() - began < 20
                assert asyncio.all_tasks() == {asyncio.current_task()}  # nothing is left trying
            finally:
                if how == "killed":
                    await asyncio.to_thread(server.start)
                else:
                    os.kill(server.pid or 0, signal.SIGCONT)
            await publisher.open()
            expected = [b"1", b"2"] if await publisher.committed() == TWO else [b"1"]
            await publisher.publish([place.record(b"3")], Position(30, 5))
            assert await values(place, topics.sessions) == [*expected, b"3"]
        finally:
            await publisher.close()


async def test_a_broker_that_takes_no_connections_is_not_waited_for(namespace: str) -> None:
    topics = Topics(namespace)
    with KafkaServer() as server:
        await create_topics(server.bootstrap, topics)
        place = Place(server.bootstrap, topics, exactly_once=True, keeps_metadata=True)
        publisher = place.publisher()
        try:
            await publisher.open()
            await publisher.publish([place.record(b"1")], ONE)
            await asyncio.to_thread(server.stop)
            began = time.monotonic()
            with pytest.raises(Unavailable, match="no broker takes connections"):
                await publisher.publish([place.record(b"2")], TWO)
            assert time.monotonic() - began < publishing.PUBLISH_TIMEOUT / 2
        finally:
            await publisher.close()


async def test_partitions_are_counted_by_the_brokers_metadata(place: Place) -> None:
    counted = await partitions_of(place.bootstrap, place.topics.events, "no.such.topic")
    assert counted == {place.topics.events: 4, "no.such.topic": 0}


async def test_the_producer_of_events_keys_them_as_java_does(place: Place) -> None:
    producer = make_producer(place.bootstrap, idempotent=place.exactly_once)
    await producer.start()
    try:
        for number in range(50):
            key = f"c:{number}".encode()
            sent = await (await producer.send(place.topics.events, b"{}", key=key))
            assert sent.partition == partition_of(key, 4)
    finally:
        await producer.stop()
