"""Whether a worker lives and whether it is ready, with the meanings that Kubernetes gives to these words.

- **live** (`/livez`): fails where only a new start helps: the watchdog of a stage has not had its round for a minute,
  so the process is stuck, or found a hang and cannot even end; or a stage has not begun five minutes after the process
  did. A broker or store that is away is no reason to start anew (a process that starts without them ends).
- **ready** (`/readyz`): broker and store have been opened, every stage has joined its group, and no partition has
  stopped. A partition that is paused while a dependency is away goes on by itself: the worker stays ready.

Stages tell, from the event loop; the HTTP server asks, from its own threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

STALE = 60.0
"""Seconds without a round of a watchdog after which a worker counts as stuck."""
SLOWEST_START = 300.0
"""The same before the first round: connecting and joining have time-outs of their own, and end the process."""

Checks = Mapping[str, str | None]
"""What was checked, with what is wrong, None where all is well."""


class Health:
    """The health of one process that runs `stages`."""

    def __init__(self, stages: Collection[str] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._opened = False
        self._joined = dict.fromkeys(stages, False)
        self._stopped = dict.fromkeys(stages, 0)
        self._rounds: dict[str, float] = {}

    def opened(self) -> None:
        """Broker and store have answered."""
        self._opened = True

    def joined(self, stage: str, joined: bool) -> None:
        """Whether a stage is a member of its group now."""
        self._joined[stage] = joined

    def stopped(self, stage: str, partitions: int) -> None:
        """How many partitions of a stage need an operator."""
        self._stopped[stage] = partitions

    def alive(self, stage: str) -> None:
        """The watchdog of a stage had its round, and nothing hangs."""
        self._rounds[stage] = self._clock()

    def live(self) -> Checks:
        """What only a new start mends."""
        return {f"{stage} moves": self._stuck(stage) for stage in self._joined}

    def _stuck(self, stage: str) -> str | None:
        at = self._rounds.get(stage)
        silent = self._clock() - (self._started if at is None else at)
        if silent < (SLOWEST_START if at is None else STALE):
            return None
        return f"not begun in {silent:.0f} s" if at is None else f"no sign of life for {silent:.0f} s"

    def ready(self) -> Checks:
        """What keeps this worker from doing its share."""
        checks = {"broker and store opened": None if self._opened else "not yet"}
        for stage, joined in list(self._joined.items()):
            checks[f"{stage} joined its group"] = None if joined else "not now"
            stopped = self._stopped.get(stage, 0)
            checks[f"{stage} has no stopped partition"] = f"{stopped} stopped: see the log" if stopped else None
        return checks
