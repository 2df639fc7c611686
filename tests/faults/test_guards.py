"""Every guard of the protocol guards: after the smallest sequence of faults that makes it matter nothing is wrong with
the guard, and without it the judge names the damage. `mutant` takes the guard out of the workers' own processes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Protocol

import pytest

from tests.faults.guards import Bench
from tests.faults.lives import CLICKS
from tests.faults.verdict import Verdict
from tests.services import KafkaServer, RedisServer
from tracker.domain.units import NEVER

Disturb = Callable[[Bench], Awaitable[None]]


class Compare(Protocol):
    """Disturbs a tracker with the guard and one without it, side by side, since most of it is waiting. The first must
    be none the worse, and have `logged` that the guard was needed, where it says so; the second must have all of
    `damage`."""

    def __call__(
        self, guard: str, disturb: Disturb, *, logged: str | None = None, damage: Collection[str]
    ) -> Awaitable[None]: ...


@pytest.fixture
def compare(kafka: KafkaServer, namespace: str, tmp_path: Path) -> Compare:
    async def run(name: str, guard: str | None, disturb: Disturb, logged: str | None) -> Verdict:
        folder = tmp_path / name
        folder.mkdir()
        with RedisServer(aof=True) as store:
            async with Bench(kafka, store, f"{namespace}{name}.", folder, guard) as bench:
                await disturb(bench)
                verdict = await bench.judge()
                assert guard or logged is None or bench.said(logged)
                return verdict

    async def both(guard: str, disturb: Disturb, *, logged: str | None = None, damage: Collection[str]) -> None:
        async with asyncio.TaskGroup() as group:
            complete = group.create_task(run("with", None, disturb, logged))
            lacking = group.create_task(run("without", guard, disturb, logged))
        assert complete.result().clean, complete.result().violations
        assert set(damage) <= lacking.result().violations.keys(), lacking.result().violations

    return both


async def test_token_check(compare: Compare) -> None:
    """A worker stops with a large batch that is folded and not committed. Another commits and publishes a part of
    that, and dies; then Redis is lost, and with it the positions that differ. So the batch of the first fits again,
    and its outbox holds what was published.

    As long as Redis keeps what it was told, the position check alone refuses every commit of a former owner, and what
    it takes is right, since the states at a position are the same whoever folds them. It takes a Redis that was lost
    or rolled back under a former owner's eyes to tell the two guards apart."""

    async def disturb(bench: Bench) -> None:
        bench.ingest()
        await bench.write()
        await bench.ingested()
        zombie = bench.track("stop-before-commit")
        await bench.stopped(zombie)
        await bench.died(bench.track("die-after-publish", TRACKER_BATCH_RECORDS="100"))
        bench.flush()
        zombie.send(signal.SIGCONT)

    await compare("token-check", disturb, logged="another worker took the partition", damage={"outputs duplicated"})


async def test_transactional_fencing(compare: Compare) -> None:
    """A worker stops after the commit and before it publishes; the next one publishes what is in the outbox; then the
    first goes on. It does not ask Redis any more, so only the broker can refuse it."""

    async def disturb(bench: Bench) -> None:
        bench.ingest()
        zombie = bench.track("stop-before-publish")
        await bench.write()
        await bench.stopped(zombie)
        committed = bench.folded
        bench.track()
        await bench.until(lambda: bench.published.order() >= committed.order(), "the outbox is published")
        zombie.send(signal.SIGCONT)

    await compare(
        "transactional-fencing", disturb, logged="another worker owns the partition", damage={"outputs duplicated"}
    )


async def test_read_order(compare: Compare) -> None:
    """A worker stops right before it commits its transaction; the next one has read C when the first goes on. With
    the producer initialised before, that transaction is already aborted. Otherwise it is committed after C was read,
    and published once more from the outbox."""

    async def disturb(bench: Bench) -> None:
        bench.ingest()
        zombie = bench.track("stop-in-transaction")
        await bench.write()
        await bench.stopped(zombie)
        successor = bench.track("stop-after-reading-c")
        await bench.stopped(successor)
        zombie.send(signal.SIGCONT)
        await bench.died(zombie)
        successor.send(signal.SIGCONT)

    await compare("read-order", disturb, damage={"outputs duplicated"})


async def test_position_check(compare: Compare) -> None:
    """A worker stops before it commits a batch, and meanwhile Redis is rolled back to a snapshot: the token in it is
    still this worker's, but not the position that the batch follows. What was committed in between would be gone for
    good, though the log has it."""

    async def disturb(bench: Bench) -> None:
        bench.ingest()
        former = bench.track()
        await bench.write(0.3)
        await bench.settled()
        await bench.end(former)
        await bench.write(0.7)
        await bench.ingested()
        worker = bench.track("stop-after-reading-c", "stop-before-second-commit", TRACKER_BATCH_RECORDS="200")
        await bench.stopped(worker)
        snapshot = await bench.snapshot()
        worker.send(signal.SIGCONT)
        await bench.stopped(worker)
        await bench.roll_back(snapshot)
        worker.send(signal.SIGCONT)
        await bench.write()

    await compare(
        "position-check",
        disturb,
        logged="this batch goes from",
        damage={"outputs missing", "states missing", "counters differ"},
    )


async def test_outbox_replay(compare: Compare) -> None:
    """kill -9 between commit and publish."""

    async def disturb(bench: Bench) -> None:
        bench.ingest()
        worker = bench.track("die-before-publish")
        await bench.write()
        await bench.died(worker)
        bench.track()

    await compare("outbox-replay", disturb, damage={"outputs missing"})


async def test_suppression(compare: Compare) -> None:
    """Redis loses everything: the log is folded again from its start."""

    async def disturb(bench: Bench) -> None:
        bench.ingest()
        worker = bench.track()
        await bench.write()
        await bench.settled()
        await bench.end(worker)
        bench.flush()
        bench.track()

    await compare("suppression", disturb, logged="nothing is published twice", damage={"outputs duplicated"})


async def test_waiting_for_sources(compare: Compare) -> None:
    """The raw partition of the orders is stuck, that of the clicks is not: nobody who ordered may look gone."""

    async def disturb(bench: Bench) -> None:
        stuck = bench.ingest(CLICKS)
        bench.track()
        await bench.write()
        await bench.ingested(CLICKS)
        if bench.guarded:
            await asyncio.sleep(3)
            assert bench.folded.watermark == NEVER
        else:
            await bench.settled()
        await bench.end(stuck)
        bench.ingest()
        await bench.ingested()

    await compare("waiting-for-sources", disturb, damage={"false drop-offs"})


async def test_awaiting_every_send(compare: Compare) -> None:
    """The broker refuses one batch of a transaction and takes the rest, the position included."""

    async def disturb(bench: Bench) -> None:
        await bench.largest(bench.topics.transitions, 100)
        bench.ingest()
        worker = bench.track()
        await bench.write()
        await bench.until(
            lambda: bench.published.offset > 0 or "could not be published" in worker.log.read_text(),
            "the first batch is refused, or lost",
        )
        await bench.largest(bench.topics.transitions, 1_048_588)

    await compare("awaiting-every-send", disturb, logged="could not be published", damage={"outputs missing"})
