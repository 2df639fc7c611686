"""Appends control records to the log for whoever has some: one producer, opened when needed, replaced after an
error."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tracker.stream.ports import OutRecord
from tracker.stream.sender import Sender


class Appender:
    """Serialises the calls, since a failed one takes the producer with it."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._open = False
        self._lock = asyncio.Lock()

    async def append(self, records: Sequence[OutRecord]) -> None:
        """Append and wait for the acknowledgements. Raises `Unavailable`; any part may be in the log then."""
        async with self._lock:
            if not self._open:
                await self._sender.open()
            self._open = False
            await self._sender.send(records)
            self._open = True

    async def close(self) -> None:
        """Release the producer; never raises."""
        await self._sender.close()
