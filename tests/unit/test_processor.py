"""The life of a partition in the processor, with a consumer that the test plays: pausing, giving up, hanging."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import ConsumerStoppedError

from tests.waiting import until
from tracker.errors import Irreconcilable, Unavailable
from tracker.health import Health
from tracker.metrics import Metrics
from tracker.stream import processor as processing
from tracker.stream.ports import Record
from tracker.stream.processor import PartitionProcessor
from tracker.stream.watchdog import LONG_PATIENCE, PATIENCE

ONE, TWO = TopicPartition("log", 0), TopicPartition("log", 1)


class Consumer:
    """Hands out what is put into `records`, as fast as it is asked."""

    def __init__(self) -> None:
        self.records: dict[TopicPartition, list[Any]] = {}
        self.assigned: set[TopicPartition] = set()
        self.paused: set[TopicPartition] = set()
        self.stopped = False

    def pause(self, *partitions: TopicPartition) -> None:
        self.paused.update(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self.paused.difference_update(partitions)

    def assignment(self) -> set[TopicPartition]:
        return self.assigned

    def seek(self, partition: TopicPartition, offset: int) -> None:
        pass

    def highwater(self, partition: TopicPartition) -> None:
        return None

    def last_poll_timestamp(self, partition: TopicPartition) -> int:
        return time.monotonic_ns()

    async def position(self, partition: TopicPartition) -> int:
        return 1

    async def getmany(self, partition: TopicPartition, **_: Any) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(0.001)
        if self.stopped:
            raise ConsumerStoppedError
        return {partition: found} if (found := self.records.pop(partition, [])) else {}


class Stage:
    """A stage whose calls do what the test says."""

    def __init__(self) -> None:
        self.steps = 0
        self.told: list[str] = []
        self.on_assign: Callable[[], Awaitable[None]] = self._nothing
        self.on_handle: Callable[[], Awaitable[None]] = self._nothing

    async def _nothing(self) -> None:
        pass

    async def assign(self) -> int:
        self.told.append("assign")
        await self.on_assign()
        return 0

    async def handle(self, records: Sequence[Record], following: int) -> None:
        self.told.append("handle")
        await self.on_handle()

    async def idle(self) -> None:
        pass

    def leave(self) -> None:
        self.told.append("leave")

    async def release(self) -> None:
        self.told.append("release")

    def behind(self) -> float | None:
        return None


class Bench:
    def __init__(self) -> None:
        self.consumer = Consumer()
        self.stages = {ONE: Stage(), TWO: Stage()}
        self.health = Health(["track"])
        self.processor = PartitionProcessor(
            "track", self.consumer, ["log"], self.stages.__getitem__, Metrics(), self.ask, self.health, batch=10
        )

    async def ask(self) -> None:
        """The broker answers."""

    async def assign(self, *partitions: TopicPartition) -> None:
        self.consumer.assigned = set(partitions)
        await self.processor.on_partitions_assigned(partitions)

    async def revoke(self, partitions: Collection[TopicPartition]) -> float:
        began = time.monotonic()
        self.consumer.assigned -= set(partitions)
        await self.processor.on_partitions_revoked(partitions)
        return time.monotonic() - began

    async def look(self, rounds: int) -> None:
        for _ in range(rounds):
            await self.processor._watchdog.look()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.revoke([ONE, TWO])


@asynccontextmanager
async def budget(monkeypatch: pytest.MonkeyPatch, seconds: float) -> AsyncIterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(processing, "RELEASE_BUDGET", seconds)
        yield


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_batch_under_way_is_finished_before_the_partition_goes(bench: Bench) -> None:
    stage = bench.stages[ONE]
    done = asyncio.Event()

    async def works() -> None:
        await asyncio.sleep(0.1)
        done.set()

    stage.on_handle = works
    await bench.assign(ONE)
    bench.consumer.records[ONE] = [1]
    await until(lambda: "handle" in stage.told, "a batch is handled", pause=0.001)
    await bench.revoke([ONE])
    assert done.is_set()
    assert stage.told == ["assign", "handle", "leave", "release"]


async def test_a_batch_that_takes_longer_than_the_budget_is_dropped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.stages[ONE].on_handle = forever
    await bench.assign(ONE, TWO)
    bench.consumer.records[ONE] = [1]
    await until(lambda: "handle" in bench.stages[ONE].told and TWO in bench.processor.owned, "both run", pause=0.001)
    async with budget(monkeypatch, 0.1):
        assert 0.1 <= await bench.revoke([ONE, TWO]) < 1
    assert bench.stages[ONE].told[-1] == bench.stages[TWO].told[-1] == "release"
    assert not bench.processor.owned


async def test_a_task_that_outlives_its_time_is_not_revived_and_its_successor_waits_for_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, let_go = bench.stages[ONE], asyncio.Event()

    async def stubborn() -> None:
        while not let_go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await let_go.wait()

    stage.on_handle = stubborn
    await bench.assign(ONE)
    bench.consumer.records[ONE] = [1]
    await until(lambda: "handle" in stage.told, "a batch is handled", pause=0.001)
    async with budget(monkeypatch, 0.01):
        await bench.revoke([ONE])
    late = bench.stages[ONE]
    bench.stages[ONE] = Stage()
    await bench.assign(ONE)
    bench.consumer.records[ONE] = [2]
    await asyncio.sleep(0.02)
    assert not bench.stages[ONE].told, "its predecessor is still at work"
    with pytest.raises(Unavailable, match="a batch of log/0 got no further"):
        await bench.look(LONG_PATIENCE + 2)
    let_go.set()
    await until(lambda: "handle" in bench.stages[ONE].told, "the successor takes over", pause=0.001)
    assert late.told == ["assign", "handle", "leave", "release"]
    assert set(bench.processor.owned) == {ONE}
    assert ONE not in bench.consumer.paused


async def test_what_is_paused_goes_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processing, "SLOWEST_RETRY", 60.0)

    async def away() -> None:
        raise Unavailable("Redis is away")

    bench.stages[ONE].on_assign = away
    await bench.assign(ONE)
    await until(lambda: bench.stages[ONE].told.count("release") >= 3, "it was released", pause=0.001)
    assert await bench.revoke([ONE]) < 0.5


async def test_a_partition_that_stops_leaves_the_others_running_and_the_worker_not_ready(bench: Bench) -> None:
    bench.health.opened()

    async def contradicts() -> None:
        raise Irreconcilable("R and C contradict each other")

    bench.stages[ONE].on_handle = contradicts
    await bench.assign(ONE, TWO)
    assert not any(bench.health.ready().values())
    bench.consumer.records[ONE] = [1]
    await until(lambda: bench.health.ready()["track has no stopped partition"], "it runs again", pause=0.001)
    assert set(bench.processor.owned) == {TWO}
    assert ONE in bench.consumer.paused
    await bench.look(3 * PATIENCE)  # it waits for an operator: no hang


async def test_a_worker_is_not_ready_while_its_group_is_being_rebalanced(bench: Bench) -> None:
    bench.health.opened()
    await bench.assign(ONE)
    assert not any(bench.health.ready().values())
    await bench.revoke([ONE])
    assert bench.health.ready()["track joined its group"]
    await bench.look(PATIENCE + 1)
    with pytest.raises(Unavailable, match="joining the group got no further"):
        await bench.look(1)


@pytest.mark.parametrize("where", ["taking over", "a batch of"])
async def test_what_hangs_in_taking_over_or_in_a_batch_ends_the_worker(
    bench: Bench, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = bench.stages[ONE]
    if where == "taking over":
        stage.on_assign = forever
    else:
        stage.on_handle = forever
        bench.consumer.records[ONE] = [1]
    await bench.assign(ONE)
    told = ["assign" if where == "taking over" else "handle"]
    await until(lambda: stage.told[-1:] == told, where, pause=0.001)
    await bench.look(LONG_PATIENCE)
    stage.steps += 1  # something got done after all
    await bench.look(LONG_PATIENCE + 1)
    with pytest.raises(Unavailable, match=rf"the stage track hangs: {where} log/0 got no further"):
        await bench.look(1)
    async with budget(monkeypatch, 0.01):
        await bench.revoke([ONE])


async def test_a_consumer_that_was_stopped_is_no_failure_of_keeping_it_alive(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processing, "KEEP_ALIVE", 0.0)
    alive = asyncio.create_task(bench.processor.keep_alive())
    bench.consumer.stopped = True
    await asyncio.sleep(0.05)
    assert not alive.done()
    alive.cancel()
    await asyncio.gather(alive, return_exceptions=True)
