"""The proxy passes data on unchanged, and breaks it as told: otherwise a campaign would show nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from tests.faults.proxy import Proxy
from tracker.child import free_port


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    under_way: set[asyncio.Task[None] | None] = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way.add(asyncio.current_task())
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with Proxy(free_port(), server.sockets[0].getsockname()[1]) as proxy:
        yield proxy
    await asyncio.gather(*filter(None, under_way))
    server.close()


async def connect(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def test_megabytes_pass_unchanged(proxy: Proxy) -> None:
    reader, writer = await connect(proxy)
    sent = bytes(range(256)) * 40_000

    async def write() -> None:
        writer.write(sent)
        await writer.drain()

    writing = asyncio.create_task(write())
    assert await reader.readexactly(len(sent)) == sent
    await writing
    writer.close()


async def test_a_reset_ends_a_connection_and_the_next_one_works(proxy: Proxy) -> None:
    reader, writer = await connect(proxy)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    assert proxy.reset() == 1
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    reader, writer = await connect(proxy)
    writer.write(b"again")
    assert await reader.readexactly(5) == b"again"
    writer.close()


async def test_what_is_delayed_comes_later_and_in_order(proxy: Proxy) -> None:
    reader, writer = await connect(proxy)
    proxy.delay = 0.1
    begun = time.monotonic()
    for number in range(20):
        writer.write(b"%03d" % number)
        await writer.drain()
        await asyncio.sleep(0.005)
    proxy.delay = 0.0
    writer.write(b"end")
    assert await reader.readexactly(63) == b"".join(b"%03d" % number for number in range(20)) + b"end"
    assert time.monotonic() - begun >= 0.1
    writer.close()


async def test_what_is_stalled_comes_when_it_heals(proxy: Proxy) -> None:
    reader, writer = await connect(proxy)
    proxy.stall(True)
    writer.write(b"held")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await reader.readexactly(4)
    proxy.heal()
    assert await reader.readexactly(4) == b"held"
    writer.close()


async def test_a_cut_network_takes_no_connection(proxy: Proxy) -> None:
    proxy.refusing = True
    reader, writer = await connect(proxy)
    assert await reader.read() == b""
    writer.close()
