"""The partition processor: reads the partitions that the consumer group gives this worker, each at its own pace.

A partition's life is a loop: `assign` (where to read from), then batch after batch into `handle`, until the group
takes it away (`release`). Whatever goes wrong sends the loop back to `assign`, which finds out anew what is true:

- `Unavailable` (broker or store is away), and whatever aiokafka's own calls end with while a broker is away: the
  partition pauses, membership of the group is kept, and it tries again
- `Fenced`, `PositionRefused`: somebody else wrote; it tries again as long as the group says it is ours
- anything else: the partition stops, loudly; the others go on

Where something hangs instead, as aiokafka can after a broker's restart, the `Watchdog` ends the worker.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from tracker.errors import Fenced, Irreconcilable, PositionRefused, TrackerError, Unavailable
from tracker.health import Health
from tracker.metrics import Metrics, Stage
from tracker.stream.ports import Record
from tracker.stream.watchdog import LONG_PATIENCE, Sign, Watchdog

T = TypeVar("T")

log = logging.getLogger(__name__)

POLL_MS = 100
RELEASE_BUDGET = 10.0
"""Seconds that a batch under way may take when its partition is taken away."""
SLOWEST_RETRY = 5.0
HEARTBEAT = 4.0
"""Seconds within which a member of the group has heard from its coordinator."""
KEEP_ALIVE = 5.0
"""Seconds between two polls while every partition is paused: a member that does not poll is thrown out."""
NOTE_EVERY = 1.0
"""Seconds between two reports of how far a partition is behind, while there is nothing to read."""
NOWHERE = TopicPartition("-", 0)
PAUSES = (Unavailable, Fenced, PositionRefused, KafkaError, OSError, TimeoutError, AssertionError)
"""What passes by itself. The last four are what aiokafka's calls end with, depending on the moment."""


class PartitionStage(Protocol):
    """What a stage does with one partition. All calls come from one task, one after the other. `steps` goes up with
    everything that a call to `assign` or `handle` gets done, so that a long one can be told from one that hangs."""

    steps: int

    async def assign(self) -> int:
        """Take the partition over; answers the offset to read from. May block on broker and store."""

    async def handle(self, records: Sequence[Record], following: int) -> None:
        """Do a batch, all of it; `following` is the position after its last record."""

    def leave(self) -> None:
        """The partition is about to be taken away: a batch under way ends as soon as it can, done in part where that
        is possible. `release` follows."""

    async def idle(self) -> None:
        """There was nothing to read for a moment."""

    async def release(self) -> None:
        """The partition is not ours any more, or is about to be assigned again. Never raises."""

    def behind(self) -> float | None:
        """How many seconds of event time it is behind, None where its records' own times say it."""


