"""What a campaign writes and for how long: seed, rate, and how event time maps to the wall clock.

Event time runs `speed` times as fast as the wall, so that sessions end and drop-offs fire within minutes. The
tracker never sees that ratio: under TRACKER_CLOCK=event only the markers that the generator writes move time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heappop, heappush

from tests.faults.lives import DISORDER, START, Life, Sending, life

TICK = 0.1
"""Seconds of wall time between two rounds of writing."""
SAMPLE = 400
DAY = 86_400_000


@dataclass(frozen=True)
class Plan:
    """`rate` in events a second of wall time, `minutes` of it; raw topics and the log have `partitions` each."""

    seed: int
    minutes: float
    rate: float = 1000.0
    speed: int = 600
    partitions: int = 4

    @property
    def ticks(self) -> int:
        """Rounds of writing in all."""
        return max(round(self.minutes * 60 / TICK), 1)

    def time_of(self, tick: int) -> int:
        """Event time (ms) that round `tick` reaches."""
        return START + round(tick * TICK * 1000) * self.speed

    @property
    def end(self) -> int:
        """Event time at which writing ends; what would be written later never is."""
        return self.time_of(self.ticks)

    @property
    def last_mark(self) -> int:
        """The final marker: every session is over and every drop-off out."""
        return self.end + DAY

    @cached_property
    def spacing(self) -> float:
        """Event time (ms) between two births that makes `rate`."""
        sample = sum(len(life(self.seed, number, START, self.partitions).sendings) for number in range(SAMPLE)) / SAMPLE
        return sample / self.rate * 1000 * self.speed

    @property
    def people(self) -> int:
        """How many are born before the end."""
        return int((self.end - START) / self.spacing) + 1

    def life(self, number: int) -> Life:
        """The life of one of them."""
        return life(self.seed, number, START + int(number * self.spacing), self.partitions)


@dataclass
class Timeline:
    """The raw records of a plan in the order in which they are written."""

    plan: Plan
    born: int = 0
    _due: list[Sending] = field(default_factory=list)

    def until(self, at: int) -> Iterator[Sending]:
        """What is to be written up to event time `at` and was not yet."""
        plan, due = self.plan, self._due
        while self.born < plan.people and START + int(self.born * plan.spacing) <= at:
            for sending in plan.life(self.born).sendings:
                heappush(due, sending)
            self.born += 1
        while due and due[0].at <= at:
            yield heappop(due)


def mark_after(at: int) -> int:
    """The marker that holds once everything up to event time `at` is written."""
    return at - DISORDER
