"""Waiting until something is so, where nothing tells."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def until(met: Callable[[], object], what: str, seconds: float = 30.0, *, pause: float = 0.05) -> None:
    """Wait until something is so, looking every `pause` seconds; raises `AssertionError` where it is not in time."""
    begun = time.monotonic()
    while not met():
        assert time.monotonic() - begun < seconds, f"not so in {seconds:.0f} s: {what}"
        await asyncio.sleep(pause)