class PartitionProcessor(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Runs a `PartitionStage` for each assigned partition of `topics`."""

    def __init__(
        self,
        stage: Stage,
        consumer: AIOKafkaConsumer,
        topics: Sequence[str],
        make: Callable[[TopicPartition], PartitionStage],
        metrics: Metrics,
        ask: Callable[[], Awaitable[object]],
        health: Health,
        *,
        batch: int,
    ) -> None:
        """`batch` is the most records that `handle` gets at once; `ask` asks the broker something on another
        connection and raises `Unavailable`."""
        self._stage = stage
        self._consumer = consumer
        self._topics = topics
        self._make = make
        self._metrics = metrics
        self._batch = batch
        self._tasks: dict[TopicPartition, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        """Tasks whose partition was taken away, until they end."""
        self._late: dict[TopicPartition, asyncio.Task[None]] = {}
        """Of these, those that outlived their time: the partition's next task waits for them."""
        self._states: dict[TopicPartition, str] = {}
        self._rounds: defaultdict[TopicPartition, int] = defaultdict(int)
        self._noted: dict[TopicPartition, float] = {}
        self._working: dict[TopicPartition, tuple[str, int, PartitionStage]] = {}
        self._waiting: set[asyncio.Task[None]] = set()
        """Tasks of partitions that wait for records, or until they try again."""
        self._joining = True
        self._stopping = False
        self._health = health
        self._watchdog = Watchdog(f"the stage {stage}", self._progress, ask, lambda: health.alive(stage))
        self.owned: dict[TopicPartition, PartitionStage] = {}
        """The partitions that are running, for whoever wants to know how far they are."""

    async def start(self) -> None:
        """Join the group. Raises `Unavailable` when no broker answers."""
        self._consumer.subscribe(topics=list(self._topics), listener=self)
        try:
            await self._consumer.start()
        except (KafkaError, OSError) as error:
            raise Unavailable(f"no broker answers the {self._stage} stage: {error!r}") from error

    async def stop(self) -> None:
        """Finish the batches under way, give the partitions up and leave the group."""
        self._stopping = True
        await self._release(list(self._tasks))
        await self._consumer.stop()

    async def keep_alive(self) -> None:
        """Poll in the name of partitions that are paused, and watch the others; runs until cancelled. Raises
        `Unavailable` when the consumer hangs."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watchdog.run())
            group.create_task(self._poll_nowhere())

    async def _poll_nowhere(self) -> None:
        while True:
            await asyncio.sleep(KEEP_ALIVE)
            try:
                await self._consumer.getmany(NOWHERE, timeout_ms=0)
            except ConsumerStoppedError:
                return  # the worker ends
            except (KafkaError, OSError, TimeoutError, AssertionError):
                pass

    def _progress(self) -> Mapping[str, Sign]:
        """What has to move: joining the group has to end; a partition that is read from gets answers, be they empty,
        all the time; one that is taken over, or busy with a batch, gets its steps done. One that waits before it tries
        again need not move."""
        if self._joining:
            return {"joining the group": Sign(None)}
        consumer, assigned = self._consumer, self._consumer.assignment()
        signs = {
            f"reading {partition.topic}/{partition.partition}": Sign(
                (consumer.last_poll_timestamp(partition), self._rounds[partition])
            )
            for partition in self.owned
            if partition in assigned and partition not in self._working
        }
        for partition, (what, attempt, handler) in self._working.items():
            signs[f"{what} {partition.topic}/{partition.partition}"] = Sign((attempt, handler.steps), LONG_PATIENCE)
        return signs

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """aiokafka calls this within the rebalance and swallows what it raises: only start tasks here."""
        self._join(True)
        self._consumer.pause(*assigned)
        if self._stopping:
            return  # a rebalance that was under way; the next owner is a rebalance away
        for partition in assigned:
            name = f"{self._stage} {partition}"
            self._tasks[partition] = asyncio.create_task(self._run(partition), name=name)

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Finish what is under way before another worker begins."""
        self._join(False)
        await self._release(revoked)

    def _join(self, joined: bool) -> None:
        self._joining = not joined
        self._health.joined(self._stage, joined)

    async def _release(self, partitions: Collection[TopicPartition]) -> None:
        going = {partition: self._tasks.pop(partition) for partition in partitions if partition in self._tasks}
        tasks = list(going.values())
        if not tasks:
            return
        for task in tasks:
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
            if task in self._waiting:
                task.cancel()  # there is nothing to finish
        for partition in partitions:
            if (working := self._working.get(partition)) is not None:
                working[2].leave()
        _, late = await asyncio.wait(tasks, timeout=RELEASE_BUDGET)
        for task in late:
            log.warning("%s did not finish its batch in %.0f s: dropped", task.get_name(), RELEASE_BUDGET)
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=RELEASE_BUDGET)
            self._late |= {partition: task for partition, task in going.items() if task in late and not task.done()}
        for partition in partitions:
            for known in (self._states, self._rounds, self._noted):
                known.pop(partition, None)
            self._metrics.forget(self._stage, partition.topic, partition.partition)
        self._report()

    async def _run(self, partition: TopicPartition) -> None:
        predecessor = self._late.get(partition)
        if predecessor is not None:  # what it still holds of this partition is its own; the watchdog ends a long wait
            await self._wait(asyncio.wait({predecessor}))
            self._late.pop(partition, None)
        handler = self._make(partition)
        attempt = 0
        offset = refused = -1
        try:
            while not self._left():
                try:
                    self._working[partition] = ("taking over", attempt, handler)
                    offset = await handler.assign()
                    self._working.pop(partition, None)
                    self._consumer.seek(partition, offset)
                    self._consumer.resume(partition)
                    self.owned[partition] = handler
                    self._note(partition, "running")
                    log.info("%s: %s/%d from offset %d", self._stage, *partition, offset)
                    attempt = 0
                    await self._read(partition, handler)
                except PAUSES as error:
                    if isinstance(error, OffsetOutOfRangeError):
                        if offset == refused:  # asked for again: it will not come back
                            raise Irreconcilable(_cut_off(partition, offset)) from error
                        refused = offset
                    attempt += 1
                    self._working.pop(partition, None)
                    self._pause(partition, "paused")
                    level = logging.WARNING if attempt in {1, 10, 100} or attempt % 1000 == 0 else logging.DEBUG
                    log.log(level, "%s: %s/%d pauses (attempt %d): %s", self._stage, *partition, attempt, _text(error))
                    await handler.release()
                    # Fenced while the group still says it is ours: the next heartbeat shows who is right.
                    least = HEARTBEAT if isinstance(error, Fenced) else 0.0
                    await self._wait(asyncio.sleep(max(least, min(0.1 * 2 ** min(attempt, 10), SLOWEST_RETRY))))
        except Exception:
            self._pause(partition, "stopped")
            log.exception("%s: %s/%d has stopped; its events wait in the log", self._stage, *partition)
        finally:
            self._working.pop(partition, None)
            self.owned.pop(partition, None)
            await handler.release()

    def _left(self) -> bool:
        """Whether the partition of this task was taken away."""
        return asyncio.current_task() in self._leaving

    async def _wait(self, waiting: Awaitable[T]) -> T:
        """Wait for what leaves nothing to finish, so that `_release` may break it off."""
        task = asyncio.current_task()
        assert task is not None
        self._waiting.add(task)
        try:
            return await waiting
        finally:
            self._waiting.discard(task)

    async def _read(self, partition: TopicPartition, handler: PartitionStage) -> None:
        consumer = self._consumer
        while not self._left():
            try:
                # aiokafka's poll may wait for the next assignment, and the rebalance for the poll.
                polled = await self._wait(consumer.getmany(partition, timeout_ms=POLL_MS, max_records=self._batch))
            except NoOffsetForPartitionError:
                continue  # left over from before the seek
            records = polled.get(partition)
            if records:
                self._rounds[partition] += 1
                self._working[partition] = ("a batch of", self._rounds[partition], handler)
                await handler.handle(records, await consumer.position(partition))
                self._working.pop(partition, None)
            else:
                await handler.idle()
            await self._note_lag(partition, handler, records)

    async def _note_lag(self, partition: TopicPartition, handler: PartitionStage, records: Sequence[Record]) -> None:
        now = time.monotonic()
        if not records and now - self._noted.get(partition, 0.0) < NOTE_EVERY:
            return
        end = self._consumer.highwater(partition)
        if end is None:
            return
        self._noted[partition] = now
        behind = max(end - await self._consumer.position(partition), 0)
        seconds = handler.behind()
        if seconds is None:
            if not records and behind:
                return  # the last record's time is what was noted when it was read
            seconds = max(time.time() - records[-1].timestamp / 1000, 0.0) if behind else 0.0
        self._metrics.lag(self._stage, partition.topic, partition.partition, behind, seconds)

    def _pause(self, partition: TopicPartition, state: str) -> None:
        self.owned.pop(partition, None)
        if self._left():
            return  # whether the partition is read from, and how it is, is its next task's to say
        if partition in self._consumer.assignment():
            self._consumer.pause(partition)
        self._note(partition, state)

    def _note(self, partition: TopicPartition, state: str) -> None:
        self._states[partition] = state
        self._report()

    def _report(self) -> None:
        states = list(self._states.values())
        self._metrics.partitions(self._stage, {state: states.count(state) for state in set(states)})
        self._health.stopped(self._stage, states.count("stopped"))


def _text(error: BaseException) -> str:
    return str(error) if isinstance(error, TrackerError) else repr(error)


def _cut_off(partition: TopicPartition, offset: int) -> str:
    return (
        f"{partition.topic}/{partition.partition} has no offset {offset}: the topic was cut off or made anew. Ways "
        "out: bring it back, or begin anew under another TRACKER_NAMESPACE"
    )
