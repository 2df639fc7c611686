"""Dead letters: lists them, and sends them once more to where they came from after what was wrong was mended.

What was sent again is remembered as the offset of a consumer group, per reason: `{"*": 40, "bad_ts": 57}` in its
metadata says that all letters before 40, and those with `bad_ts` before 57, were sent. It is written after the
broker has acknowledged them, so a command that is killed sends the last ones twice; `event_id` makes them count once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any, NamedTuple, Protocol

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from tracker.errors import BadEvent, Unavailable
from tracker.stream.ports import OutRecord
from tracker.wire.deadletters import MAX_LETTER_BYTES, DeadLetter, is_hopeless, read_letter
from tracker.wire.sealing import PLAIN, Seal
from tracker.wire.topics import Topics

REPLAYED_HEADER = "tracker-replayed"
"""Header of a record that was sent again; its value is the letter's `partition/offset`."""

CHUNK = 500
FETCH_MS = 5000
SILENCE = 30.0
"""Seconds without an answer after which the broker counts as away."""
_ALL = "*"


class SentAgain(NamedTuple):
    """What a replay did. Left alone: `too_large` (the topic of the letters does not hold them in full), `homeless`
    (the topic or partition they came from is gone), `foreign` (records that are no letters of this tracker),
    `sealed` (no key opens them), `hopeless` (no setting and no mapping lets them pass)."""

    sent: int = 0
    too_large: int = 0
    homeless: int = 0
    foreign: int = 0
    sealed: int = 0
    hopeless: int = 0


class Memory(Protocol):
    """The offset of the group `tracker-dead-letters` in one partition, with its metadata."""

    async def read(self) -> tuple[int, str] | None:
        """(offset, metadata), None where there is none."""

    async def write(self, offset: int, metadata: str) -> None:
        """Replace both."""


class DeadLetters:
    """The dead-letter topic of one tracker. `consumer` makes one without a group, not started; `append` writes
    records and awaits their acknowledgement; `memory` is that of a partition; `partitions` counts a topic's, 0 where
    it does not exist. All calls raise `Unavailable` when the broker is away."""

    def __init__(
        self,
        topics: Topics,
        consumer: Callable[[], AIOKafkaConsumer],
        append: Callable[[Sequence[OutRecord]], Awaitable[None]],
        memory: Callable[[int], Memory],
        partitions: Callable[[str], Awaitable[int]],
        seal: Seal = PLAIN,
    ) -> None:
        self._topic = topics.dead_letters
        self._make_consumer = consumer
        self._append = append
        self._memory = memory
        self._partitions = partitions
        self._seal = seal

    async def newest(self, limit: int, reason: str | None = None) -> list[DeadLetter]:
        """At most `limit` letters, the oldest of them first. Records that are no letters are left out."""
        count = await self._partitions(self._topic)
        found: list[deque[tuple[int, DeadLetter]]] = [deque(maxlen=limit) for _ in range(count)]
        async with self._reading(range(count), {}) as records:
            async for record in records:
                letter = _letter(record, self._seal)
                if letter is not None and reason in (None, letter.reason):
                    found[record.partition].append((record.timestamp, letter))
        written = sorted(chain.from_iterable(found), key=lambda pair: pair[0])
        return [letter for _, letter in written[-limit:]]

    async def replay(self, reason: str | None = None, told: Callable[[int], None] = lambda _: None) -> SentAgain:
        """Send the letters there are now (with this reason) to where they came from, each once however often this is
        called. What is refused again becomes a new letter. `told` hears how many were sent so far."""
        total = SentAgain()
        for partition in range(await self._partitions(self._topic)):
            total = await self._replay(partition, reason, total, told)
        return total

    async def _replay(
        self, partition: int, reason: str | None, total: SentAgain, told: Callable[[int], None]
    ) -> SentAgain:
        memory = self._memory(partition)
        done = _decode_done(await _asked(memory.read()))
        homes: dict[str, int] = {}
        start = max(done.get(_ALL, 0), done.get(reason, 0) if reason is not None else 0)
        chunk: list[OutRecord] = []
        after = start

        async def flush() -> None:
            nonlocal chunk, total
            if chunk:
                await self._append(chunk)
                done[reason or _ALL] = after
                await _asked(memory.write(done.get(_ALL, 0), _encode_done(done).decode()))
                total = total._replace(sent=total.sent + len(chunk))
                chunk = []
                told(total.sent)

        async with self._reading([partition], {partition: start}) as records:
            async for record in records:
                letter = _letter(record, self._seal)
                if letter is None:
                    total = total._replace(foreign=total.foreign + 1)
                elif reason in (None, letter.reason) and record.offset >= done.get(letter.reason, 0):
                    origin = letter.origin
                    if origin.topic not in homes:
                        homes[origin.topic] = await self._partitions(origin.topic)
                    if letter.sealed == "encrypted":
                        total = total._replace(sealed=total.sealed + 1)
                    elif origin.partition >= homes[origin.topic]:
                        total = total._replace(homeless=total.homeless + 1)
                    elif letter.pointer and (letter := await self._completed(letter)).pointer:
                        total = total._replace(too_large=total.too_large + 1)
                    elif is_hopeless(letter):
                        total = total._replace(hopeless=total.hopeless + 1)
                    else:
                        chunk.append(_original(record, letter))
                after = record.offset + 1
                if len(chunk) >= CHUNK:
                    await flush()
            await flush()
        return total

    async def _completed(self, letter: DeadLetter) -> DeadLetter:
        """The letter with its record, read where that lies; as it is where that is no more."""
        if letter.reason == "output_too_large" or letter.size > MAX_LETTER_BYTES:
            return letter  # it never came to be there, or is more than can be sent
        origin = letter.origin
        tp = TopicPartition(origin.topic, origin.partition)
        consumer = self._make_consumer()
        try:
            await consumer.start()
            consumer.assign([tp])
            if not (await consumer.beginning_offsets([tp]))[tp] <= origin.offset:
                return letter
            consumer.seek(tp, origin.offset)
            found = (await consumer.getmany(tp, timeout_ms=FETCH_MS, max_records=1)).get(tp, [])
        except (KafkaError, OSError) as error:
            raise Unavailable(f"{origin.topic}/{origin.partition} could not be read: {error!r}") from error
        finally:
            await consumer.stop()
        if not found or found[0].offset != origin.offset:
            return letter
        record = found[0]
        return letter._replace(key=record.key, value=record.value, headers=list(record.headers), pointer=False)

    @asynccontextmanager
    async def _reading(self, partitions: Sequence[int], starts: dict[int, int]) -> AsyncIterator[AsyncIterator[Any]]:
        """The records that are there now, those of a partition in order, from `starts` or the first there is."""
        consumer = self._make_consumer()
        try:
            await consumer.start()
            tps = [TopicPartition(self._topic, partition) for partition in partitions]
            consumer.assign(tps)
            for tp, first in (await consumer.beginning_offsets(tps)).items():
                consumer.seek(tp, max(first, starts.get(tp.partition, 0)))
            yield _records(consumer, tps)
        except (KafkaError, OSError) as error:
            raise Unavailable(f"topic {self._topic} could not be read: {error!r}") from error
        finally:
            await consumer.stop()


