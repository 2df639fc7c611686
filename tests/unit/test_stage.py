"""The track stage of a worker tells its partitions of raw partitions that came under it, until each of them knows."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from aiokafka import TopicPartition

from tests.unit.memory import TOPICS, Bench
from tracker.errors import Unavailable
from tracker.health import Health
from tracker.stream.ports import OutRecord
from tracker.stream.stage import TrackStage
from tracker.stream.track import TrackPartition
from tracker.wire.control import Config, decode_control

OLD, NEW = "shop.clicks/0", "shop.clicks/1"


class Worker:
    """Two partitions of one worker, of which `owned` are running. The first `refused` appends to the log fail."""

    def __init__(self) -> None:
        self.refused = 0
        self.said: list[tuple[str, ...]] = []
        self.partitions = [Bench().partition() for _ in range(2)]
        for partition in self.partitions:
            partition._context = partition._context._replace(append=self.append)
        first = self.partitions[0]._context
        self.stage = TrackStage(None, first, lambda _: Bench().publisher, self.sources, Health(), self.sources, batch=1)
        self.owned(*self.partitions)

    def owned(self, *partitions: TrackPartition) -> None:
        owned = self.stage._processor.owned
        owned.clear()
        owned.update({TopicPartition(TOPICS.events, number): one for number, one in enumerate(partitions)})

    async def append(self, records: Sequence[OutRecord]) -> None:
        if self.refused:
            self.refused -= 1
            raise Unavailable("the broker is away")
        for record in records:
            control = decode_control("config", record.value)
            assert isinstance(control, Config)
            self.said.append(control.sources)

    async def sources(self) -> list[str]:
        return [OLD, NEW]


async def test_a_partition_to_whose_log_nothing_could_be_written_hears_of_it_in_the_next_round() -> None:
    worker = Worker()
    worker.refused = 1
    with pytest.raises(Unavailable):
        await worker.stage._take_new_sources()
    for _ in range(3):
        await worker.stage._take_new_sources()
    assert worker.said == [(OLD, NEW)] * 2, "once in each"


async def test_a_partition_that_was_paused_hears_of_it_once_it_runs() -> None:
    worker = Worker()
    running, paused = worker.partitions
    worker.owned(running)
    await worker.stage._take_new_sources()
    assert worker.said == [(OLD, NEW)]
    await paused.assign()
    assert worker.said[1:] == [(OLD,)], "it begins with what it knew"
    worker.owned(running, paused)
    for _ in range(2):
        await worker.stage._take_new_sources()
    assert worker.said[2:] == [(OLD, NEW)]
