"""What a broker says right after a restart, and takes back: believed only once it has said so for a while."""

from __future__ import annotations

import time

SETTLED = 10.0
"""Seconds for which attempt after attempt must see the same until it is believed."""


class Settling:
    """Something that may pass by itself, over the attempts at an assignment."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._before: float | None = None

    def begin(self) -> None:
        """A new attempt: what it does not see again has passed."""
        self._since, self._before = None, self._since

    def lasts(self) -> bool:
        """It is seen; whether it has been for so long that it is believed."""
        moment = time.monotonic()
        self._since = moment if self._before is None else self._before
        return moment - self._since > SETTLED
