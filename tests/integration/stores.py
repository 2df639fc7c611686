"""A store over a server, and commits by what differs from an empty one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tracker.store.redis import RedisStore
from tracker.stream.ports import Commit
from tracker.wire.position import Position


def batch(
    begin: Position | None,
    end: Position,
    *,
    states: Sequence[tuple[str, bytes]] = (),
    gone: Sequence[str] = (),
    timers: Sequence[tuple[str, int | None]] = (),
    counters: Sequence[tuple[str, int]] = (),
    outbox: bytes | None = None,
    trim: Sequence[Position] = (),
    meta: bytes = b"",
) -> Commit:
    return Commit(begin, end, meta, states, gone, timers, counters, outbox, trim)


@asynccontextmanager
async def opened(url: str, namespace: str = "", *, seconds: float = 5.0) -> AsyncIterator[RedisStore]:
    store = RedisStore(url, namespace, timeout=seconds)
    try:
        yield store
    finally:
        await store.close()
