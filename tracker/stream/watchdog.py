"""The watchdog: notices a stage that stands still although the broker answers, which ends the worker.

After a broker's restart an aiokafka consumer can hang for good: its fetching or its group membership waits for
something that never comes, and no call says so. A new consumer cannot take the old one's place in the middle of
everything that rests on it, so the process ends, loudly, and whoever runs it starts it again (`--processes`, the
container's restart policy): a crash is something that every stage recovers from.

A broker that is away is no hang. So time counts only while another connection gets an answer, and only in
rounds of this watch: a process that was stopped for an hour has not waited for an hour.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import NamedTuple

from tracker.errors import Unavailable

ROUND = 5.0
"""Seconds between two looks."""
PATIENCE = 12
"""Rounds without progress, the broker answering in each, until what is read from hangs: a minute."""
LONG_PATIENCE = 48
"""The same for what has time-outs of its own, of which the longest must be over by then: four minutes."""
SUSPICIOUS = 2
"""Rounds without progress after which the broker is asked."""
ASK_TIMEOUT = 15.0

log = logging.getLogger(__name__)


class Sign(NamedTuple):
    """A sign of life: `value` has to change within `patience` rounds."""

    value: Hashable
    patience: int = PATIENCE


class Watchdog:
    """Watches what `progress` shows: a name and a sign for everything that has to move. What is not in it at the
    moment need not move. `ask` asks the broker something on a connection of its own; it raises `Unavailable`.
    `alive` hears of every round in which nothing hangs."""

    def __init__(
        self,
        what: str,
        progress: Callable[[], Mapping[str, Sign]],
        ask: Callable[[], Awaitable[object]],
        alive: Callable[[], None] = lambda: None,
        *,
        pause: float = ROUND,
    ) -> None:
        self._what = what
        self._progress = progress
        self._ask = ask
        self._alive = alive
        self._pause = pause
        self._seen: dict[str, Sign] = {}
        self._still: dict[str, int] = {}

    async def run(self) -> None:
        """Watch until cancelled. Raises `Unavailable` when something hangs."""
        self._alive()
        while True:
            await asyncio.sleep(self._pause)
            await self.look()
            self._alive()

    async def look(self) -> None:
        """One round."""
        now = dict(self._progress())
        self._still = {
            name: self._still.get(name, 0) + 1
            for name, sign in now.items()
            if name in self._seen and self._seen[name] == sign
        }
        self._seen = now
        if max(self._still.values(), default=0) < SUSPICIOUS:
            return
        try:
            async with asyncio.timeout(ASK_TIMEOUT):
                await self._ask()
        except (Unavailable, TimeoutError) as error:
            log.debug("%s stands still because the broker is away: %s", self._what, error)
            self._still = {}
            return
        hanging = {name: rounds for name, rounds in self._still.items() if rounds > now[name].patience}
        if hanging:
            seconds = max(hanging.values()) * self._pause
            raise Unavailable(
                f"{self._what} hangs: {', '.join(hanging)} got no further for {seconds:.0f} s, while the broker "
                "answers others. This worker ends, to be started again"
            )
