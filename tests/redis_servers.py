"""Redis as production has it: a master with a replica watched by Sentinels, and a cluster of three masters with a
replica each. All of it are real redis-servers on free ports; killed ones start again with their data."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Self

import redis
from redis.cluster import RedisCluster
from redis.crc import key_slot

from tests.services import RedisServer
from tracker.child import Child, free_port
from tracker.store.embedded import server_binary

QUICK = {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1", "repl-timeout": "5"}
MASTER = "journeys"
DOWN_AFTER = 1.0
"""Seconds of silence after which Sentinels and cluster nodes take a master for dead; production has 5 to 30."""
_PATIENCE = 60.0


def wait(met: Callable[[], object], what: str) -> None:
    """Block until something is so, a minute at most; not to be able to connect means not yet."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
            if met():
                return
        assert time.monotonic() < deadline, f"not so in {_PATIENCE:.0f} s: {what}"
        time.sleep(0.02)


def follow(replica: RedisServer, master: RedisServer | None) -> None:
    """Make a replica of a server, and wait until it is in step; None promotes it."""
    with replica.client() as store:
        if master is None:
            store.replicaof("NO", "ONE")
            return
        store.replicaof("127.0.0.1", master.port)
        wait(lambda: store.info("replication")["master_link_status"] == "up", "the replica is in step")
    with master.client() as store:
        # A replica that is in step says so after a second only, and until then WAIT does not count it.
        store.set("in step", "")
        assert store.wait(1, round(_PATIENCE * 1000)), "no replica is in step"
        store.delete("in step")


class ValkeyServer(RedisServer):
    """The embedded store's server (Valkey 9) with the options of a real one: Redis' younger relatives differ."""

    def __init__(self, options: Mapping[str, str] | None = None, *, aof: bool = False) -> None:
        super().__init__(options, aof=aof)
        self._program = str(server_binary())


class Sentinel(RedisServer):
    """One Sentinel that watches `master` under the name MASTER; two must agree that it is dead."""

    name = "sentinel"

    def __init__(self, master: RedisServer) -> None:
        super().__init__()
        self._master = master

    def _make(self, port: int) -> Child:
        config = self.folder / "sentinel.conf"
        if not config.exists():  # it writes down there what it learns
            watched = {
                "monitor": f"{MASTER} 127.0.0.1 {self._master.port} 2",
                "down-after-milliseconds": f"{MASTER} {DOWN_AFTER * 1000:.0f}",
                "failover-timeout": f"{MASTER} 5000",
            }
            lines = [f"port {port}", "bind 127.0.0.1", f"dir {self.folder}"]
            lines += [f"sentinel {name} {value}" for name, value in watched.items()]
            config.write_text("".join(f"{line}\n" for line in lines))
        return Child(
            "Sentinel",
            [self._program, str(config), "--port", str(port), "--sentinel"],
            ready="+monitor master",
            log=self.folder / "server.log",
        )


