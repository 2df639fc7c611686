"""The servers that hold the keys: one Redis, the master that Sentinels name, or the masters of a Redis Cluster.

What they have in common is that a call is one or more commands about one partition's keys, which go to one server
over one connection.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import hiredis
from redis.asyncio import BlockingConnectionPool, Connection, ConnectionPool, Redis
from redis.asyncio.cluster import ClusterNode, PipelineCommand, RedisCluster
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelManagedConnection
from redis.backoff import ExponentialBackoff
from redis.exceptions import ClusterDownError, MovedError, RedisClusterException, RedisError, ResponseError
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import TimeoutError as TimedOut

from tracker.redisurl import RedisUrl

TRIES = 3
"""How often a call is sent before it counts as lost."""
CONNECTIONS = 16
"""A partition has one call under way, so few connections do; waiting for one beats an error."""

Command = tuple[Any, ...]
"""Its name and arguments."""


class Asked(NamedTuple):
    """What INFO says of one server."""

    address: str
    master: bool
    info: dict[str, Any]


class Servers(ABC):
    """`address` names them in messages; `clustered` says that they form a cluster."""

    address: str
    clustered = False

    @abstractmethod
    async def run(self, key: str, *commands: Command) -> list[Any]:
        """The commands' replies, in their order, from the server that has `key`; all went over one connection.
        An error reply is raised once all replies are in. A call that is lost is sent again, as a whole."""

    @abstractmethod
    async def ask(self) -> list[Asked]:
        """INFO of every server: masters must answer, replicas may be away."""

    @abstractmethod
    async def close(self) -> None:
        """Close every connection."""


def connect(url: RedisUrl, timeout: float) -> Servers:
    """Servers at `url`, not yet asked anything; `timeout` in seconds bounds connecting, each try of a call, and
    waiting for a free connection. Raises `ValueError` for parameters that redis-py does not know."""
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "socket_keepalive": True,
        # A proxy may have dropped an idle connection: ask before a large batch goes into the void.
        "health_check_interval": 30,
        "retry": Retry(_BACKOFF, TRIES - 1),
        "protocol": 2,  # nothing here needs what RESP3 adds to every handshake
        "client_name": "tracker",
    }
    if url.kind == "sentinel":
        return _behind_sentinels(url, options)
    if url.kind == "cluster":
        return Cluster(url, options)
    pool = BlockingConnectionPool.from_url(
        url.plain, connection_class=_Packing, max_connections=CONNECTIONS, timeout=timeout, **options
    )
    at = pool.connection_kwargs
    return Master(pool, str(at.get("path") or f"{at.get('host', 'localhost')}:{at.get('port', 6379)}"))


_BACKOFF = ExponentialBackoff(cap=0.5, base=0.05)


class _Packing(Connection):
    """Packs a command of many arguments (reading states) in C: 0.5 µs a state where redis-py's own packing makes
    it 1.1. Few large ones stay with redis-py, which does not copy them. TLS, sockets and clusters keep redis-py's
    packing."""

    def pack_command(self, *args: Any) -> list[bytes]:
        if len(args) < 100:
            return super().pack_command(*args)
        return [hiredis.pack_command(args)]


class _SentinelPacking(_Packing, SentinelManagedConnection):
    """The same, to the master of the moment."""


class Master(Servers):
    """One server, or whichever one is master now."""

    def __init__(self, pool: ConnectionPool, address: str, sentinel: Sentinel | None = None) -> None:
        self.address = address
        self.redis = Redis(connection_pool=pool)
        self._sentinel = sentinel
        # A Sentinel's pool raises where all connections are in use; the plain one waits by itself.
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def run(self, key: str, *commands: Command) -> list[Any]:  # noqa: ARG002 - all keys are there
        try:
            async with self._free:
                if len(commands) == 1:
                    return [await self.redis.execute_command(*commands[0])]  # type: ignore[no-untyped-call]
                pipeline = self.redis.pipeline(transaction=False)
                for command in commands:
                    pipeline.execute_command(*command)
                # Not raise_on_error: its message would quote the command, states included.
                return _raise_error(await pipeline.execute(raise_on_error=False))
        except ResponseError as error:
            if "READONLY" in f"{error.status_code} {error}":
                # A master that became a replica keeps its connections: the next ones shall find the new master.
                await self.redis.connection_pool.disconnect(inuse_connections=False)
            raise

    async def ask(self) -> list[Asked]:
        return [Asked(self.address, True, (await self.run("", ("INFO",)))[0])]

    async def close(self) -> None:
        await self.redis.aclose(close_connection_pool=True)
        if self._sentinel is not None:
            await self._sentinel.aclose()


def _behind_sentinels(url: RedisUrl, options: dict[str, Any]) -> Master:
    """The master that Sentinels name. They have passwords of their own: `?sentinel_username=&sentinel_password=`;
    TLS parameters count for both."""
    given = {name: value for name, value in _given(url).items() if name not in {"host", "port"}}
    own = {name: given.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    for_both = {name: value for name, value in given.items() if name.startswith("ssl")}
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        url.servers, sentinel_kwargs={**options, **for_both, **own}
    )
    if "ssl" not in given:
        given["connection_class"] = _SentinelPacking
    client = sentinel.master_for(url.service, **{**options, **given})
    return Master(client.connection_pool, f"{url.service} (by Sentinel)", sentinel)


class Cluster(Servers):
    """The masters of a Redis Cluster.

    redis-py knows who has which slot; sending is done here, because its own pipeline sends commands that were
    redirected one by one, where a WAIT must follow its write on the same connection. A slot on its way to another
    node (ASK, TRYAGAIN) is not followed: a batch needs all keys of its partition in one place."""

    clustered = True

    def __init__(self, url: RedisUrl, options: dict[str, Any]) -> None:
        self.address = ", ".join(f"{host}:{port}" for host, port in url.servers) + " (cluster)"
        given = {name: value for name, value in _given(url).items() if name not in {"host", "port", "db"}}
        nodes = [ClusterNode(host, port) for host, port in url.servers]
        self._cluster = RedisCluster(
            startup_nodes=nodes,
            require_full_coverage=False,  # a partition whose slot is served goes on
            max_connections=CONNECTIONS,
            **{**options, **given},
        )
        self._nodes = self._cluster.nodes_manager
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def run(self, key: str, *commands: Command) -> list[Any]:
        async with self._free:
            for failed in range(1, TRIES):
                try:
                    return await self._send(key, commands)
                except MovedError as moved:
                    await self._nodes.initialize()
                    if moved.slot_id in self._nodes.slots_cache:  # whom we asked may not have heard of it yet
                        await self._nodes.move_slot(moved)
                except (NotConnected, TimedOut, OSError, ClusterDownError, RedisClusterException):
                    await asyncio.sleep(_BACKOFF.compute(failed))
                    await self._nodes.initialize()
            return await self._send(key, commands)

    async def _send(self, key: str, commands: tuple[Command, ...]) -> list[Any]:
        if not self._nodes.slots_cache:
            await self._nodes.initialize()
        node = self._cluster.get_node_from_key(key)
        assert node is not None  # it raises where a slot is not covered
        batch = [PipelineCommand(number, *command) for number, command in enumerate(commands)]
        try:
            await node.execute_pipeline(batch)
            return _raise_error([command.result for command in batch])
        except (NotConnected, TimedOut, OSError):
            await node.disconnect_free_connections()
            self._nodes.move_node_to_end_of_cached_nodes(node.name)
            raise

    async def ask(self) -> list[Asked]:
        try:
            await self._nodes.initialize()
        except RedisClusterException:
            # Is it a Redis without cluster mode?
            answers = [await self._info(node) for node in self._nodes.startup_nodes.values()]
            found = [answer for answer in answers if answer is not None]
            if found:
                return found
            raise
        found = []
        for node in list(self._nodes.nodes_cache.values()):
            answer = await self._info(node)
            if answer is not None:
                found.append(answer)
            elif node.server_type == "primary":
                raise NotConnected(f"{node.name}, a master of the cluster, is away")
        return found

    async def _info(self, node: ClusterNode) -> Asked | None:
        try:
            info: dict[str, Any] = await node.execute_command("INFO")
        except (RedisError, OSError):
            return None
        return Asked(node.name, info.get("role") == "master", info)

    async def close(self) -> None:
        await self._nodes.aclose()
        await self._nodes.aclose("startup_nodes")


def _given(url: RedisUrl) -> dict[str, Any]:
    given = dict(parse_url(url.plain))
    if given.pop("connection_class", None) is SSLConnection:
        given["ssl"] = True
    return given


def _raise_error(replies: list[Any]) -> list[Any]:
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies
