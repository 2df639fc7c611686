"""What the store promises, on real Redis and on the embedded one."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from tests.integration.stores import batch, opened
from tests.services import RedisServer
from tracker.errors import Fenced, Irreconcilable, PartitionError, PositionRefused, SettingError, Unavailable
from tracker.store.embedded import embedded_store
from tracker.store.redis import RedisStore
from tracker.store.servers import Master
from tracker.stream.ports import PartitionRow
from tracker.wire.partition import partition_of
from tracker.wire.position import Position

ONE = Position(10, 1_000)
TWO = Position(20, 2_000)
PARTITION = 3
TOKEN = "token of the owner"


@pytest.fixture(params=["redis", "embedded"])
async def store(request: pytest.FixtureRequest, namespace: str) -> AsyncIterator[RedisStore]:
    if request.param == "redis":
        async with opened(request.getfixturevalue("redis_server").url, namespace) as store:
            await store.take(PARTITION, TOKEN)
            yield store
        return
    async with embedded_store() as url, opened(url, namespace) as store:
        await store.take(PARTITION, TOKEN)
        yield store


async def command(redis: Redis, line: str) -> bytes:
    """Send a command that redis-py has no method for, or not for a plain server."""
    answer: bytes = await redis.execute_command(*line.split())  # type: ignore[no-untyped-call]
    return answer


def client(store: RedisStore) -> Redis:
    """The store's own client."""
    servers = store._servers
    assert isinstance(servers, Master)
    return servers.redis


async def everything(store: RedisStore) -> dict[bytes, object]:
    """All keys of the store with their values."""
    redis = client(store)
    found: dict[bytes, object] = {}
    async for key in redis.scan_iter(match=f"{store._prefix}*"):
        kind = await redis.type(key)
        match kind:
            case b"hash":
                found[key] = await redis.hgetall(key)
            case b"zset":
                found[key] = await redis.zrange(key, 0, -1, withscores=True)
            case _:
                found[key] = await redis.get(key)
    return found


async def test_a_partition_starts_empty(store: RedisStore) -> None:
    assert await store.row(PARTITION) is None
    assert await store.states(PARTITION, []) == []
    assert await store.states(PARTITION, ["c:1"]) == [None]
    assert await store.due(PARTITION, 1 << 50, 10) == []
    assert await store.outbox(PARTITION) == []
    assert await store.counters(PARTITION) == {}


async def test_a_commit_writes_all_of_its_parts(store: RedisStore) -> None:
    first = batch(
        None,
        ONE,
        states=[("c:1", b"\x00\xff\r\n"), ("c:2", b""), ("a:é", b"x" * 300)],
        timers=[("c:1", 1_700_000_000_123), ("c:2", 5)],
        counters=[("entered", 2), ("left", -1)],
        outbox=b"out \x00\xff",
        meta=b"\x93\x00meta",
    )
    assert await store.commit(PARTITION, TOKEN, first)
    assert await store.row(PARTITION) == PartitionRow(ONE, b"\x93\x00meta")
    assert await store.states(PARTITION, ["a:é", "c:9", "c:1", "c:2"]) == [b"x" * 300, None, b"\x00\xff\r\n", b""]
    assert await store.due(PARTITION, 1 << 50, 10) == [(5, "c:2"), (1_700_000_000_123, "c:1")]
    assert await store.counters(PARTITION) == {"entered": 2, "left": -1}
    assert await store.outbox(PARTITION) == [(ONE, b"out \x00\xff")]

    second = batch(
        ONE, TWO, gone=["c:2"], timers=[("c:1", None), ("a:é", 7)], counters=[("entered", 1)], trim=[ONE], meta=b"2"
    )
    assert await store.commit(PARTITION, TOKEN, second)
    assert await store.row(PARTITION) == PartitionRow(TWO, b"2")
    assert await store.states(PARTITION, ["c:1", "c:2"]) == [b"\x00\xff\r\n", None]
    assert await store.due(PARTITION, 1 << 50, 10) == [(5, "c:2"), (7, "a:é")]
    assert await store.counters(PARTITION) == {"entered": 3, "left": -1}
    assert await store.outbox(PARTITION) == []


async def test_a_commit_that_is_sent_twice_counts_once(store: RedisStore) -> None:
    commit = batch(None, ONE, states=[("c:1", b"1")], counters=[("entered", 1)], outbox=b"out")
    assert await store.commit(PARTITION, TOKEN, commit) is True
    before = await everything(store)
    assert await store.commit(PARTITION, TOKEN, commit) is False
    assert await everything(store) == before


