from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from tracker.domain.units import NEVER
from tracker.stream.track import Limits, TrackPartition
from tracker.wire.position import Position
from tracker.wire.sealing import PLAIN
from tracker.wire.topics import Topics


def owned(*, wall: bool, watermark: int | None) -> TrackPartition:
    context: Any = SimpleNamespace(
        wall=wall, topics=Topics(), limits=Limits(records=1, deadlines=1, cache=1, record_bytes=1), seal=PLAIN
    )
    publisher: Any = None
    partition = TrackPartition(0, context, publisher)
    fold: Any = None if watermark is None else SimpleNamespace(position=Position(7, watermark))
    partition._fold = fold
    return partition


def test_under_the_wall_clock_track_is_as_far_behind_as_its_watermark() -> None:
    watermark = time.time_ns() // 1_000_000 - 90_000
    assert owned(wall=True, watermark=watermark).behind() == pytest.approx(90, abs=5)


@pytest.mark.parametrize(("wall", "watermark"), [(False, 1_700_000_000_000), (True, NEVER), (True, None)])
def test_a_recordings_time_and_none_yet_say_nothing_about_it(wall: bool, watermark: int | None) -> None:
    assert owned(wall=wall, watermark=watermark).behind() is None
