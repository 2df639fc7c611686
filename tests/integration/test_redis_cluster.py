"""The tracker on a Redis Cluster: three masters with a replica each, slots that move, and a master that dies."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.disturbance import (
    SMALL_BATCHES,
    Workload,
    assert_undisturbed,
    outcome,
    recovered,
    replaying,
    tracked,
)
from tests.integration.pipeline import Pipeline
from tests.integration.stores import batch, opened
from tests.redis_servers import ClusterRedis, wait
from tests.services import KafkaServer, RedisServer
from tests.waiting import until
from tracker.child import free_port
from tracker.errors import SettingError, Unavailable
from tracker.store.redis import RedisStore
from tracker.wire.position import Position

TOKEN = "token of the owner"
log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterRedis]:
    with ClusterRedis() as cluster:
        yield cluster


def another(cluster: ClusterRedis, master: RedisServer) -> RedisServer:
    return next(node for node in cluster.masters() if node is not master)


async def test_every_call_of_the_store_works_on_a_cluster(cluster: ClusterRedis, namespace: str) -> None:
    async with opened(cluster.url, namespace) as store:
        assert await store.check() == []
        begin = None
        for offset in range(1, 4):
            end = Position(offset, 1_000)
            for partition in range(12):  # they lie on all of the masters
                if begin is None:
                    await store.take(partition, TOKEN)
                    assert await store.row(partition) is None
                states = [(f"c:{number}", b"%d" % offset) for number in range(300)]
                commit = batch(
                    begin, end, states=states, timers=[("c:1", offset)], counters=[("n", 1)], gone=["c:9"], outbox=b"x"
                )
                assert await store.commit(partition, TOKEN, commit) is True
                assert await store.commit(partition, TOKEN, commit) is False
            begin = end
        assert len({cluster.owner(f"{namespace}{{p{partition}}}:r").port for partition in range(12)}) == 3
        for partition in range(12):
            assert await store.states(partition, ["c:1", "c:9", "c:299"]) == [b"3", None, b"3"]
            assert await store.due(partition, 10, 10) == [(3, "c:1")]
            assert await store.counters(partition) == {"n": 3}
            assert [at.offset for at, _ in await store.outbox(partition)] == [1, 2, 3]
        found = await store.find("c:1", 1)
        assert found is not None
        assert (found.state, found.due) == (b"3", 3)


async def test_a_slot_on_its_way_pauses_its_partition_and_nothing_is_split(
    cluster: ClusterRedis, namespace: str
) -> None:
    """While keys are on both nodes, a batch that wrote on one of them would be lost or mixed with the other's."""
    key = f"{namespace}{{p0}}:r"
    people = [f"c:{number}" for number in range(40)]
    one, two, three = (Position(offset, 1_000) for offset in (10, 20, 30))
    async with opened(cluster.url, namespace, seconds=1.0) as store:
        await store.take(0, TOKEN)
        await store.row(0)
        states = [(person, b"1") for person in people]
        first = batch(None, one, states=states, timers=[("c:1", 5)], counters=[("n", 1)], outbox=b"x")
        assert await store.commit(0, TOKEN, first)
        second = batch(one, two, states=[(person, b"2") for person in people], counters=[("n", 1)])
        with cluster.moving(key, another(cluster, cluster.owner(key))) as move:
            assert await store.states(0, people) == [b"1"] * len(people)  # all are still there
            left = 1
            while left:
                with pytest.raises(Unavailable, match=r"keys are on their way.*(Ask|TryAgain)"):
                    await store.commit(0, TOKEN, second)
                left = await asyncio.to_thread(move, 5)
                with pytest.raises(Unavailable, match=r"keys are on their way.*(Ask|TryAgain)"):
                    await store.states(0, people)
            with pytest.raises(Unavailable, match="keys are on their way"):
                await store.commit(0, TOKEN, second)
        assert await store.states(0, people) == [b"1"] * len(people)
        assert await store.commit(0, TOKEN, second)
        assert await store.commit(0, TOKEN, batch(two, three, counters=[("n", 1)]))
        assert await store.states(0, people) == [b"2"] * len(people)
        assert await store.counters(0) == {"n": 3}


async def test_a_commit_in_a_cluster_may_wait_for_the_replica(cluster: ClusterRedis, namespace: str) -> None:
    store = RedisStore(cluster.url, namespace, timeout=1.0, wait_replicas=1, wait_timeout=0.5)
    try:
        assert await store.check() == []
        await store.take(0, TOKEN)
        assert await store.commit(0, TOKEN, batch(None, Position(1)))
        key = f"{namespace}{{p0}}:r"
        with cluster.moving(key, another(cluster, cluster.owner(key))):
            pass
        assert await store.commit(0, TOKEN, batch(Position(1), Position(2)))  # MOVED: the write and its WAIT go along
        with cluster.replica_of(cluster.owner(key)).client() as replica:
            replica.execute_command("READONLY")
            position = replica.hget(key, "position")
        assert position == Position(2).encode().encode()
    finally:
        await store.close()
    store = RedisStore(cluster.url, namespace, timeout=1.0, wait_replicas=2, wait_timeout=0.2)
    try:
        assert sum("1 replicas, TRACKER_REDIS_WAIT_REPLICAS is 2" in warning for warning in await store.check()) == 3
        with pytest.raises(Unavailable, match="1 replicas of Redis"):
            await store.commit(0, TOKEN, batch(Position(2), Position(3)))
    finally:
        await store.close()


