"""Kafka clients with the settings that the tracker relies on, and what can be asked of a broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiokafka import AIOKafkaClient, AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.conn import collect_hosts
from aiokafka.errors import IncompatibleBrokerVersion, NoError, UnknownError, for_code
from aiokafka.protocol.transaction import InitProducerIdRequest

from tracker.broker.batches import BATCH_BYTES, REQUEST_BYTES
from tracker.broker.discard import FAILURES, discard
from tracker.errors import SettingError, Unavailable

__all__ = [
    "FAILURES",
    "connected",
    "detect",
    "discard",
    "make_consumer",
    "make_producer",
    "partitions_of",
    "reachable",
    "while_reachable",
]

T = TypeVar("T")

ASK_TIMEOUT_MS = 10_000
CONNECT_TIMEOUT = 2.0
UNEASY = 3.0
"""Seconds without an answer after which it is asked whether there is a broker at all."""
_PATIENCE = 0.5  # with a call that was cancelled
_TRIES = 5
_PAUSE = 0.2


def make_consumer(brokers: str, group: str, *topics: str, **options: Any) -> AIOKafkaConsumer:
    """A consumer for a stage, not started. It seeks for itself and commits nothing by itself.

    `options` go to aiokafka as they are, and win."""
    settings = {
        "bootstrap_servers": brokers,
        "group_id": group,
        "client_id": group,
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        # Large fetches: a partition in backlog costs one round trip for thousands of events, an idle one waits
        # no longer than it takes to be noticed as fully read.
        "max_partition_fetch_bytes": 4 * 1024 * 1024,
        "fetch_max_bytes": 32 * 1024 * 1024,
        "fetch_max_wait_ms": 50,
        "max_poll_records": None,
        # aiokafka does not rejoin a group that it left for not polling; a stage polls even while it is paused.
        "max_poll_interval_ms": 600_000,
        "session_timeout_ms": 10_000,
        "heartbeat_interval_ms": 3_000,
        "request_timeout_ms": 30_000,
        "retry_backoff_ms": 100,
        "metadata_max_age_ms": 60_000,
        **options,
    }
    return AIOKafkaConsumer(*topics, **settings)


def make_producer(brokers: str, *, idempotent: bool, **options: Any) -> AIOKafkaProducer:
    """A producer for events and control records, not started. Without `idempotent` (a broker that cannot do it)
    a record may be written twice; deduplication by `event_id` absorbs that. `options` go to aiokafka, and win.

    Snappy, because less to move costs less than moving it: per 424-byte event 1.2 µs of CPU to write and 1.9 to
    read, without compression 1.6 and 2.7, with zstd 1.5 and 1.8, with lz4 3.6 and 1.7; a batch of one costs
    4 µs more than without (zstd: 20)."""
    settings = {
        "bootstrap_servers": brokers,
        "acks": "all",
        "enable_idempotence": idempotent,
        "compression_type": "snappy",
        "linger_ms": 5,
        "max_batch_size": BATCH_BYTES,
        "max_request_size": REQUEST_BYTES,
        "request_timeout_ms": 30_000,
        "retry_backoff_ms": 50,
        **options,
    }
    return AIOKafkaProducer(**settings)


@asynccontextmanager
async def connected(brokers: str) -> AsyncIterator[AIOKafkaClient]:
    """A bare client for a few questions. Raises `Unavailable` where no broker answers."""
    client = AIOKafkaClient(bootstrap_servers=brokers, client_id="tracker", request_timeout_ms=ASK_TIMEOUT_MS)
    try:
        try:
            async with asyncio.timeout(ASK_TIMEOUT_MS / 1000):
                await client.bootstrap()
        except FAILURES as error:
            raise Unavailable(f"no broker answers at TRACKER_BROKERS = {brokers}: {error!r}") from error
        yield client
    finally:
        await client.close()


async def reachable(brokers: str) -> bool:
    """Whether one of the brokers takes a connection. Says nothing about what it answers."""
    for host, port, _ in collect_hosts(brokers):
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError):
            continue
        writer.close()
        return True
    return False


async def while_reachable(brokers: str, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives, but not waiting for brokers that take no connections: aiokafka would go on trying for as long
    as it is let. Raises `TimeoutError` then, and `work` is cancelled."""
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({task}, timeout=UNEASY))[0]:
            if not await reachable(brokers):
                raise TimeoutError("no broker takes connections")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_PATIENCE)


async def partitions_of(brokers: str, *topics: str) -> dict[str, int]:
    """How many partitions each topic has by the broker's metadata; 0 where it does not exist."""
    async with connected(brokers) as client:
        try:
            cluster = await client.fetch_all_metadata()
        except FAILURES as error:
            raise Unavailable(f"brokers {brokers} did not list their topics: {error!r}") from error
        return {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in topics}


async def detect(brokers: str) -> bool:
    """Whether outputs can be published exactly once, that is, whether the broker hands out producer ids.

    Raises `Unavailable` when it cannot be asked, and `SettingError` where it could but does not allow it: to
    promise less than the broker can do, without a word, would be worse than to stop."""
    async with connected(brokers) as client:
        refusals = 0
        for _ in range(_TRIES):
            try:
                # Takes an id and leaves nothing behind. The embedded broker lists this request among those it
                # knows, and answers it with "unknown error"; a real one could, once, by accident.
                node = client.get_random_node()
                reply = await client.send(node, InitProducerIdRequest(None, transaction_timeout_ms=60_000))
            except IncompatibleBrokerVersion:
                return False
            except FAILURES as error:
                raise Unavailable(f"brokers {brokers} did not say if they do transactions: {error!r}") from error
            error_type = for_code(reply.error_code)
            if error_type is NoError:
                return True
            if error_type is UnknownError:
                refusals += 1
            elif not error_type.retriable:
                raise SettingError(
                    f"TRACKER_BROKERS = {brokers}: exactly-once publishing is refused: {error_type.__name__}; allowed: "
                    "a principal with IdempotentWrite on the cluster and Write on the transactional ids"
                )
            await asyncio.sleep(_PAUSE)
        if refusals == _TRIES:
            return False
        raise Unavailable(f"brokers {brokers} are not ready to hand out producer ids ({_TRIES} tries)")
