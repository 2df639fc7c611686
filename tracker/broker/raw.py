"""The raw topics as a replay writes them: events in batches, progress markers to every partition."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tracker.broker.batches import pack, send
from tracker.broker.kafka import FAILURES, discard, make_producer, partitions_of
from tracker.errors import SettingError, Unavailable
from tracker.stream.ports import OutRecord
from tracker.wire.control import Progress, control_headers, encode_control
from tracker.wire.partition import partition_of


class RawWriter:
    """Writes to the raw topics (`topics`: full names, events go to the first). Use it with `async with`.

    `idempotent` is off on a broker that cannot do it (the embedded one): there an event may be written twice,
    which the tracker's deduplication absorbs. Entering raises `Unavailable`, and `SettingError` for a topic that
    does not exist."""

    def __init__(self, brokers: str, topics: Sequence[str], *, idempotent: bool) -> None:
        self._brokers = brokers
        self._topics = topics
        self._producer = make_producer(brokers, idempotent=idempotent)
        self._partitions: dict[str, int] = {}

    async def __aenter__(self) -> RawWriter:
        self._partitions = await partitions_of(self._brokers, *self._topics)
        missing = [topic for topic, count in self._partitions.items() if not count]
        if missing or not self._topics:
            raise SettingError(
                f"TRACKER_RAW_TOPICS: {', '.join(missing) or 'none given'}; a replay needs raw topics that exist on "
                f"{self._brokers}: `tracker topics` creates what is missing"
            )
        try:
            await self._producer.start()
        except FAILURES as error:
            await discard(self._producer)
            raise Unavailable(f"brokers {self._brokers}: no producer for the raw topics: {error!r}") from error
        return self

    async def __aexit__(self, *exc: object) -> None:
        await discard(self._producer)

    async def send(self, records: Sequence[tuple[int, str, bytes]]) -> None:
        """Events as (ts in ms, person id, value), in this order. See `RawLog.send`."""
        topic = self._topics[0]
        count = self._partitions[topic]
        out = []
        for ts, person, value in records:
            key = person.encode()
            out.append(OutRecord(topic, partition_of(key, count), key, value, (), ts))
        await self._write(out)

    async def mark(self, ts: int) -> None:
        """See `RawLog.mark`."""
        progress = Progress(ts)
        value, headers = encode_control(progress), control_headers(progress)
        await self._write(
            [
                OutRecord(topic, partition, None, value, headers, ts)
                for topic, count in self._partitions.items()
                for partition in range(count)
            ]
        )

    async def _write(self, records: Sequence[OutRecord]) -> None:
        try:
            await asyncio.gather(*await send(self._producer, pack(self._producer, records)))
        except FAILURES as error:
            raise Unavailable(
                f"brokers {self._brokers} did not take {len(records)} records for the raw topics: {error!r}"
            ) from error