async def test_every_node_of_a_cluster_must_keep_what_it_holds(cluster: ClusterRedis) -> None:
    master = cluster.masters()[-1]
    for node in (master, cluster.replica_of(master)):  # a replica may be the next master
        with node.client() as changed:
            changed.config_set("maxmemory-policy", "allkeys-lru")
            try:
                async with opened(cluster.url) as store:
                    with pytest.raises(
                        SettingError, match=rf"127.0.0.1:{node.port} has maxmemory-policy = allkeys-lru"
                    ):
                        await store.check()
            finally:
                changed.config_set("maxmemory-policy", "noeviction")


async def test_a_url_that_names_the_wrong_kind_of_redis_is_a_setting(
    cluster: ClusterRedis, redis_server: RedisServer
) -> None:
    async with opened(cluster.nodes[0].url) as store:
        with pytest.raises(SettingError, match=r"is a node of a cluster; allowed: redis\+cluster://"):
            await store.check()
    async with opened(f"redis+cluster://127.0.0.1:{redis_server.port}") as store:
        with pytest.raises(SettingError, match="is no cluster; allowed: redis://"):
            await store.check()


async def test_a_replay_survives_a_slot_that_moves_and_a_master_that_dies(
    kafka: KafkaServer, namespace: str, tmp_path: Path, workload: Workload
) -> None:
    port = free_port()
    with ClusterRedis() as own:
        pipeline = Pipeline(kafka, own, namespace, tmp_path, TRACKER_METRICS_PORT=str(port), **SMALL_BATCHES)
        await asyncio.to_thread(pipeline.run, "topics")
        key = f"{namespace}{{p1}}:r"
        with pipeline.worker() as worker:
            async with replaying(pipeline, kafka, workload.recording) as replay:
                await replay.reach("journey.transitions", int(0.2 * workload.transitions))
                begun = time.monotonic()
                with own.moving(key, another(own, own.owner(key))) as move:
                    await asyncio.to_thread(move, 20)
                    await until(lambda: tracked(port, "paused") == 1, "the partition of the slot pauses")
                await recovered(port, begun, replay)

                await replay.reach("journey.transitions", int(0.4 * workload.transitions))
                master = own.owner(key)
                replica = own.replica_of(master)
                killed = time.monotonic()
                master.kill()
                await until(lambda: replica in own.masters(), "the replica is master")
                log.info("from fault to another master: %.1f s", time.monotonic() - killed)
                await recovered(port, killed, replay)
                await replay.finish()
                await asyncio.to_thread(master.start)
                await asyncio.to_thread(wait, lambda: master not in own.masters(), "the former master follows")
            assert worker.poll() is None
            assert tracked(port, "stopped") == 0
        found = await outcome(pipeline, own)
        assert_undisturbed(found, workload.expected)
        person = min(found.states)
        assert person in await asyncio.to_thread(pipeline.run, "journey", person)
        await asyncio.to_thread(pipeline.run, "dead-letters", "list")


async def test_a_cluster_without_replicas_is_down_until_the_master_is_back(
    kafka: KafkaServer, namespace: str, tmp_path: Path, workload: Workload
) -> None:
    port = free_port()
    with ClusterRedis(replicas=False) as own:
        pipeline = Pipeline(kafka, own, namespace, tmp_path, TRACKER_METRICS_PORT=str(port), **SMALL_BATCHES)
        await asyncio.to_thread(pipeline.run, "topics")
        with pipeline.worker():
            async with replaying(pipeline, kafka, workload.recording) as replay:
                await replay.reach("journey.transitions", int(0.3 * workload.transitions))
                master = own.owner(f"{namespace}{{p0}}:r")
                master.kill()
                await until(lambda: tracked(port, "paused"), "the partitions that have something to read pause")
                await until(lambda: not own.complete(), "the other masters know that slots are not served")
                async with opened(own.url, namespace) as store:
                    # The others' keys are there, but a cluster without all slots serves none.
                    there = next(p for p in range(12) if own.owner(f"{namespace}{{p{p}}}:r") is not master)
                    with pytest.raises(Unavailable, match="ClusterDown"):
                        await store.counters(there)
                assert replay.running
                started = time.monotonic()
                await asyncio.to_thread(master.start)
                await recovered(port, started, replay)
                await replay.finish()
        assert_undisturbed(await outcome(pipeline, own), workload.expected)
