"""A worker that lacks a guard, loses an input, or stops or dies at an exact point: `python -m tests.faults.mutant
[--without GUARD] [--lose EVENT_ID] [--at POINT]… worker …` is `tracker worker …` with that patched into this one
process. The product has no switch for any of it.

A point is met once. A process that stops goes on with SIGCONT.
"""

from __future__ import annotations

import argparse
import functools
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha1
from itertools import count
from secrets import token_hex
from typing import Any

from aiokafka import AIOKafkaClient, AIOKafkaProducer

from tracker.broker import publisher as publishing
from tracker.broker.batches import Batch, send
from tracker.broker.kafka import make_consumer
from tracker.broker.offsets import Committed, Offsets
from tracker.broker.publisher import TransactionalPublisher
from tracker.cli import main
from tracker.domain.units import NEVER
from tracker.store import redis as storing
from tracker.store.redis import RedisStore
from tracker.store.script import SCRIPT
from tracker.stream.canonical import Canonical
from tracker.stream.marks import Marks
from tracker.stream.ports import Commit, OutRecord
from tracker.stream.reconcile import Known
from tracker.stream.sources import SourceClock
from tracker.stream.track import TrackPartition
from tracker.wire.position import Position
from tracker.wire.topics import Topics
from tracker.wiring import parts

SESSION_TIMEOUT = 3.0
"""Seconds after which the group gives up a worker that meets a point. The product waits longer; nothing but a test's
patience depends on it."""
PUBLISH_TIMEOUT = 60.0
"""Seconds that a transaction may take: on a busy machine a worker may have to stop for long in one."""


def _patch(owner: Any, name: str, new: object) -> None:
    assert hasattr(owner, name), f"{owner} has no {name} any more"
    setattr(owner, name, new)


def _cut_from_script(guard: str) -> None:
    """The commit script without `guard`, under a sha of its own."""
    assert SCRIPT.count(guard.encode()) == 1, f"commit.lua has changed: {guard!r}"
    script = SCRIPT.replace(guard.encode(), b"")
    _patch(storing, "SCRIPT", script)
    _patch(storing, "SHA", sha1(script, usedforsecurity=False).hexdigest())


# Guards


def _token_check() -> None:
    """A commit is not asked whose it is."""
    _cut_from_script("if stored[1] ~= token then\n  return {'fenced', stored[1] or ''}\nend\n")


def _position_check() -> None:
    """A commit is not asked what it follows. (The client still compares what it reads.)"""
    _cut_from_script("if position ~= begin then\n  return {'position', position}\nend\n")


def _fencing() -> None:
    """Every producer has a transactional id of its own, so none fences another."""
    stable = Topics.transactional_id
    _patch(Topics, "transactional_id", lambda self, partition: f"{stable(self, partition)}-{token_hex(4)}")


def _read_order() -> None:
    """C is read before the producer is initialised."""
    opened = TransactionalPublisher.open

    async def open_after_reading(self: TransactionalPublisher) -> None:
        client = AIOKafkaClient(bootstrap_servers=self._brokers)
        await client.bootstrap()
        try:
            early = await Offsets(client, self._group, self._topics.events, self._partition).read()
        finally:
            await client.close()
        await opened(self)

        async def committed() -> Position | None:
            if early is None:
                return None
            return publishing.position_of(early, self._group, self._where, exactly_once=True)

        _patch(self, "committed", committed)

    _patch(TransactionalPublisher, "open", open_after_reading)


def _outbox_replay() -> None:
    """What the store has and the broker has not stays in the outbox."""

    async def leave(self: TrackPartition, committed: Position | None) -> None:
        pass

    _patch(TrackPartition, "_publish_outbox", leave)


def _suppression() -> None:
    """What is folded again is said again."""
    reconcile = TrackPartition._reconcile

    def say_all(self: TrackPartition, known: Known) -> None:
        reconcile(self, known)

    _patch(TrackPartition, "_reconcile", say_all)


def _waiting_for_sources() -> None:
    """Time is where the sources are that were heard, whichever else there are."""
    own = Marks.own

    def hurry(self: Marks, required: tuple[str, ...], partitions: int) -> tuple[int, int]:
        heard = tuple(source for source in required if self.sources.get(source, NEVER) > NEVER)
        return own(self, heard, partitions)

    _patch(Marks, "own", hurry)


def _awaiting_sends() -> None:
    """Batches are handed over, and nobody asks what became of them."""

    async def send_and_forget(producer: AIOKafkaProducer, batches: Sequence[Batch]) -> list[Awaitable[Any]]:
        await send(producer, batches)
        return []

    _patch(publishing, "send", send_and_forget)


