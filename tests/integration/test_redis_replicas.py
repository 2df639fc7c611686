"""The store on Redis with replicas: what WAIT promises, and what happens at a fail-over."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.faults.proxy import Proxy
from tests.integration.stores import batch, opened
from tests.redis_servers import QUICK, SentinelRedis, ValkeyServer, follow, wait
from tests.services import RedisServer
from tracker.child import free_port
from tracker.errors import PositionRefused, SettingError, Unavailable
from tracker.store.redis import RedisStore
from tracker.wire.position import Position

TOKEN = "token of the owner"
ONE, TWO, THREE = (Position(offset, 1_000) for offset in (10, 20, 30))
STATE = [("c:1", b"1")]


@asynccontextmanager
async def waiting(url: str, replicas: int = 1) -> AsyncIterator[RedisStore]:
    store = RedisStore(url, timeout=1.0, wait_replicas=replicas, wait_timeout=0.2)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def pair() -> Iterator[tuple[RedisServer, RedisServer]]:
    """A master and its replica."""
    with RedisServer(QUICK, aof=True) as master, RedisServer(QUICK, aof=True) as replica:
        follow(replica, master)
        yield master, replica


def address(target: RedisServer) -> Proxy:
    """A fixed address, as an operator puts it in front of a fail-over pair; its `upstream` is where new connections
    get to."""
    return Proxy(free_port(), target.port)


async def test_a_commit_that_waits_is_on_the_replica(pair: tuple[RedisServer, RedisServer]) -> None:
    master, replica = pair
    async with waiting(master.url) as store:
        assert [warning for warning in await store.check() if "replica" in warning] == []
        await store.take(0, TOKEN)
        begin = None
        for offset in range(1, 200):
            end = Position(offset)
            assert await store.commit(0, TOKEN, batch(begin, end, states=[("c:1", b"%d" % offset)]))
            begin = end
        master.kill()
    follow(replica, None)
    async with opened(replica.url) as store:
        row = await store.row(0)
        assert row is not None
        assert row.position == Position(199)
        assert await store.states(0, ["c:1"]) == [b"199"]


async def test_too_few_replicas_are_unavailable_and_no_commit_is_claimed(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    master, replica = pair
    async with waiting(master.url) as store:
        await store.take(0, TOKEN)
        replica.kill()
        commit = batch(None, ONE, states=STATE, counters=[("n", 1)])
        for _ in range(2):  # the second time it is in already, and that is not claimed either
            with pytest.raises(Unavailable, match=r"0 replicas of Redis .*TRACKER_REDIS_WAIT_REPLICAS is 1"):
                await store.commit(0, TOKEN, commit)
        with pytest.raises(Unavailable, match="taking partition 0"):
            await store.take(0, TOKEN)
        assert "0 replicas, TRACKER_REDIS_WAIT_REPLICAS is 1" in (await store.check())[0]

        replica.start()
        follow(replica, master)
        assert await store.commit(0, TOKEN, commit) is False
        assert await store.counters(0) == {"n": 1}
    master.kill()
    with replica.client() as left:
        assert left.hget("{p0}:map", "n") == b"1"


@pytest.mark.parametrize("kind", [RedisServer, ValkeyServer])
async def test_what_is_in_already_is_not_claimed_by_a_connection_that_did_not_write_it(
    kind: type[RedisServer],
) -> None:
    """WAIT waits for what its own connection wrote (Redis 7.2, Valkey): a commit that is sent again over a new one
    must write, too. The replica is frozen: connected, counted, and without the commit."""
    commit = batch(None, ONE, states=STATE)
    with kind(QUICK) as master, kind(QUICK) as replica:
        follow(replica, master)
        assert replica.pid is not None
        os.kill(replica.pid, signal.SIGSTOP)
        try:
            async with opened(master.url) as store:
                await store.take(0, TOKEN)
                await store.commit(0, TOKEN, commit)
            async with waiting(master.url) as store:
                with pytest.raises(Unavailable, match="0 replicas"):
                    await store.commit(0, TOKEN, commit)
        finally:
            os.kill(replica.pid, signal.SIGCONT)
        async with waiting(master.url) as store:
            assert await store.commit(0, TOKEN, commit) is False


async def test_a_master_that_became_a_replica_is_left_for_the_new_one(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    old, new = pair
    async with address(old) as fixed, waiting(f"redis://127.0.0.1:{fixed.port}") as store:
        await store.take(0, TOKEN)
        await store.row(0)
        assert await store.commit(0, TOKEN, batch(None, ONE, states=STATE))
        follow(new, None)
        await asyncio.to_thread(follow, old, new)
        fixed.upstream = new.port
        with pytest.raises(Unavailable, match="READONLY"):
            await store.commit(0, TOKEN, batch(ONE, TWO))
        assert await store.commit(0, TOKEN, batch(ONE, TWO, states=[("c:1", b"2")]))
        assert await store.states(0, ["c:1"]) == [b"2"]
    with new.client() as there:
        assert there.get("{p0}:s:c:1") == b"2"


async def test_what_a_former_master_holds_is_not_read(pair: tuple[RedisServer, RedisServer]) -> None:
    """Two masters, one of them cut off from its Sentinels and still in reach: a state read from the wrong one and
    folded on would be committed to the right one."""
    old, new = pair
    async with address(old) as fixed, opened(f"redis://127.0.0.1:{fixed.port}") as store:
        await store.take(0, TOKEN)
        await store.row(0)
        await store.commit(0, TOKEN, batch(None, ONE, states=STATE, timers=[("c:1", 5)], outbox=b"1"))
        wait(lambda: _position(new) == _position(old), "the replica is in step")
        follow(new, None)
        fixed.upstream = new.port
        # The first call takes the connection to the old master, the others find it taken.
        await asyncio.gather(*(store.counters(0) for _ in range(2)))
        assert await store.commit(0, TOKEN, batch(ONE, TWO, states=[("c:1", b"2")], gone=[]))
        for read in (
            lambda: store.states(0, ["c:1"]),
            lambda: store.due(0, 10, 10),
            lambda: store.outbox(0),
        ):
            answers = await asyncio.gather(*(read() for _ in range(2)), return_exceptions=True)
            refused = [answer for answer in answers if isinstance(answer, PositionRefused)]
            assert len(refused) == 1, answers
            assert b"1" not in answers


def _position(server: RedisServer) -> object:
    with server.client() as store:
        return store.hget("{p0}:r", "position")


async def test_the_master_is_found_by_its_sentinels_before_and_after_a_fail_over() -> None:
    with SentinelRedis() as pair:
        async with opened(pair.url, seconds=1.0) as store:
            assert await store.check() == []
            await store.take(0, TOKEN)
            await store.row(0)
            await store.commit(0, TOKEN, batch(None, ONE, states=STATE))
            wait(lambda: _position(pair.replica) == _position(pair.master), "the replica is in step")
            pair.master.kill()
            with pytest.raises(Unavailable, match=r"journeys .by Sentinel. did not answer"):
                await store.commit(0, TOKEN, batch(ONE, TWO))
            await asyncio.to_thread(wait, lambda: pair.master_port() == pair.replica.port, "the replica is master")
            assert await store.commit(0, TOKEN, batch(ONE, TWO, states=[("c:1", b"2")]))
            assert await store.states(0, ["c:1"]) == [b"2"]
            assert _position(pair.replica) == TWO.encode().encode()

            pair.master.start()  # and its Sentinels make it a replica of the new one
            await asyncio.to_thread(wait, lambda: _position(pair.master) == TWO.encode().encode(), "it follows")
            for sentinel in pair.sentinels[:2]:
                sentinel.stop()
            assert await store.commit(0, TOKEN, batch(TWO, THREE))


async def test_a_master_that_no_sentinel_knows_is_unavailable() -> None:
    with SentinelRedis() as pair:
        async with opened(pair.url.replace("/journeys/", "/others/"), seconds=1.0) as store:
            with pytest.raises(Unavailable, match="No master found for 'others'"):
                await store.check()


async def test_a_password_of_the_master_and_one_of_the_sentinels_are_kept_apart() -> None:
    with RedisServer({"requirepass": "right"}) as server:
        async with opened(f"redis+sentinel://:right@127.0.0.1:{server.port}/journeys") as store:
            # A Redis that is no Sentinel stands for one here: it wants a password, and was not given the master's.
            with pytest.raises(Unavailable, match="No master found for 'journeys' : auth:Auth"):
                await store.check()
        own = f"redis+sentinel://127.0.0.1:{server.port}/journeys?sentinel_password=right"
        async with opened(own) as store:
            with pytest.raises(SettingError, match=r"unknown command 'SENTINEL'.*allowed: servers of the kind"):
                await store.check()
