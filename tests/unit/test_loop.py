"""A connection that the other side has reset fails as every client expects it to."""

from __future__ import annotations

import asyncio
import socket
import struct
from pathlib import Path

import pytest
import uvloop

from tracker.loop import new_event_loop


async def write_after_reset() -> None:
    """Writes to a connection that was reset, and closed for it, before anybody read."""
    connected = asyncio.Event()

    def reset(writer: asyncio.StreamWriter) -> None:
        plug: socket.socket = writer.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        connected.set()

    server = await asyncio.start_server(lambda _, writer: reset(writer), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await connected.wait()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await asyncio.sleep(0)
        try:
            for write in (writer.write, lambda data: writer.writelines([data])):
                with pytest.raises(ConnectionResetError):
                    write(b"hello")
        finally:
            writer.close()


async def write_after_close_on_a_socket(path: Path) -> None:
    """The same on a Unix socket, which knows no reset: writing finds it closed, and what is written next too."""
    server = await asyncio.start_unix_server(lambda _, writer: writer.transport.abort(), path)
    async with server:
        reader, writer = await asyncio.open_unix_connection(path)
        assert await reader.read() == b""
        await asyncio.sleep(0)
        writer.write(b"hello")
        await asyncio.sleep(0.01)
        try:
            for write in (writer.write, lambda data: writer.writelines([data])):
                with pytest.raises(ConnectionResetError):
                    write(b"hello")
        finally:
            writer.close()


def test_writing_to_a_reset_connection_is_a_connection_error() -> None:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(write_after_reset())


def test_writing_to_a_closed_unix_socket_is_one_too(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(write_after_close_on_a_socket(tmp_path / "socket"))


def test_uvloop_alone_would_raise_what_no_client_expects() -> None:
    """If this fails, `tracker.loop` is not needed any more."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, pytest.raises(RuntimeError, match="closed"):
        runner.run(write_after_reset())
