"""The store in Redis: one script call commits a batch, and every key of a partition shares a cluster slot."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterError,
    NoScriptError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import TimeoutError as TimedOut

from tracker.errors import Fenced, Irreconcilable, PartitionError, PositionRefused, SettingError, Unavailable
from tracker.redisurl import ALLOWED, parse_redis_url
from tracker.store.script import SCRIPT, SHA, arguments
from tracker.store.servers import TRIES, Asked, Command, connect
from tracker.stream.ports import Commit, PartitionRow
from tracker.wire.partition import partition_of
from tracker.wire.position import Position, decode_position

_AWAY = ("OOM", "READONLY", "LOADING", "MISCONF", "NOREPLICAS", "BUSY", "MASTERDOWN")
"""Error replies that pass by themselves or by an operator's hand: the store is away, the batch is not at fault."""


class Found(NamedTuple):
    """What the store holds of one person: where, the state, and the person's timer (ms) if one is set."""

    partition: int
    state: bytes
    due: int | None


class RedisStore:
    """The `Store` in Redis: one server, one behind Sentinels, or a cluster. `prefix` goes in front of every key as it
    is (`Topics.prefix`).

    A call that is lost is sent again (three times in all): reads do not mind, and a commit carries the position
    that it starts from. A call that is cancelled drops its connection, so its late reply can meet no other call.

    A fail-over can leave connections to a server that is master no more. It refuses writes, but would answer reads
    with what it had. So, from `row` on, every read of a partition brings the token and the position along, and is
    refused where they are not this owner's.
    """

    def __init__(
        self, url: str, prefix: str = "", *, timeout: float = 5.0, wait_replicas: int = 0, wait_timeout: float = 1.0
    ) -> None:
        """`timeout` in seconds bounds connecting, each try of a call, and waiting for a free connection.

        `wait_replicas`: how many replicas must have a write before it counts, asked for at most `wait_timeout`
        seconds (WAIT); where fewer have it, `take` and `commit` raise `Unavailable`. Raises `SettingError`."""
        try:
            self._servers = connect(parse_redis_url(url), timeout + (wait_timeout if wait_replicas else 0))
        except ValueError as error:
            raise SettingError(f"TRACKER_REDIS_URL cannot be used: {error}; allowed: {ALLOWED}") from error
        self._prefix = prefix
        self._wait_replicas = wait_replicas
        self._wait: Command = ("WAIT", wait_replicas, round(wait_timeout * 1000))
        self._owned: dict[int, tuple[bytes, bytes | None]] = {}
        """Partition -> the token and the position that Redis must hold."""
        self._tokens: dict[int, str] = {}
        self.address = self._servers.address

    async def check(self) -> list[str]:
        """Ask whether this Redis may hold state: every master, and every replica that answers, since it may become
        one. Returns warnings; raises `SettingError`, `Unavailable`."""
        doing = "asking for its settings"
        try:
            servers = await self._servers.ask()
        except Exception as error:
            cause: BaseException | None = error
            while cause is not None:
                if isinstance(cause, AuthenticationError):
                    raise SettingError(
                        f"TRACKER_REDIS_URL: Redis at {self.address} refused, {doing}: {cause}; allowed: a user and "
                        "password it accepts"
                    ) from error
                cause = cause.__cause__
            translated = self._translated(error, doing)
            if isinstance(translated, PartitionError):
                raise SettingError(
                    f"TRACKER_REDIS_URL: {translated}; allowed: servers of the kind that it names, and a user who may "
                    "send INFO"
                ) from error
            raise translated from error
        for server in servers:
            self._check_server(server)
        return [warning for server in servers for warning in self._warnings(server)]

    def _check_server(self, server: Asked) -> None:
        clustered = bool(server.info.get("cluster_enabled"))
        if clustered != self._servers.clustered:
            what, way = ("is a node of a cluster", "redis+cluster") if clustered else ("is no cluster", "redis")
            raise SettingError(f"TRACKER_REDIS_URL: Redis at {server.address} {what}; allowed: {way}://host:port")
        policy = server.info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise SettingError(
                f"Redis at {server.address} has maxmemory-policy = {policy}, which would delete journeys when memory "
                "runs short; allowed: noeviction (CONFIG SET maxmemory-policy noeviction, and in its redis.conf)"
            )

    def _warnings(self, server: Asked) -> list[str]:
        warnings = []
        if not server.info.get("aof_enabled"):
            lost = "when it crashes, everything after its last snapshot is folded again from the log"
            warnings.append(
                f"Redis at {server.address} has appendonly = no: {lost}. With appendonly = yes that is one second"
            )
        replicas = int(server.info.get("connected_slaves", 0))
        if server.master and replicas < self._wait_replicas:
            warnings.append(
                f"Redis at {server.address} has {replicas} replicas, TRACKER_REDIS_WAIT_REPLICAS is "
                f"{self._wait_replicas}: its partitions pause until it has as many"
            )
        return warnings

    async def take(self, partition: int, token: str) -> None:
        """Write this owner's fencing token; every later commit must carry it."""
        self._owned.pop(partition, None)
        doing = f"taking partition {partition}"
        # With replicas to wait for, this write says that they have all that was written before it.
        _, replicas = await self._write(partition, doing, ("HSET", self._key(partition, "r"), "token", token))
        self._check_replicas(replicas, doing)
        self._tokens[partition] = token

    async def row(self, partition: int) -> PartitionRow | None:
        """R, or None where the partition was never committed."""
        fields = ("token", "position", "meta")
        (reply,) = await self._call(
            partition, f"reading the record of partition {partition}", ("HMGET", self._key(partition, "r"), *fields)
        )
        token, position, meta = reply
        if partition in self._tokens:
            self._check_token(partition, token, self._tokens[partition])
            self._owned[partition] = token, position
        return None if position is None else PartitionRow(self._position(partition, position), meta or b"")

    async def states(self, partition: int, persons: Sequence[str]) -> list[bytes | None]:
        """The stored states, in the order asked for."""
        if not persons:
            return []
        prefix = self._key(partition, "s:")
        found: list[bytes | None] = await self._read(
            partition, "reading states", ("MGET", *[prefix + person for person in persons])
        )
        return found

    async def due(self, partition: int, until: int, limit: int) -> list[tuple[int, str]]:
        """At most `limit` timers with due <= until, as (due, person), ordered by (due, person's bytes)."""
        # Redis orders equal scores by the member's bytes, so its LIMIT cuts in our order too.
        bounds = ("-inf", until, "BYSCORE", "LIMIT", 0, limit, "WITHSCORES")
        flat = await self._read(partition, "reading timers", ("ZRANGE", self._key(partition, "timers"), *bounds))
        return [(int(due), person.decode()) for person, due in zip(flat[::2], flat[1::2], strict=True)]

    async def commit(self, partition: int, token: str, commit: Commit) -> bool:
        """Apply a batch; False when it was in already. Raises `Fenced`, `PositionRefused`. Safe to send twice.

        A commit whose `begin` equals its `end` (trimming alone) may not count anything: it could count twice."""
        if commit.begin == commit.end and commit.counters:
            raise ValueError(f"partition {partition}: a commit with counters must move on from {commit.end}")
        doing = f"committing a batch of partition {partition}"
        keys = [self._key(partition, name) for name in ("r", "timers", "outbox", "map", "s:")]
        packed = [len(keys), *keys, *arguments(token, commit)]
        try:
            reply, replicas = await self._write(partition, doing, ("EVALSHA", SHA, *packed))
        except NoScriptError:
            # Redis forgets scripts when it restarts or fails over; EVAL brings this one along, and keeps it.
            reply, replicas = await self._write(partition, doing, ("EVAL", SCRIPT, *packed))
        match reply:
            case [b"applied" | b"already" as done]:
                self._check_replicas(replicas, doing)
                if partition in self._owned:
                    self._owned[partition] = token.encode(), commit.end.encode().encode()
                return bool(done == b"applied")
            case [b"fenced", other]:
                self._check_token(partition, other, token)
            case [b"position", stored]:
                begin = commit.begin.encode() if commit.begin else "(none)"
                raise PositionRefused(
                    f"partition {partition}: Redis is at {stored.decode() or '(none)'}, "
                    f"this batch goes from {begin} to {commit.end.encode()}"
                )
        raise PartitionError(f"partition {partition}: Redis at {self.address} answered a commit with {reply!r}")

    async def outbox(self, partition: int) -> list[tuple[Position, bytes]]:
        """What has not been trimmed, ordered by position."""
        entries = await self._read(partition, "reading the outbox", ("HGETALL", self._key(partition, "outbox")))
        decoded = [(self._position(partition, at), blob) for at, blob in entries.items()]
        return sorted(decoded, key=lambda entry: entry[0].order())

    async def counters(self, partition: int) -> dict[str, int]:
        """The map counters of a partition."""
        (counts,) = await self._call(partition, "reading counters", ("HGETALL", self._key(partition, "map")))
        return {field.decode(): int(count) for field, count in counts.items()}

    async def exchange(self, mine: Mapping[str, str], gone: Sequence[str]) -> dict[str, str]:
        """What workers leave word of for each other, by source: write `mine`, remove `gone`, answer all."""
        key = self._key(0, "sources")
        commands: list[Command] = []
        if mine:
            commands.append(("HSET", key, *[word for pair in mine.items() for word in pair]))
        if gone:
            commands.append(("HDEL", key, *gone))
        *_, found = await self._call(0, "sharing how far the sources are", *commands, ("HGETALL", key))
        return {source.decode(): word.decode() for source, word in found.items()}

    async def find(self, person: str, partitions: int) -> Found | None:
        """One person, where the log has `partitions`; None for somebody of whom no state is kept."""
        partition = partition_of(person.encode(), partitions)
        commands = ("GET", self._key(partition, "s:") + person), ("ZSCORE", self._key(partition, "timers"), person)
        state, due = await self._call(partition, "reading a person", *commands)
        return None if state is None else Found(partition, state, None if due is None else int(due))

    async def close(self) -> None:
        """Close every connection."""
        await self._servers.close()

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

    async def _write(self, partition: int, doing: str, command: Command) -> tuple[Any, int]:
        """The reply, and how many replicas have the write where that was asked for."""
        if not self._wait_replicas:
            return (await self._call(partition, doing, command))[0], 0
        reply, replicas = await self._call(partition, doing, command, self._wait)
        return reply, int(replicas)

    def _check_replicas(self, replicas: int, doing: str) -> None:
        if replicas < self._wait_replicas:
            raise Unavailable(
                f"{replicas} replicas of Redis at {self.address} had it in time, {doing}; "
                f"TRACKER_REDIS_WAIT_REPLICAS is {self._wait_replicas}"
            )

    def _check_token(self, partition: int, found: bytes | None, own: str) -> None:
        if found != own.encode():
            raise Fenced(
                f"partition {partition}: Redis holds the token {(found or b'').decode() or '(none)'}, "
                f"this worker's is {own}: another worker took the partition"
            )

    async def _read(self, partition: int, doing: str, command: Command) -> Any:
        """What an owner reads must be of the position that it knows; others read what is there."""
        owned = self._owned.get(partition)
        if owned is None:
            return (await self._call(partition, doing, command))[0]
        token, position = owned
        row = ("HMGET", self._key(partition, "r"), "token", "position")
        (other, stored), reply = await self._call(partition, doing, row, command)
        self._check_token(partition, other, token.decode())
        if stored != position:
            raise PositionRefused(
                f"partition {partition}: Redis is at {(stored or b'').decode() or '(none)'} and not at "
                f"{(position or b'').decode() or '(none)'}, {doing}: another server answers, or it was rolled back"
            )
        return reply

    async def _call(self, partition: int, doing: str, *commands: Command) -> list[Any]:
        try:
            return await self._servers.run(self._key(partition, "r"), *commands)
        except NoScriptError:
            raise
        except Exception as error:
            raise self._translated(error, doing) from error

    def _translated(self, error: Exception, doing: str) -> Exception:
        """Our own error for one of redis-py's."""
        where = f"Redis at {self.address}"
        match error:
            case MasterNotFoundError():
                text = re.sub(r"<redis\..*?\)>\)>\)> - ", "", str(error))  # clients with all of their options
                return Unavailable(f"{where} did not answer, {doing} ({TRIES} tries): {text}")
            case NotConnected() | TimedOut() | OSError() | RedisClusterException():
                return Unavailable(f"{where} did not answer, {doing} ({TRIES} tries): {str(error) or repr(error)}")
            case AskError() | TryAgainError() | ClusterError():
                kind = type(error).__name__.removesuffix("Error")
                return Unavailable(f"{where}: the keys are on their way or their node is down, {doing}: {kind} {error}")
            case ResponseError():
                # A script's error may carry the code inside its text (Redis 6) or as the code (7 and later).
                text = f"{error.status_code or ''} {error}".strip()
                if any(code in text.replace("-", " ").split() for code in _AWAY):
                    return Unavailable(f"{where} cannot serve now, {doing}: {text}")
                return PartitionError(f"{where} refused, {doing}: {text}")
            case RedisError():
                return PartitionError(f"{where}, {doing}: {error!r}")
        return error
