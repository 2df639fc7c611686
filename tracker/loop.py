"""The event loop: uvloop, whose closed connections fail as asyncio's do.

Where asyncio's transports swallow what is written to a connection that the other side has reset, uvloop's raise
`RuntimeError`. No client expects that of a broken connection: aiokafka's fetching ends for good, and redis-py hands it
on as a mistake of the caller. They all know `ConnectionResetError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import uvloop

Bytes = bytes | bytearray | memoryview


class Loop(uvloop.Loop):
    """uvloop with transports that say `ConnectionResetError` where they are closed."""

    async def create_connection(self, *args: Any, **options: Any) -> tuple[Any, Any]:
        """See `asyncio.loop.create_connection`."""
        transport: Any
        transport, protocol = await super().create_connection(*args, **options)
        return _Transport(transport), protocol

    async def create_unix_connection(self, *args: Any, **options: Any) -> tuple[Any, Any]:
        """See `asyncio.loop.create_unix_connection`."""
        transport: Any
        transport, protocol = await super().create_unix_connection(*args, **options)
        return _Transport(transport), protocol


class _Transport:
    """A transport of uvloop's; all but writing is its own."""

    __slots__ = ("_inner",)

    def __init__(self, inner: asyncio.Transport) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write(self, data: Bytes) -> None:
        """Raises `ConnectionResetError`."""
        try:
            self._inner.write(data)
        except RuntimeError as error:
            raise ConnectionResetError(str(error)) from error

    def writelines(self, data: Iterable[Bytes]) -> None:
        """Raises `ConnectionResetError`."""
        try:
            self._inner.writelines(data)
        except RuntimeError as error:
            raise ConnectionResetError(str(error)) from error


def new_event_loop() -> Loop:
    """The loop for everything that talks to broker and store."""
    return Loop()
