"""Publishes outputs together with the position they belong to: in one transaction, or at least once without."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, NotEnoughReplicasError, ProducerFenced
from aiokafka.structs import OffsetAndMetadata

from tracker.broker.batches import BATCH_BYTES, REQUEST_BYTES, Batch, pack, send
from tracker.broker.kafka import FAILURES, discard, while_reachable
from tracker.broker.offsets import Committed, Offsets
from tracker.errors import Fenced, Irreconcilable, PartitionError, Unavailable
from tracker.stream.ports import OutRecord
from tracker.wire.position import Position, decode_position
from tracker.wire.topics import Topics

OPEN_TIMEOUT = 30.0
PUBLISH_TIMEOUT = 15.0
"""Seconds. The broker gives a transaction as long; until then a dead worker's holds up `read_committed` readers."""

_METADATA_BYTES = 4096  # Kafka's default `offset.metadata.max.bytes`
_ABORT_TIMEOUT = 3.0
_PATIENCE = 0.5  # with a producer that has failed


def _is_news(entry: logging.LogRecord) -> bool:
    """Kafka 4 answers a transaction's first batch with this error while it still verifies the partition; aiokafka
    sends it again and warns each time, several times a second. Where it lasts, `publish` says so."""
    return not (isinstance(entry.args, tuple) and NotEnoughReplicasError in entry.args)


logging.getLogger("aiokafka.producer.sender").addFilter(_is_news)


def make_publisher(brokers: str, topics: Topics, partition: int, *, exactly_once: bool) -> KafkaPublisher:
    """The publisher for one partition of the log; `exactly_once` is what `detect` said of the broker."""
    kind = TransactionalPublisher if exactly_once else PlainPublisher
    return kind(brokers, topics, partition)


def position_of(found: Committed, group: str, where: str, *, exactly_once: bool) -> Position:
    """The position that was committed by `group` for the partition `where`. Raises `Irreconcilable`."""
    offset, metadata = found
    if not metadata and not exactly_once:
        return Position(offset)
    try:
        position = decode_position(metadata)
    except msgspec.DecodeError:
        position = None
    if position is None or position.offset != offset:
        raise Irreconcilable(
            f"group {group} has offset {offset} of {where} with metadata {metadata!r:.99}, which is no position of "
            "that offset. Something other than the tracker has committed it: stop that, then set the group's offset "
            "and metadata to the tracker's position in Redis, or end the workers and look at `tracker recover`"
        )
    return position