GUARDS: dict[str, Callable[[], None]] = {
    "token-check": _token_check,
    "transactional-fencing": _fencing,
    "read-order": _read_order,
    "position-check": _position_check,
    "outbox-replay": _outbox_replay,
    "suppression": _suppression,
    "waiting-for-sources": _waiting_for_sources,
    "awaiting-every-send": _awaiting_sends,
}


# Points


def _once(what: signal.Signals, turn: int = 1) -> Callable[[], None]:
    """Sends this process a signal when it is called for the `turn`th time, and never again."""
    turns = count(1)

    def act() -> None:
        if next(turns) == turn:
            os.kill(os.getpid(), what)

    return act


def _at_commit(act: Callable[[], None]) -> None:
    commit = RedisStore.commit

    async def interrupted(self: RedisStore, partition: int, token: str, batch: Commit) -> bool:
        if batch.outbox is not None:
            act()
        return await commit(self, partition, token, batch)

    _patch(RedisStore, "commit", interrupted)


def _at_publish(before: Callable[[], None] | None, after: Callable[[], None] | None = None) -> None:
    publish = TransactionalPublisher.publish

    async def interrupted(self: TransactionalPublisher, records: Sequence[OutRecord], position: Position) -> None:
        if records and before is not None:
            before()
        await publish(self, records, position)
        if records and after is not None:
            after()

    _patch(TransactionalPublisher, "publish", interrupted)


def _in_transaction(before: Callable[[], None], after: Callable[[], None]) -> None:
    deliver = TransactionalPublisher._deliver

    async def interrupted(
        self: TransactionalPublisher,
        producer: AIOKafkaProducer,
        batches: Sequence[Batch],
        offset: int,
        metadata: str,
    ) -> None:
        commit = producer.commit_transaction

        async def commit_transaction() -> None:
            before()
            try:
                await commit()
            finally:
                after()

        if batches:
            _patch(producer, "commit_transaction", commit_transaction)
        await deliver(self, producer, batches, offset, metadata)

    _patch(TransactionalPublisher, "_deliver", interrupted)


def _after_reading_c(act: Callable[[], None]) -> None:
    read = Offsets.read

    async def interrupted(self: Offsets) -> Committed | None:
        found = await read(self)
        act()
        return found

    _patch(Offsets, "read", interrupted)


POINTS: dict[str, Callable[[], None]] = {
    "stop-before-commit": lambda: _at_commit(_once(signal.SIGSTOP)),
    "stop-before-second-commit": lambda: _at_commit(_once(signal.SIGSTOP, turn=2)),
    "stop-before-publish": lambda: _at_publish(_once(signal.SIGSTOP)),
    "die-before-publish": lambda: _at_publish(_once(signal.SIGKILL)),
    "die-after-publish": lambda: _at_publish(None, _once(signal.SIGKILL)),
    # Everything is sent, and the transaction not yet committed; dies once that is done, or refused.
    "stop-in-transaction": lambda: _in_transaction(_once(signal.SIGSTOP), _once(signal.SIGKILL)),
    "stop-after-reading-c": lambda: _after_reading_c(_once(signal.SIGSTOP)),
}
"""Where a batch with outputs is, but for the last: when a partition is taken over."""


def _lose(event_id: str) -> None:
    """Ingest reads this event, and no more comes of it."""
    take, lost = Canonical.take, f'"{event_id}"'.encode()

    def take_the_others(
        self: Canonical, records: Sequence[Any], source: SourceClock, now: int
    ) -> tuple[list[OutRecord], int | None]:
        out, marker = take(self, records, source, now)
        return [record for record in out if lost not in (record.value or b"")], marker

    _patch(Canonical, "take", take_the_others)


def run() -> None:
    """Read the command line, patch, become the tracker."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.mutant", description=__doc__)
    parser.add_argument("--without", choices=GUARDS)
    parser.add_argument("--lose", metavar="EVENT_ID")
    parser.add_argument("--at", choices=POINTS, action="append", default=[])
    asked, rest = parser.parse_known_args()
    if asked.without is not None:
        GUARDS[asked.without]()
    if asked.lose is not None:
        _lose(asked.lose)
    _patch(publishing, "PUBLISH_TIMEOUT", PUBLISH_TIMEOUT)
    for point in asked.at:
        POINTS[point]()
    if asked.at:
        impatient: dict[str, Any] = {
            "session_timeout_ms": round(SESSION_TIMEOUT * 1000),
            "heartbeat_interval_ms": 500,
        }
        _patch(parts, "make_consumer", functools.partial(make_consumer, **impatient))
    main(rest, prog_name="tracker")


if __name__ == "__main__":
    run()