@pytest.mark.parametrize("begin", [None, Position(10, 999), Position(10, 1_000, 5, "c:1"), Position(9, 1_000)])
async def test_a_commit_that_starts_elsewhere_is_refused_and_changes_nothing(
    store: RedisStore, begin: Position | None
) -> None:
    await store.commit(PARTITION, TOKEN, batch(None, ONE, states=[("c:1", b"1")]))
    before = await everything(store)
    with pytest.raises(PositionRefused, match=r"Redis is at .*10.*1000.* this batch goes from") as refused:
        await store.commit(PARTITION, TOKEN, batch(begin, TWO, states=[("c:1", b"2")], gone=["c:2"], outbox=b"x"))
    assert TWO.encode() in str(refused.value)
    assert await everything(store) == before


async def test_a_first_commit_must_not_claim_an_earlier_one(store: RedisStore) -> None:
    with pytest.raises(PositionRefused, match=r"Redis is at \(none\)"):
        await store.commit(PARTITION, TOKEN, batch(ONE, TWO))
    assert await store.row(PARTITION) is None


async def test_an_owner_whose_token_was_replaced_is_fenced_and_changes_nothing(store: RedisStore) -> None:
    await store.commit(PARTITION, TOKEN, batch(None, ONE))
    await store.take(PARTITION, "token of the next owner")
    before = await everything(store)
    with pytest.raises(Fenced, match="token of the next owner"):
        await store.commit(PARTITION, TOKEN, batch(ONE, TWO, states=[("c:1", b"2")]))
    with pytest.raises(Fenced):  # even where the batch is in already: it is no longer this worker's to say
        await store.commit(PARTITION, TOKEN, batch(None, ONE))
    assert await everything(store) == before
    assert await store.commit(PARTITION, "token of the next owner", batch(ONE, TWO))


async def test_nobody_commits_to_a_partition_that_nobody_took(store: RedisStore) -> None:
    with pytest.raises(Fenced, match=r"\(none\)"):
        await store.commit(PARTITION + 1, TOKEN, batch(None, ONE))


async def test_lists_may_be_longer_than_lua_can_unpack(store: RedisStore) -> None:
    people = [f"c:{number:05d}" for number in range(20_001)]
    positions = [Position(number) for number in range(3_001)]
    await store.commit(
        PARTITION,
        TOKEN,
        batch(
            None,
            ONE,
            states=[(person, person.encode()) for person in people],
            timers=[(person, due) for due, person in enumerate(people)],
            counters=[(f"counter {number}", number) for number in range(3_001)],
        ),
    )
    assert await store.states(PARTITION, people) == [person.encode() for person in people]
    assert await store.due(PARTITION, 1 << 50, 1 << 20) == list(enumerate(people))
    await store.commit(
        PARTITION,
        TOKEN,
        batch(ONE, TWO, gone=people[1:], timers=[(person, None) for person in people[1:]], trim=positions),
    )
    assert await store.states(PARTITION, people) == [b"c:00000", *([None] * 20_000)]
    assert await store.due(PARTITION, 1 << 50, 1 << 20) == [(0, "c:00000")]
    assert (await store.counters(PARTITION))["counter 3000"] == 3_000


async def test_the_last_timer_of_a_person_in_a_batch_counts(store: RedisStore) -> None:
    timers: list[tuple[str, int | None]] = [("c:1", 5), ("c:1", None), ("c:2", None), ("c:2", 6)]
    await store.commit(PARTITION, TOKEN, batch(None, ONE, timers=timers))
    assert await store.due(PARTITION, 10, 10) == [(6, "c:2")]


async def test_timers_come_by_due_time_and_then_by_the_bytes_of_the_person(store: RedisStore) -> None:
    people = ["a:Z", "a:a", "a:ä", "c:1", "c:10", "c:2", "c:😀", "c:ø"]
    timers = [(person, 1_000) for person in reversed(people)]
    await store.commit(PARTITION, TOKEN, batch(None, ONE, timers=[*timers, ("z", 999), ("b", 1_001)]))
    in_order = sorted(people, key=str.encode)
    assert await store.due(PARTITION, 1_000, 100) == [(999, "z"), *((1_000, person) for person in in_order)]
    assert await store.due(PARTITION, 1_000, 4) == [(999, "z"), *((1_000, person) for person in in_order[:3])]


async def test_the_outbox_comes_in_the_order_of_the_log(store: RedisStore) -> None:
    ends = [Position(9, 1), Position(9, 5, 3, "c:1"), Position(9, 5, 20, "c:0"), Position(10, 5), Position(100, 5)]
    for begin, end in zip([None, *ends], ends, strict=False):
        await store.commit(PARTITION, TOKEN, batch(begin, end, outbox=end.encode().encode()))
    assert await store.outbox(PARTITION) == [(end, end.encode().encode()) for end in ends]


