"""Repeated log lines: while a broker is away, aiokafka's clients say so over a thousand times a second."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

EVERY = 10.0
"""Seconds within which a message comes once."""
MOST = 1000
"""Messages remembered; aiokafka has a few dozen."""
TALKATIVE = "aiokafka"


class Repeats(logging.Filter):
    """Lets a message of aiokafka through once in ten seconds, whatever it names, and says how often it came
    meanwhile. For a handler: a logger's own filters do not see what its children log."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[tuple[str, str], float] = {}
        self._held: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be written."""
        if not record.name.startswith(TALKATIVE):
            return True
        key = (record.name, str(record.msg))
        now = self._clock()
        if now - self._said.get(key, -EVERY) < EVERY:
            self._held[key] = self._held.get(key, 0) + 1
            return False
        if len(self._said) > MOST:
            self._said.clear()
        self._said[key] = now
        if held := self._held.pop(key, 0):
            record.msg, record.args = f"{record.getMessage()} (and {held} like it before)", ()
        return True


def hold_back_repeats() -> None:
    """Put the filter on every handler there is. Twice is once."""
    for handler in logging.getLogger().handlers:
        if not any(isinstance(known, Repeats) for known in handler.filters):
            handler.addFilter(Repeats())