async def _records(consumer: AIOKafkaConsumer, tps: Sequence[TopicPartition]) -> AsyncIterator[Any]:
    ends: dict[TopicPartition, int] = {}
    heard = asyncio.get_running_loop().time()
    while True:
        polled = await consumer.getmany(timeout_ms=200, max_records=CHUNK)
        for tp in tps:
            # Where the partition ended at the first answer: what is refused again meanwhile is not read again.
            if tp not in ends and (end := consumer.highwater(tp)) is not None:
                ends[tp] = end
        for tp, records in polled.items():
            for record in records:
                if record.offset < ends[tp]:
                    yield record
        if len(ends) == len(tps) and all([await consumer.position(tp) >= ends[tp] for tp in tps]):
            return
        now = asyncio.get_running_loop().time()
        if polled:
            heard = now
        elif now - heard > SILENCE:
            raise Unavailable(f"no answer for {SILENCE:.0f} s while reading {tps[0].topic}")


async def _asked(question: Awaitable[Any]) -> Any:
    try:
        return await question
    except (KafkaError, OSError, ValueError) as error:
        raise Unavailable(f"what was sent again is not known: {error!r}") from error


def _letter(record: Any, seal: Seal) -> DeadLetter | None:
    try:
        return read_letter(record.key, record.value, record.headers, seal)
    except BadEvent:
        return None


def _original(record: Any, letter: DeadLetter) -> OutRecord:
    """The letter's original, as it was but for a header that says that it was sent again."""
    origin = letter.origin
    headers = [(name, given) for name, given in letter.headers if name != REPLAYED_HEADER]
    headers.append((REPLAYED_HEADER, b"%d/%d" % (record.partition, record.offset)))
    return OutRecord(origin.topic, origin.partition, letter.key, letter.value, headers, origin.timestamp)


_encode_done = msgspec.json.Encoder().encode
_decode_metadata = msgspec.json.Decoder(dict[str, int])


def _decode_done(found: tuple[int, str] | None) -> dict[str, int]:
    if found is None:
        return {}
    offset, metadata = found
    try:
        return _decode_metadata.decode(metadata)
    except msgspec.DecodeError:
        return {_ALL: offset}  # set by a person, with a tool that knows no metadata