class SentinelRedis:
    """A master, a replica, and three Sentinels that promote it. `options` are directives of both."""

    def __init__(self, options: Mapping[str, str] | None = None) -> None:
        self.master = RedisServer({**QUICK, **(options or {})}, aof=True)
        self.replica = RedisServer({**QUICK, **(options or {})}, aof=True)
        self.sentinels = [Sentinel(self.master) for _ in range(3)]

    @property
    def url(self) -> str:
        """For TRACKER_REDIS_URL."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)}/{MASTER}/0"

    def client(self, *, decode_responses: bool = False) -> Any:
        """A client of the master of the moment."""
        return redis.Redis(port=self.master_port(), decode_responses=decode_responses)

    def master_port(self) -> int:
        """Whom the first Sentinel takes for the master."""
        with self.sentinels[0].client() as sentinel:
            return int(sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER, once=True)[1])

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.master)
            stack.enter_context(self.replica)
            follow(self.replica, self.master)
            for one in self.sentinels:
                stack.enter_context(one)
            wait(self._ready, "the Sentinels know the replica and each other")
            self._stack = stack.pop_all()
        return self

    def _ready(self) -> bool:
        for one in self.sentinels:
            with one.client(decode_responses=True) as sentinel:
                found = sentinel.execute_command("SENTINEL", "MASTER", MASTER)
            if (int(found["num-slaves"]), int(found["num-other-sentinels"])) != (1, len(self.sentinels) - 1):
                return False
        return True

    def __exit__(self, *_: object) -> None:
        self._stack.close()


class ClusterRedis:
    """Three masters that share the slots, and a replica of each. `options` are directives of all."""

    MASTERS = 3

    def __init__(self, options: Mapping[str, str] | None = None, *, replicas: bool = True) -> None:
        self._replicas = int(replicas)
        own = {
            **QUICK,
            "cluster-enabled": "yes",
            "cluster-node-timeout": f"{DOWN_AFTER * 1000:.0f}",
            "cluster-config-file": "nodes.conf",
            **(options or {}),
        }
        # The port between nodes would else be the other one and 10000, where outgoing connections have theirs.
        self.nodes = [
            RedisServer({**own, "cluster-port": str(free_port())}, aof=True)
            for _ in range(self.MASTERS * (1 + self._replicas))
        ]

    @property
    def url(self) -> str:
        """For TRACKER_REDIS_URL; two nodes are enough to find the others."""
        return f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in self.nodes[:2])}"

    def client(self, *, decode_responses: bool = False) -> Any:
        """A client of all of them."""
        alive = next(node for node in self.nodes if node.alive)
        return RedisCluster(host="127.0.0.1", port=alive.port, decode_responses=decode_responses)

    def owner(self, key: str) -> RedisServer:
        """The master that has a key."""
        with self.client() as store:
            port = store.get_node_from_key(key).port
        return next(node for node in self.nodes if node.port == port)

    def replica_of(self, master: RedisServer) -> RedisServer:
        """The replica of a master."""
        with master.client() as store:
            port = store.info("replication")["slave0"]["port"]
        return next(node for node in self.nodes if node.port == port)

    def masters(self) -> list[RedisServer]:
        """Those that say that they are masters."""
        found = []
        for node in self.nodes:
            if node.alive:
                with node.client() as store:
                    if store.info("replication")["role"] == "master":
                        found.append(node)
        return found

    @contextlib.contextmanager
    def moving(self, key: str, target: RedisServer) -> Iterator[Callable[[int], int]]:
        """The slot of `key` on its way to `target`: calling what this gives moves so many of its keys and says how
        many are left. At the end of the block the rest is moved and all are told."""
        slot = key_slot(key.encode())
        source = self.owner(key)
        assert source is not target
        with source.client() as here, target.client() as there:
            # redis-py wants a cluster's client for these, which would not let us choose the node
            ids = {node: store.execute_command("CLUSTER MYID").decode() for node, store in ((0, here), (1, there))}
            there.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[0])
            here.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[1])

            def move(count: int) -> int:
                keys = here.execute_command("CLUSTER GETKEYSINSLOT", slot, count)
                if keys:
                    here.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
                return int(here.execute_command("CLUSTER COUNTKEYSINSLOT", slot))

            try:
                yield move
            finally:
                while move(500):
                    pass
                for store in (there, here):
                    store.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[1])

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for node in self.nodes:
                stack.enter_context(node)
            hosts = [f"127.0.0.1:{node.port}" for node in self.nodes]
            create = ["redis-cli", "--cluster", "create", *hosts, "--cluster-yes"]
            made = subprocess.run(
                [*create, "--cluster-replicas", str(self._replicas)],
                capture_output=True,
                text=True,
                timeout=_PATIENCE,
                check=False,
            )
            assert made.returncode == 0, made.stdout + made.stderr
            for node in self.nodes:
                wait(partial(self._ready, node, self._replicas), "the cluster is up")
            self._stack = stack.pop_all()
        return self

    def complete(self) -> bool:
        """Whether every node that runs says that all slots are served."""
        return all(self._ready(node, replicas=0) for node in self.nodes if node.alive)

    def _ready(self, node: RedisServer, replicas: int) -> bool:
        with node.client() as store:
            info = store.info("replication")
            if store.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                return False
        return bool(
            info["connected_slaves"] >= replicas if info["role"] == "master" else info["master_link_status"] == "up"
        )

    def __exit__(self, *_: object) -> None:
        self._stack.close()
