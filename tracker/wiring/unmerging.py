"""`tracker unmerge`: takes a visitor and a customer apart, by folding both again from the log without their link."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from secrets import token_hex
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from tracker.broker.batches import BATCH_BYTES
from tracker.broker.kafka import FAILURES, make_consumer
from tracker.broker.sender import Sender
from tracker.domain.state import State, decode_state, encode_state
from tracker.domain.unmerging import forget_unsaid
from tracker.errors import SettingError, TrackerError, Unavailable
from tracker.settings import Settings
from tracker.store.redis import RedisStore
from tracker.stream.ports import OutRecord
from tracker.stream.rebuilding import Shadow, apart, difference
from tracker.stream.track import now
from tracker.wire.control import (
    Config,
    Control,
    Rebuilt,
    Unmerge,
    control_headers,
    control_kind,
    decode_control,
    encode_control,
)
from tracker.wire.partition import partition_of
from tracker.wire.topics import Topics
from tracker.wiring.parts import (
    check_partitions,
    delivery_of,
    first_config,
    log_range,
    run,
    store_of,
    stored_config,
    table_of,
    topic_counts,
    topics_of,
)

PATIENCE = 60.0
"""Seconds for which the worker may leave the end of the log unread."""


async def unmerge(settings: Settings, visitor: str, customer: str, *, accept_loss: bool) -> None:
    """Take `visitor` (`a:…`) and `customer` (`c:…`) apart. Raises `TrackerError` where they are not linked, where the
    log does not hold all of their past (unless `accept_loss`), or where no worker answers; `Unavailable`."""
    topics = topics_of(settings)
    partitions = (await topic_counts(settings))[topics.events]
    places = {name: partition_of(name.encode(), partitions) for name in (visitor, customer)}
    store, sender = store_of(settings), Sender(settings.brokers_text, idempotent=await delivery_of(settings))
    consumer = make_consumer(settings.brokers_text, topics.track_group, group_id=None)
    try:
        check_partitions(topics.events, await stored_config(store, 0), partitions)
        states = await _linked(store, visitor, customer, partitions)
        try:
            await consumer.start()
        except FAILURES as error:
            raise Unavailable(f"brokers {settings.brokers_text} do not answer: {error!r}") from error
        configs = {}
        for partition in set(places.values()):
            start, _ = await log_range(consumer, topics, partition, known_end=False)
            if start and not accept_loss:
                raise TrackerError(
                    f"{topics.events}/{partition} begins at offset {start}: what the two did before was deleted by "
                    "retention and would be missing from both, orders included. --accept-loss goes on"
                )
            config = await first_config(settings, topics, partition, lambda: None)
            if config is None:
                raise TrackerError(f"{topics.events}/{partition} holds no config: no worker has folded it yet")
            if table_of(config).account is not None:
                raise SettingError("people who act for an account (buyer: account in a model) cannot be taken apart")
            configs[partition] = config
        token = token_hex(8)
        await sender.append([_record(topics, places[visitor], visitor, Unmerge(visitor, customer, token))])
        shadows = await _fold(consumer, topics, partitions, places, configs, states, visitor, customer, token)
        if any(would.sent_on for _, would in shadows.values()):
            raise TrackerError(f"without {customer}, {visitor} would be another customer's: that cannot be rebuilt")
        said = set().union(*(was.dropoffs for was, _ in shadows.values()))
        records = []
        for name, partition in places.items():
            was, would = shadows[partition]
            counters = difference(would, was) if name == visitor or len(shadows) > 1 else {}
            state = would.state(name.encode())
            wrong = forget_unsaid(state, said)
            records.append(
                _record(
                    topics, partition, name, Rebuilt(encode_state(state), counters, wrong, was.guard(name.encode()))
                )
            )
        largest = max(len(record.value or b"") for record in records)
        if largest > BATCH_BYTES // 2:
            raise TrackerError(f"a rebuilt state has {largest} bytes, more than a record may: try again in an hour")
        await sender.append(records)
    finally:
        await consumer.stop()
        await sender.close()
        await store.close()


async def _linked(store: RedisStore, visitor: str, customer: str, partitions: int) -> dict[str, State]:
    """The states of both. Raises `TrackerError` where they are not linked."""
    states = {}
    for name in (visitor, customer):
        found = await store.find(name, partitions)
        if found is None:
            raise TrackerError(f"nothing is known about {name}")
        states[name] = decode_state(found.state)
    linked = states[visitor].links
    if customer not in (*linked, *states[visitor].blocked):
        raise TrackerError(f"{visitor} is not linked to {customer}, but to {', '.join(linked) or 'nobody'}")
    return states


async def _fold(
    consumer: AIOKafkaConsumer,
    topics: Topics,
    partitions: int,
    places: dict[str, int],
    configs: dict[int, Config],
    states: dict[str, State],
    visitor: str,
    customer: str,
    token: str,
) -> dict[int, tuple[Shadow, Shadow]]:
    """By partition: as it was and as it would have been, up to the mark of this run."""
    keep = apart(visitor, [customer, *states[visitor].blocked], customer, [visitor, *states[customer].blocked])
    shadows = {}
    for partition, config in configs.items():
        people = [name.encode() for name, place in places.items() if place == partition]
        last = (customer if customer.encode() in people else visitor).encode()
        was = Shadow(partition, partitions, config, table_of, topics, people)
        would = Shadow(partition, partitions, config, table_of, topics, people, keep)
        async for records in _until(consumer, TopicPartition(topics.events, partition), last, token):
            was.feed(records)
            would.feed(records)
            await asyncio.sleep(0)
        shadows[partition] = was, would
    return shadows


async def _until(
    consumer: AIOKafkaConsumer, partition: TopicPartition, key: bytes, token: str
) -> AsyncIterator[Sequence[Any]]:
    """The records of a partition up to this run's mark for `key`, in batches."""
    consumer.assign([partition])
    await consumer.seek_to_beginning(partition)
    patient_until = time.monotonic() + PATIENCE
    while True:
        records = (await consumer.getmany(partition, timeout_ms=500)).get(partition, ())
        for place, record in enumerate(records):
            if record.key == key and _is_mark(record, token):
                yield records[: place + 1]
                return
        if records:
            patient_until = time.monotonic() + PATIENCE
            yield records
        elif time.monotonic() > patient_until:
            raise TrackerError(
                f"no worker has read the end of {partition.topic}/{partition.partition} for {PATIENCE:.0f} s. The link "
                "will be cut when one does; run this again then, to rebuild what the two are"
            )


def _is_mark(record: Any, token: str) -> bool:
    if control_kind(record.headers) != "unmerge":
        return False
    control = decode_control("unmerge", record.value)
    return isinstance(control, Unmerge) and control.token == token


def _record(topics: Topics, partition: int, to: str, control: Control) -> OutRecord:
    headers = control_headers(control)
    return OutRecord(topics.events, partition, to.encode(), encode_control(control), headers, now())


def run_unmerge(settings: Settings, visitor: str, customer: str, *, accept_loss: bool) -> None:
    """`tracker unmerge`; see `unmerge`."""
    run(unmerge(settings, visitor, customer, accept_loss=accept_loss))
