"""`tracker recover`: builds what `tracker.stream.recovery` needs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaClient, AIOKafkaConsumer

from tracker.broker.kafka import FAILURES, connected, make_consumer
from tracker.broker.offsets import Offsets, members
from tracker.broker.publisher import make_publisher, position_of
from tracker.errors import Irreconcilable, SettingError, Unavailable
from tracker.settings import Settings
from tracker.stream.reconcile import PAST_END, Accepted
from tracker.stream.recovery import Finding, Recovery, check_offered
from tracker.stream.settling import SETTLED
from tracker.wire.position import Position
from tracker.wire.topics import Topics
from tracker.wiring.parts import (
    check_partitions,
    delivery_of,
    has_outputs,
    log_range,
    run,
    store_of,
    stored_config,
    topic_counts,
    topics_of,
)


class _Broker:
    """See `tracker.stream.recovery.Broker`."""

    def __init__(
        self, topics: Topics, client: AIOKafkaClient, consumer: AIOKafkaConsumer, *, exactly_once: bool
    ) -> None:
        self._topics = topics
        self._client = client
        self._consumer = consumer
        self._exactly_once = exactly_once

    async def published(self, partition: int) -> Position | None:
        topics = self._topics
        group = topics.track_group if self._exactly_once else topics.position_group
        try:
            found = await Offsets(self._client, group, topics.events, partition).read()
        except FAILURES as error:
            raise Unavailable(
                f"the committed position of {topics.events}/{partition} is not known: {error!r}"
            ) from error
        try:
            where = f"{topics.events}/{partition}"
            return None if found is None else position_of(found, group, where, exactly_once=self._exactly_once)
        except Irreconcilable:
            return None

    async def log_range(self, partition: int) -> tuple[int, int | None]:
        return await log_range(self._consumer, self._topics, partition, known_end=self._exactly_once)

    async def has_outputs(self, partition: int) -> bool:
        return await has_outputs(self._consumer, self._topics, partition)


async def recover(settings: Settings, accepted: Accepted | None, partitions: Sequence[int]) -> list[Finding]:
    """Look at partitions of the log (none named: all), and where `accepted` says so go on in spite of what stops them.
    Raises `SettingError` where workers still run or a partition does not exist, `PartitionError`, `Unavailable`."""
    topics, brokers = topics_of(settings), settings.brokers_text
    count = (await topic_counts(settings))[topics.events]
    beyond = [partition for partition in partitions if partition >= count]
    if beyond:
        raise SettingError(f"--partition is {beyond[0]}; allowed: 0 to {count - 1}, the partitions of {topics.events}")
    exactly_once = await delivery_of(settings)
    store = store_of(settings)
    consumer = make_consumer(brokers, topics.track_group, group_id=None)
    try:
        check_partitions(topics.events, await stored_config(store, 0), count)
        async with connected(brokers) as client:
            try:
                await consumer.start()
                alive = await members(client, topics.track_group) if accepted else 0
            except FAILURES as error:
                raise Unavailable(f"brokers {brokers} did not say who runs: {error!r}") from error
            if alive:
                raise SettingError(
                    f"group {topics.track_group} has members ({alive}): a worker that runs, or one killed less "
                    "than ten seconds ago; allowed: none. End all workers of this TRACKER_NAMESPACE first"
                )
            recovery = Recovery(
                topics.events,
                store,
                _Broker(topics, client, consumer, exactly_once=exactly_once),
                lambda partition: make_publisher(brokers, topics, partition, exactly_once=exactly_once),
            )
            wanted = partitions or range(count)
            found = [await recovery.look(partition) for partition in wanted]
            if any(one.stop in PAST_END for one in found):  # as patient as a worker is
                await asyncio.sleep(SETTLED)
                found = [await recovery.look(partition) for partition in wanted]
            if accepted is None:
                return found
            for one in found:
                check_offered(one, accepted)  # all of them, before anything is done
            return [await recovery.accept(one.partition, accepted) if one.stop else one for one in found]
    finally:
        await consumer.stop()
        await store.close()


def run_recover(settings: Settings, accepted: Accepted | None, partitions: Sequence[int]) -> list[Finding]:
    """`tracker recover`; see `recover`."""
    return run(recover(settings, accepted, partitions))
