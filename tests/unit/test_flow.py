from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from tracker.errors import Unavailable
from tracker.stream.flow import AHEAD, BACKLOG, STALE, Flow

NOW = 1_772_442_000_000
HOUR = 3_600_000


class Board:
    """What workers say, in memory; `away` as Redis may be."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}
        self.away = False

    async def exchange(self, mine: Mapping[str, str], gone: Sequence[str]) -> dict[str, str]:
        if self.away:
            raise Unavailable("Redis is away")
        for source in gone:
            del self.words[source]
        self.words |= mine
        return dict(self.words)


async def test_of_the_sources_in_backlog_those_ahead_of_the_slowest_wait_whichever_workers_they_have() -> None:
    board = Board()
    one, other = Flow(board), Flow(board)
    slowest, ahead, level, live = NOW - HOUR, NOW - HOUR // 2, NOW - HOUR + AHEAD, NOW - BACKLOG
    await one.share({"clicks/0": slowest, "clicks/1": level}, NOW)
    await other.share({"orders/0": ahead, "orders/1": live}, NOW)
    assert other.is_ahead(ahead, NOW)
    assert not any(other.is_ahead(mark, NOW) for mark in (slowest, level, live, None))
    assert set(board.words) == {"clicks/0", "clicks/1", "orders/0"}, "only what is in backlog is spoken of"


async def test_nobody_waits_for_a_source_that_has_caught_up_or_whose_worker_is_gone() -> None:
    board = Board()
    one, other = Flow(board), Flow(board)
    await one.share({"clicks/0": NOW - HOUR}, NOW)
    await other.share({"orders/0": NOW - HOUR // 2}, NOW + STALE)
    assert not other.is_ahead(NOW - HOUR // 2, NOW + STALE), "it has not been heard of for too long"
    await one.share({"clicks/0": NOW - HOUR}, NOW + STALE)
    await other.share({"orders/0": NOW - HOUR // 2}, NOW + STALE)
    assert other.is_ahead(NOW - HOUR // 2, NOW + STALE)
    await one.share({"clicks/0": NOW}, NOW + STALE)
    await other.share({"orders/0": NOW - HOUR // 2}, NOW + STALE)
    assert not other.is_ahead(NOW - HOUR // 2, NOW + STALE)
    assert set(board.words) == {"orders/0"}


async def test_while_the_board_is_away_nobody_waits() -> None:
    board = Board()
    flow = Flow(board)
    await flow.share({"clicks/0": NOW - HOUR, "orders/0": NOW - HOUR // 2}, NOW)
    assert flow.is_ahead(NOW - HOUR // 2, NOW)
    board.away = True
    await flow.share({"clicks/0": NOW - HOUR, "orders/0": NOW - HOUR // 2}, NOW)
    assert not flow.is_ahead(NOW - HOUR // 2, NOW)


async def test_rubbish_on_the_board_makes_nobody_wait() -> None:
    board = Board()
    board.words["clicks/0"] = "soon"
    flow = Flow(board)
    await flow.share({"orders/0": NOW - HOUR}, NOW)
    assert not flow.is_ahead(NOW - HOUR, NOW)
    assert flow.is_ahead(NOW - HOUR + AHEAD + 1, NOW), "what others say still counts"


async def test_who_waits_goes_on_at_the_next_word_and_without_one_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flow = Flow(Board())
    monkeypatch.setattr("tracker.stream.flow.HOLD", 3600.0)
    waiting = asyncio.create_task(flow.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    await flow.share({}, NOW)
    await waiting
    monkeypatch.setattr("tracker.stream.flow.HOLD", 0.001)
    await flow.wait()