class KafkaPublisher(ABC):
    """What both publishers share: one producer for one partition, replaced after any error."""

    exactly_once: bool
    _hint = ""

    def __init__(self, brokers: str, topics: Topics, partition: int) -> None:
        self._brokers = brokers
        self._topics = topics
        self._partition = partition
        self._group = topics.track_group if self.exactly_once else topics.position_group
        self._where = f"{topics.events}/{partition} on {brokers}"
        self._producer: AIOKafkaProducer | None = None
        # A producer is in here while it does something, and stays after a cancellation, which leaves no time to be
        # polite: the next `open`, here or elsewhere, ends its transaction.
        self._doubtful: list[AIOKafkaProducer] = []
        # A broker answers a commit before readers of offsets see it, so what this producer published counts.
        self._published: Position | None = None

    async def open(self) -> None:
        """Start a new producer in place of any older one. Raises `Unavailable`."""
        await self.close()
        producer = self._make()
        self._doubtful.append(producer)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                await producer.start()
        except FAILURES as error:
            await self._discard(producer)
            raise Unavailable(f"the producer of {self._where} did not start: {error!r}. {self._hint}") from error
        self._doubtful.remove(producer)
        self._producer = producer

    async def committed(self) -> Position | None:
        """C: the position that the broker holds, or None. Only meaningful after `open`."""
        producer = self._opened()
        if self._published is not None:
            return self._published
        try:
            found = await self._offsets(producer).read()
        except FAILURES as error:
            raise Unavailable(f"the committed position of {self._where} could not be read: {error!r}") from error
        if found is None:
            return None
        return position_of(found, self._group, self._where, exactly_once=self.exactly_once)

    async def publish(self, records: Sequence[OutRecord], position: Position) -> None:
        """Publish a batch with its position. Raises `Fenced`, `Unavailable`; and `PartitionError`, before
        anything is sent, where a record or the position is too large."""
        producer = self._opened()
        metadata = position.encode()
        if len(metadata.encode()) > _METADATA_BYTES:
            raise PartitionError(f"{self._where}: the position {metadata:.99}… exceeds {_METADATA_BYTES} bytes")
        batches = pack(producer, records)
        self._producer = None
        self._doubtful.append(producer)
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT):
                await while_reachable(self._brokers, self._deliver(producer, batches, position.offset, metadata))
        except FAILURES as error:
            fenced = isinstance(error, ProducerFenced | InvalidProducerEpoch)
            if not fenced and not isinstance(error, TimeoutError):
                await self._undo(producer)
            await self._discard(producer)
            what = f"{len(records)} outputs of {self._where}, up to {metadata}"
            if fenced:
                raise Fenced(f"{what}, were refused: another worker owns the partition ({error!r})") from error
            raise Unavailable(f"{what}, could not be published: {error!r}. {self._hint}") from error
        self._doubtful.remove(producer)
        self._producer, self._published = producer, position

    async def close(self) -> None:
        """Release the producer; never raises."""
        producer, self._producer, self._published = self._producer, None, None
        if producer is not None:
            await discard(producer)
        for producer in list(self._doubtful):
            await self._discard(producer)

    async def _discard(self, producer: AIOKafkaProducer) -> None:
        await discard(producer, patience=_PATIENCE)
        self._doubtful.remove(producer)

    def _opened(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise PartitionError(f"the publisher of {self._where} is not open: it was never opened, or has failed")
        return self._producer

    def _offsets(self, producer: AIOKafkaProducer) -> Offsets:
        return Offsets(producer.client, self._group, self._topics.events, self._partition)

    @abstractmethod
    def _make(self) -> AIOKafkaProducer:
        """A producer, not yet started."""

    @abstractmethod
    async def _deliver(self, producer: AIOKafkaProducer, batches: Sequence[Batch], offset: int, metadata: str) -> None:
        """Publish, and wait until the broker has all of it."""

    @abstractmethod
    async def _undo(self, producer: AIOKafkaProducer) -> None:
        """Take back what failed half-way, as far as it can be; never raises."""


class TransactionalPublisher(KafkaPublisher):
    """Exactly once: outputs and position become visible in one transaction, or not at all. Opening it fences every
    older publisher of the partition and ends the transaction that one may have left open."""

    exactly_once = True
    _hint = "Transactions need the broker's topic __transaction_state, and every output as many replicas as it asks for"

    def _make(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            bootstrap_servers=self._brokers,
            client_id=self._topics.transactional_id(self._partition),
            transactional_id=self._topics.transactional_id(self._partition),
            transaction_timeout_ms=int(PUBLISH_TIMEOUT * 1000),
            request_timeout_ms=10_000,
            # Right after a transaction the next one is refused for a moment, while its markers are written.
            retry_backoff_ms=10,
            linger_ms=0,
            max_batch_size=BATCH_BYTES,
            max_request_size=REQUEST_BYTES,
        )

    async def _deliver(self, producer: AIOKafkaProducer, batches: Sequence[Batch], offset: int, metadata: str) -> None:
        await producer.begin_transaction()
        sent = await send(producer, batches)
        at = {TopicPartition(self._topics.events, self._partition): OffsetAndMetadata(offset, metadata)}
        offsets = producer.send_offsets_to_transaction(at, self._group)
        # Every future, before the commit: aiokafka commits although a batch has failed.
        results = await asyncio.gather(offsets, *sent, return_exceptions=True)
        _raise_worst(results)
        await producer.commit_transaction()

    async def _undo(self, producer: AIOKafkaProducer) -> None:
        # Only to free the readers sooner: opening the next producer would abort it as well.
        try:
            async with asyncio.timeout(_ABORT_TIMEOUT):
                await producer.abort_transaction()
        except FAILURES:
            pass


class PlainPublisher(KafkaPublisher):
    """At least once, for a broker without transactions: a batch whose publishing was interrupted is published
    again, with the same ids.

    The position is committed by a group of its own, since brokers take offsets from outside a group only while it
    has no members. Where the broker drops an offset's metadata (the embedded one does), C is the offset alone:
    at or before what was published, which is all that at least once needs."""

    exactly_once = False

    def _make(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            bootstrap_servers=self._brokers,
            client_id=self._topics.transactional_id(self._partition),
            acks="all",
            request_timeout_ms=10_000,
            linger_ms=0,
            max_batch_size=BATCH_BYTES,
            max_request_size=REQUEST_BYTES,
        )

    async def _deliver(self, producer: AIOKafkaProducer, batches: Sequence[Batch], offset: int, metadata: str) -> None:
        _raise_worst(await asyncio.gather(*await send(producer, batches), return_exceptions=True))
        await self._offsets(producer).write(offset, metadata)

    async def _undo(self, producer: AIOKafkaProducer) -> None:
        pass


def _raise_worst(results: Sequence[object]) -> None:
    """Raise one of the failures among `results`: that of a fenced producer, if there is one."""
    failures = [result for result in results if isinstance(result, BaseException)]
    for failure in failures:
        if isinstance(failure, ProducerFenced | InvalidProducerEpoch):
            raise failure
    if failures:
        raise failures[0]
