"""A TCP proxy that can cut, reset, delay or stall what goes through it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Self

HIGH_WATER = 1 << 20
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no seconds: closing sends RST


class Proxy:
    """Listens on `port` of 127.0.0.1 and passes on to `upstream` (port). Use it with `async with`."""

    def __init__(self, port: int, upstream: int) -> None:
        self.port = port
        self.upstream = upstream
        self.delay = 0.0
        """Seconds that data waits, in each direction."""
        self.refusing = False
        """Whether new connections are closed at once."""
        self.stalled = False
        """Whether data is held back while connections stay open, as by a network that drops packets."""
        self._pairs: set[_Pair] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Inner(self), "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._pairs)

    def cut(self, share: float = 1.0, random: Random | None = None) -> int:
        """Close a share of the connections at random; answers how many."""
        return self._each(_Pair.close, share, random)

    def reset(self, share: float = 1.0, random: Random | None = None) -> int:
        """The same by RST, with data under way lost."""
        return self._each(_Pair.reset, share, random)

    def stall(self, stalled: bool) -> None:
        """Hold all data back, or let it go on."""
        self.stalled = stalled
        for pair in self._pairs:
            pair.hold(stalled)

    def heal(self) -> None:
        """Pass everything on again, at once."""
        self.delay = 0.0
        self.refusing = False
        self.stall(False)

    def _each(self, do: Callable[[_Pair], None], share: float, random: Random | None) -> int:
        chosen = [pair for pair in self._pairs if random is None or random.random() < share]
        for pair in chosen:
            do(pair)
        return len(chosen)


class _Pair:
    """A connection from a client and the one upstream."""

    def __init__(self, proxy: Proxy, inner: _Inner) -> None:
        self.proxy = proxy
        self.inner = inner
        self.outer: _Outer | None = None

    def ends(self) -> list[_End]:
        return [end for end in (self.inner, self.outer) if end is not None]

    def close(self) -> None:
        for end in self.ends():
            if end.transport is not None:
                end.transport.close()

    def reset(self) -> None:
        for end in self.ends():
            if end.transport is not None:
                plug: socket.socket = end.transport.get_extra_info("socket")
                with suppress(OSError):
                    plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.transport.abort()

    def hold(self, held: bool) -> None:
        for end in self.ends():
            end.hold(held)


class _End(asyncio.Protocol):
    """One side of a pair: what it receives goes to the other side, as soon as that takes it."""

    def __init__(self, pair: _Pair | None = None) -> None:
        self.pair = pair
        self.transport: asyncio.Transport | None = None
        self._held: list[bytes] = []
        self._full = False

    def other(self) -> _End | None:
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        assert self.pair is not None
        self._held.append(data)
        delay = self.pair.proxy.delay
        if delay:
            # Whatever comes meanwhile goes with it: nothing overtakes, whichever way the delay changes.
            asyncio.get_running_loop().call_later(delay, self.flush)
        else:
            self.flush()

    def flush(self) -> None:
        """Pass on what was received."""
        assert self.pair is not None
        other = self.other()
        if self.pair.proxy.stalled or other is None or other.transport is None or not self._held:
            return
        data, self._held = b"".join(self._held), []
        if not other.transport.is_closing():
            other.transport.write(data)

    def hold(self, held: bool) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        if held:
            self.transport.pause_reading()
        elif not self._full:
            self.transport.resume_reading()
        if not held:
            self.flush()

    def pause_writing(self) -> None:
        other = self.other()
        if other is not None and other.transport is not None and not other.transport.is_closing():
            other._full = True
            other.transport.pause_reading()

    def resume_writing(self) -> None:
        other = self.other()
        if other is not None and other.transport is not None and not other.transport.is_closing():
            other._full = False
            if self.pair is not None and not self.pair.proxy.stalled:
                other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.pair is not None:
            self.pair.proxy._pairs.discard(self.pair)
            other = self.other()
            if other is not None and other.transport is not None:
                other.transport.close()


class _Inner(_End):
    """Towards the client."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(_Pair(proxy, self))
        self._proxy = proxy
        self._connecting: asyncio.Task[None] | None = None

    def other(self) -> _End | None:
        assert self.pair is not None
        return self.pair.outer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.pair is not None
        if self._proxy.refusing:
            transport.close()
            return
        self._proxy._pairs.add(self.pair)
        if self._proxy.stalled:
            self.hold(True)
        self._connecting = asyncio.get_running_loop().create_task(self._connect(self.pair))

    async def _connect(self, pair: _Pair) -> None:
        outer = _Outer(pair)
        try:
            await asyncio.get_running_loop().create_connection(lambda: outer, "127.0.0.1", self._proxy.upstream)
        except OSError:  # the server is away: the client learns it as from the server itself
            assert self.transport is not None
            self.transport.close()
            return
        pair.outer = outer
        if self.transport is None or self.transport.is_closing():
            assert outer.transport is not None
            outer.transport.close()
        elif self._proxy.stalled:
            outer.hold(True)
        else:
            self.flush()


class _Outer(_End):
    """Towards the server."""

    def other(self) -> _End | None:
        assert self.pair is not None
        return self.pair.inner