async def test_trimming_needs_no_new_position(store: RedisStore) -> None:
    await store.commit(PARTITION, TOKEN, batch(None, ONE, outbox=b"out", meta=b"m"))
    trim = batch(ONE, ONE, trim=[ONE], meta=b"m")
    assert await store.commit(PARTITION, TOKEN, trim)
    assert await store.commit(PARTITION, TOKEN, trim)
    assert await store.outbox(PARTITION) == []
    with pytest.raises(ValueError, match="counters"):
        await store.commit(PARTITION, TOKEN, batch(ONE, ONE, counters=[("entered", 1)]))


async def test_partitions_and_namespaces_do_not_see_each_other(store: RedisStore) -> None:
    await store.take(PARTITION + 1, TOKEN)
    await store.commit(PARTITION, TOKEN, batch(None, ONE, states=[("c:1", b"1")]))
    assert await store.states(PARTITION + 1, ["c:1"]) == [None]
    assert await store.row(PARTITION + 1) is None
    assert {key.startswith(f"{store._prefix}{{p3}}:".encode()) for key in await everything(store)} == {True, False}


async def test_one_person_is_found_with_their_timer(store: RedisStore) -> None:
    partition = partition_of(b"c:42", 6)
    await store.take(partition, TOKEN)
    await store.commit(partition, TOKEN, batch(None, ONE, states=[("c:42", b"state")], timers=[("c:42", 99)]))
    assert await store.find("c:42", 6) == (partition, b"state", 99)
    assert await store.find("c:43", 6) is None


async def test_a_script_that_redis_has_forgotten_is_loaded_again(store: RedisStore) -> None:
    await store.commit(PARTITION, TOKEN, batch(None, ONE))
    await client(store).script_flush()
    assert await store.commit(PARTITION, TOKEN, batch(ONE, TWO))


async def test_a_key_of_another_type_stops_the_partition_before_anything_is_written(store: RedisStore) -> None:
    await store.commit(PARTITION, TOKEN, batch(None, ONE, states=[("c:1", b"1")]))
    await client(store).set(store._key(PARTITION, "map"), "not a hash")
    before = await everything(store)
    with pytest.raises(PartitionError, match="WRONGTYPE"):
        await store.commit(PARTITION, TOKEN, batch(ONE, TWO, states=[("c:1", b"2")], counters=[("entered", 1)]))
    assert await everything(store) == before


async def test_a_position_that_the_tracker_did_not_write_stops_the_partition(store: RedisStore) -> None:
    await client(store).hset(store._key(PARTITION, "r"), "position", "12")
    with pytest.raises(Irreconcilable, match="TRACKER_NAMESPACE"):
        await store.row(PARTITION)


async def test_a_redis_that_evicts_is_refused_and_one_without_aof_is_warned_of() -> None:
    with RedisServer({"maxmemory-policy": "allkeys-lru"}) as server:
        async with opened(server.url) as store:
            with pytest.raises(SettingError, match=r"maxmemory-policy = allkeys-lru.*allowed: noeviction"):
                await store.check()
    with RedisServer(aof=True) as server:
        async with opened(server.url) as store:
            assert await store.check() == []
            await client(store).config_set("appendonly", "no")
            assert "appendonly" in (await store.check())[0]


async def test_a_wrong_password_is_a_setting_and_is_not_shown() -> None:
    with RedisServer({"requirepass": "right"}) as server:
        async with opened(server.url.replace("redis://", "redis://:wrong@")) as store:
            with pytest.raises(SettingError, match="TRACKER_REDIS_URL") as refused:
                await store.check()
            assert "wrong@" not in str(refused.value)
    with pytest.raises(SettingError, match=r"TRACKER_REDIS_URL cannot be used.*allowed: redis://"):
        RedisStore("http://:secret@localhost")


async def test_a_full_redis_is_unavailable_and_takes_the_same_commit_later() -> None:
    with RedisServer() as server:
        async with opened(server.url) as store:
            await store.take(PARTITION, TOKEN)
            await store.commit(PARTITION, TOKEN, batch(None, ONE, states=[("c:1", b"1")]))
            before = await everything(store)
            await client(store).config_set("maxmemory", "1kb")
            commit = batch(ONE, TWO, states=[("c:1", b"2")], gone=["c:2"], counters=[("n", 1)], outbox=b"x")
            with pytest.raises(Unavailable, match="OOM"):
                await store.commit(PARTITION, TOKEN, commit)
            assert await everything(store) == before
            await client(store).config_set("maxmemory", "0")
            assert await store.commit(PARTITION, TOKEN, commit)
            assert await store.counters(PARTITION) == {"n": 1}


