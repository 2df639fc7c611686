"""The store in Redis: one script call commits a batch, and every key of a partition shares a cluster slot."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, NamedTuple

import hiredis
import msgspec
from redis.asyncio import BlockingConnectionPool, Connection, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthenticationError, NoScriptError, RedisError, ResponseError
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import TimeoutError as TimedOut

from tracker.errors import Fenced, Irreconcilable, PartitionError, PositionRefused, SettingError, Unavailable
from tracker.store.script import SCRIPT, SHA, arguments
from tracker.stream.ports import Commit, PartitionRow
from tracker.wire.partition import partition_of
from tracker.wire.position import Position, decode_position

_AWAY = ("OOM", "READONLY", "LOADING", "MISCONF", "NOREPLICAS", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN")
"""Error replies that pass by themselves or by an operator's hand: the store is away, the batch is not at fault."""


class Found(NamedTuple):
    """What the store holds of one person: where, the state, and the person's timer (ms) if one is set."""

    partition: int
    state: bytes
    due: int | None


class _Packing(Connection):
    """Packs a command of many arguments (reading states) in C: 0.5 µs a state where redis-py's own packing makes
    it 1.1. Few large ones stay with redis-py, which does not copy them. TLS and sockets keep redis-py's packing."""

    def pack_command(self, *args: Any) -> list[bytes]:
        if len(args) < 100:
            return super().pack_command(*args)
        return [hiredis.pack_command(args)]


