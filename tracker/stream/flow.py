"""Flow control between raw partitions: what is far behind waits for what is furthest behind.

Advice, not correctness: time waits for the slowest source in any case, but what the others read meanwhile would have to
wait in people's states. The workers share how far their sources in backlog have come; one that is ahead of the slowest
reads slowly until that one has caught up with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from tracker.errors import TrackerError

BACKLOG = 5 * 60_000
"""A source whose mark is so far (ms) behind the clock is in backlog."""
AHEAD = 10 * 60_000
"""So far (ms) one may be ahead of the slowest that is."""
HOLD = 0.05
"""For so many seconds it is held back after each of its batches: long enough for the slowest to have the machine, short
enough that a backlog of few events in much time, where each batch leaps ahead of the others, is read in no time."""
STALE = 30_000
"""What a worker said so long ago (ms) counts no more: it may be gone."""

log = logging.getLogger(__name__)


class Board(Protocol):
    """Where workers leave word for each other."""

    async def exchange(self, mine: Mapping[str, str], gone: Sequence[str]) -> dict[str, str]:
        """Write `mine`, remove `gone`, answer all that is there. Raises `TrackerError` where it cannot be reached."""


class Flow:
    """Knows whose turn it is to read. Marks are in ms of event time, by source."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._slowest: int | None = None
        self._said: set[str] = set()
        self._told = asyncio.Event()

    async def share(self, marks: Mapping[str, int], now: int) -> None:
        """Say how far these sources are at `now` ms, and hear of the others'. Never raises."""
        mine = {source: f"{mark} {now}" for source, mark in marks.items() if now - mark > BACKLOG}
        gone = sorted(self._said - set(mine))
        try:
            heard = await self._board.exchange(mine, gone) if mine or gone else {}
        except TrackerError as error:
            log.debug("how far the sources are could not be shared: %s", error)
            heard = {}
        else:
            self._said = set(mine)
        self._slowest = min((mark for mark, at in map(_parsed, heard.values()) if abs(now - at) < STALE), default=None)
        self._told.set()
        self._told = asyncio.Event()

    def is_ahead(self, mark: int | None, now: int) -> bool:
        """Whether a source with this mark should wait."""
        return mark is not None and self._slowest is not None and now - mark > BACKLOG and mark - self._slowest > AHEAD

    async def wait(self) -> None:
        """Until the next word from the others, or `HOLD`."""
        try:
            async with asyncio.timeout(HOLD):
                await self._told.wait()
        except TimeoutError:
            pass


def _parsed(word: str) -> tuple[int, int]:
    mark, _, at = word.partition(" ")
    return (int(mark), int(at)) if mark.lstrip("-").isdigit() and at.isdigit() else (0, 0)