async def test_a_replica_is_unavailable_for_commits() -> None:
    with RedisServer() as server:
        async with opened(server.url) as store:
            await store.take(PARTITION, TOKEN)
            await store.commit(PARTITION, TOKEN, batch(None, ONE))
            await command(client(store), "REPLICAOF 127.0.0.1 1")
            with pytest.raises(Unavailable, match="READONLY"):
                await store.commit(PARTITION, TOKEN, batch(ONE, TWO))


async def test_a_redis_that_is_away_is_unavailable_until_it_is_back() -> None:
    with RedisServer(aof=True) as server:
        async with opened(server.url, seconds=0.5) as store:
            await store.take(PARTITION, TOKEN)
            await store.commit(PARTITION, TOKEN, batch(None, ONE, states=[("c:1", b"1")]))
            server.stop()
            with pytest.raises(Unavailable, match=rf"127.0.0.1:{server.port} did not answer.*3 tries"):
                await store.commit(PARTITION, TOKEN, batch(ONE, TWO))
            with pytest.raises(Unavailable):
                await store.states(PARTITION, ["c:1"])
            server.start()
            assert await store.states(PARTITION, ["c:1"]) == [b"1"]
            assert await store.commit(PARTITION, TOKEN, batch(ONE, TWO))


async def test_a_commit_whose_reply_was_lost_is_applied_once() -> None:
    with RedisServer() as server:
        async with opened(server.url, seconds=0.3) as store:
            await store.take(PARTITION, TOKEN)
            await store.commit(PARTITION, TOKEN, batch(None, ONE))
            commit = batch(ONE, TWO, counters=[("n", 1)])
            assert server.pid is not None
            os.kill(server.pid, signal.SIGSTOP)  # takes the commits into its buffers and answers none
            try:
                with pytest.raises(Unavailable):
                    await store.commit(PARTITION, TOKEN, commit)
            finally:
                os.kill(server.pid, signal.SIGCONT)
            assert await store.commit(PARTITION, TOKEN, commit) is False
            assert await store.counters(PARTITION) == {"n": 1}


@pytest.mark.parametrize("owner", [False, True], ids=["a reader's", "the owner's"])
@pytest.mark.parametrize("clustered", [False, True], ids=["one Redis", "a cluster"])
async def test_the_reply_to_a_cancelled_call_meets_no_other_call(owner: bool, clustered: bool) -> None:
    with RedisServer({"cluster-enabled": "yes" if clustered else "no"}) as server:
        if clustered:
            await all_slots(server)
        async with opened(f"redis+cluster://127.0.0.1:{server.port}" if clustered else server.url) as store:
            await store.take(PARTITION, TOKEN)
            await store.commit(PARTITION, TOKEN, batch(None, ONE, states=[("c:1", b"1"), ("c:2", b"2")]))
            if owner:  # from here on a read brings the token and the position along
                await store.row(PARTITION)
            for _ in range(20):
                assert server.pid is not None
                os.kill(server.pid, signal.SIGSTOP)
                try:
                    calls = [asyncio.create_task(store.states(PARTITION, ["c:1"])) for _ in range(3)]
                    await asyncio.sleep(0.005)
                    for call in calls:
                        call.cancel()
                    await asyncio.gather(*calls, return_exceptions=True)
                finally:
                    os.kill(server.pid, signal.SIGCONT)
                assert await store.states(PARTITION, ["c:2"]) == [b"2"]


async def all_slots(server: RedisServer) -> None:
    """Make a cluster of one node."""
    async with Redis.from_url(server.url) as redis:
        await command(redis, "CLUSTER ADDSLOTSRANGE 0 16383")
        async with asyncio.timeout(10):
            while b"cluster_state:ok" not in await command(redis, "CLUSTER INFO"):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.05)


async def test_every_key_of_a_partition_shares_a_slot_of_a_cluster() -> None:
    with RedisServer({"cluster-enabled": "yes"}) as server:
        await all_slots(server)
        async with opened(server.url) as store:
            await store.take(PARTITION, TOKEN)
            commit = batch(None, ONE, states=[("c:1", b"1"), ("c:2", b"2")], timers=[("c:1", 5)], outbox=b"x")
            assert await store.commit(PARTITION, TOKEN, commit._replace(counters=[("n", 1)], gone=["c:9"]))
            assert await store.states(PARTITION, ["c:1", "c:2"]) == [b"1", b"2"]