class RedisStore:
    """The `Store` in one Redis. `prefix` goes in front of every key as it is (`Topics.prefix`).

    A call that is lost is sent again (three times in all): reads do not mind, and a commit carries the position
    that it starts from. A call that is cancelled drops its connection, so its late reply can meet no other call.
    """

    TRIES = 3
    CONNECTIONS = 16

    def __init__(self, url: str, prefix: str = "", *, timeout: float = 5.0) -> None:
        """`timeout` in seconds bounds connecting, each try of a call, and waiting for a free connection."""
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                connection_class=_Packing,
                # A partition has one call under way, so few connections do; waiting for one beats an error.
                max_connections=self.CONNECTIONS,
                timeout=timeout,
                socket_timeout=timeout,
                socket_connect_timeout=timeout,
                socket_keepalive=True,
                # A proxy may have dropped an idle connection: ask before a large batch goes into the void.
                health_check_interval=30,
                retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), self.TRIES - 1),
                protocol=2,  # nothing here needs what RESP3 adds to every handshake
                client_name="tracker",
            )
        except ValueError as error:
            raise SettingError(
                f"TRACKER_REDIS_URL cannot be used: {error}; allowed: redis://[[user]:password@]host:port/db, "
                "rediss://… for TLS, unix://path"
            ) from error
        self._redis = Redis(connection_pool=pool)
        self._prefix = prefix
        at = pool.connection_kwargs
        self.address = str(at.get("path") or f"{at.get('host', 'localhost')}:{at.get('port', 6379)}")

    async def check(self) -> list[str]:
        """Ask whether this Redis may hold state. Returns warnings; raises `SettingError`, `Unavailable`."""
        try:
            # INFO and not CONFIG GET, which hosted services refuse.
            memory = await self._call("asking for its settings", self._redis.info("memory"))
            disk = await self._call("asking for its settings", self._redis.info("persistence"))
        except Unavailable as error:
            if isinstance(error.__cause__, AuthenticationError):
                raise SettingError(f"TRACKER_REDIS_URL: {error}; allowed: a user and password it accepts") from error
            raise
        policy = memory.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise SettingError(
                f"Redis at {self.address} has maxmemory-policy = {policy}, which would delete journeys when memory "
                "runs short; allowed: noeviction (CONFIG SET maxmemory-policy noeviction, and in its redis.conf)"
            )
        if disk.get("aof_enabled"):
            return []
        lost = "when it crashes, everything after its last snapshot is folded again from the log"
        return [f"Redis at {self.address} has appendonly = no: {lost}. With appendonly = yes that is one second"]

    async def take(self, partition: int, token: str) -> None:
        """Write this owner's fencing token; every later commit must carry it."""
        await self._call("taking a partition", self._redis.hset(self._key(partition, "r"), "token", token))

    async def row(self, partition: int) -> PartitionRow | None:
        """R, or None where the partition was never committed."""
        read = self._redis.hmget(self._key(partition, "r"), ["position", "meta"])
        position, meta = await self._call("reading a partition's record", read)
        return None if position is None else PartitionRow(self._position(partition, position), meta or b"")

    async def states(self, partition: int, persons: Sequence[str]) -> list[bytes | None]:
        """The stored states, in the order asked for."""
        if not persons:
            return []
        prefix = self._key(partition, "s:")
        found: list[bytes | None] = await self._call(
            "reading states", self._redis.mget([prefix + person for person in persons])
        )
        return found

    async def due(self, partition: int, until: int, limit: int) -> list[tuple[int, str]]:
        """At most `limit` timers with due <= until, as (due, person), ordered by (due, person's bytes)."""
        # Redis orders equal scores by the member's bytes, so its LIMIT cuts in our order too.
        read = self._redis.zrange(
            self._key(partition, "timers"), "-inf", until, byscore=True, offset=0, num=limit, withscores=True
        )
        return [(int(due), person.decode()) for person, due in await self._call("reading timers", read)]

    async def commit(self, partition: int, token: str, commit: Commit) -> bool:
        """Apply a batch; False when it was in already. Raises `Fenced`, `PositionRefused`. Safe to send twice.

        A commit whose `begin` equals its `end` (trimming alone) may not count anything: it could count twice."""
        if commit.begin == commit.end and commit.counters:
            raise ValueError(f"partition {partition}: a commit with counters must move on from {commit.end}")
        keys = [self._key(partition, name) for name in ("r", "timers", "outbox", "map", "s:")]
        reply = await self._script(partition, [len(keys), *keys, *arguments(token, commit)])
        match reply:
            case [b"applied"]:
                return True
            case [b"already"]:
                return False
            case [b"fenced", other]:
                raise Fenced(
                    f"partition {partition}: Redis holds the token {other.decode() or '(none)'}, "
                    f"this worker's is {token}: another worker took the partition"
                )
            case [b"position", stored]:
                begin = commit.begin.encode() if commit.begin else "(none)"
                raise PositionRefused(
                    f"partition {partition}: Redis is at {stored.decode() or '(none)'}, "
                    f"this batch goes from {begin} to {commit.end.encode()}"
                )
        raise PartitionError(f"partition {partition}: Redis at {self.address} answered a commit with {reply!r}")

    async def outbox(self, partition: int) -> list[tuple[Position, bytes]]:
        """What has not been trimmed, ordered by position."""
        entries = await self._call("reading the outbox", self._redis.hgetall(self._key(partition, "outbox")))
        decoded = [(self._position(partition, at), blob) for at, blob in entries.items()]
        return sorted(decoded, key=lambda entry: entry[0].order())

    async def counters(self, partition: int) -> dict[str, int]:
        """The map counters of a partition."""
        counts = await self._call("reading counters", self._redis.hgetall(self._key(partition, "map")))
        return {field.decode(): int(count) for field, count in counts.items()}

    async def find(self, person: str, partitions: int) -> Found | None:
        """One person, where the log has `partitions`; None for somebody of whom no state is kept."""
        partition = partition_of(person.encode(), partitions)
        state = (await self.states(partition, [person]))[0]
        due = await self._call("reading a timer", self._redis.zscore(self._key(partition, "timers"), person))
        return None if state is None else Found(partition, state, None if due is None else int(due))

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose(close_connection_pool=True)

    def _key(self, partition: int, name: str) -> str:
        return f"{self._prefix}{{p{partition}}}:{name}"

    def _position(self, partition: int, text: bytes) -> Position:
        try:
            return decode_position(text)
        except msgspec.DecodeError as error:
            raise Irreconcilable(
                f"partition {partition}: Redis at {self.address} holds {text[:80]!r} as a position: {error}. "
                "Something else writes to these keys: give it or the tracker another TRACKER_NAMESPACE or database"
            ) from error

    async def _script(self, partition: int, command: list[Any]) -> Any:
        """Run commit.lua; Redis forgets scripts when it restarts or fails over, so load it where it is missing."""
        doing = f"committing a batch of partition {partition}"
        try:
            return await self._call(doing, self._evalsha(command))
        except NoScriptError:
            await self._call(doing, self._redis.script_load(SCRIPT))
        try:
            return await self._call(doing, self._evalsha(command))
        except NoScriptError as error:
            raise Unavailable(f"Redis at {self.address} forgot a script it had just loaded, {doing}") from error

    def _evalsha(self, command: list[Any]) -> Awaitable[Any]:
        call: Awaitable[Any] = self._redis.execute_command("EVALSHA", SHA, *command)  # type: ignore[no-untyped-call]
        return call

    async def _call(self, doing: str, call: Awaitable[Any]) -> Any:
        try:
            return await call
        except NoScriptError:
            raise
        except (NotConnected, TimedOut, OSError) as error:
            raise Unavailable(
                f"Redis at {self.address} did not answer, {doing} ({self.TRIES} tries): {str(error) or repr(error)}"
            ) from error
        except ResponseError as error:
            # A script's error may carry the code inside its text (Redis 6) or as the code (7 and later).
            text = f"{error.status_code or ''} {error}"
            if any(code in text.replace("-", " ").split() for code in _AWAY):
                raise Unavailable(f"Redis at {self.address} cannot serve now, {doing}: {text.strip()}") from error
            raise PartitionError(f"Redis at {self.address} refused, {doing}: {text.strip()}") from error
        except RedisError as error:
            raise PartitionError(f"Redis at {self.address}, {doing}: {error!r}") from error
