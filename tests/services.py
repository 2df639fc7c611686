"""Real servers for the tests: Kafka and Redis on free ports, which can be stopped, killed and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Protocol, Self

import pytest
import redis

from tracker.child import Child, PortTaken, free_port

KAFKA_LIB = Path(__file__).parent / "kafka" / "lib"
_JAVA = ["java", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xshare:auto"]
_CLUSTER = "AAAAAAAAAAAAAAAAAAAAAQ"
_TRIES = 5
_PATIENCE = 120.0  # seconds; a start takes three, but a busy machine is no failure


def missing(part: str, remedy: str) -> NoReturn:
    """Skip the test because a part is missing; in CI nothing may be skipped, so there it fails."""
    reason = f"{part} is missing: {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


class Server(ABC):
    """A server in a folder of its own under the system's temporary one. `start` finds the ports, which then
    stay the same: after `stop` (SIGTERM) or `kill` (SIGKILL) it starts again with the data it had. `close`, or
    the end of the `with` block, ends it and removes its data.

    All of these block. In an async test use `await asyncio.to_thread(server.restart)` if the loop must go on."""

    name: str

    def __init__(self) -> None:
        self.port = 0
        self.folder = Path(tempfile.mkdtemp(prefix=f"test-{self.name}-"))
        self._child: Child | None = None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._child is not None and self._child.alive

    @property
    def pid(self) -> int | None:
        """The process, for a test that looks at its memory or stops it with SIGSTOP."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Start it and wait until it is up."""
        if self._child is None:
            self._child, self.port = _on_free_port(self._make)
        else:
            self._child.start(_PATIENCE)

    def stop(self) -> None:
        """End it as an operator would, who waits until it is done."""
        if self._child:
            self._child.stop(_PATIENCE)

    def kill(self) -> None:
        """End it as a crash would."""
        if self._child:
            self._child.kill()

    def restart(self, *, crash: bool = False) -> None:
        """`stop` (`kill` if it is to crash) and `start`."""
        if crash:
            self.kill()
        else:
            self.stop()
        self.start()

    def close(self) -> None:
        """End it and remove its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _make(self, port: int) -> Child:
        """The process that listens on `port`, not yet started."""


class KafkaServer(Server):
    """One real Kafka broker that is its own controller (KRaft). `options` are lines for its server.properties;
    `quick` trades the JVM's best throughput for a quicker start: a benchmark sets it to False. Each of
    `proxied` adds a listener, for clients that come through a proxy: (port to listen on, the proxy's port, which the
    broker then tells them)."""

    name = "kafka"

    def __init__(
        self,
        options: Mapping[str, str] | None = None,
        *,
        heap: str = "1g",
        quick: bool = True,
        proxied: Sequence[tuple[int, int]] = (),
    ) -> None:
        if not list(KAFKA_LIB.glob("kafka_*.jar")):
            missing("Kafka", "`make test` fetches it into tests/kafka/lib")
        if not shutil.which("java"):
            missing("java", "install Java 17 or newer (Debian: apt-get install openjdk-17-jre-headless)")
        super().__init__()
        self._options = dict(options or {})
        self._proxied = proxied
        quickly = ["-XX:TieredStopAtLevel=1"] if quick else []
        self._java = [*_JAVA, *quickly, f"-Xmx{heap}", "-cp", f"{KAFKA_LIB}/*"]

    @property
    def bootstrap(self) -> str:
        """For TRACKER_BROKERS."""
        return f"127.0.0.1:{self.port}"

    def _make(self, port: int) -> Child:
        properties = self.folder / "server.properties"
        data = self.folder / "data"
        controller = free_port()
        behind = "".join(f",PROXIED{place}://127.0.0.1:{own}" for place, (own, _) in enumerate(self._proxied))
        shown = "".join(f",PROXIED{place}://127.0.0.1:{told}" for place, (_, told) in enumerate(self._proxied))
        names = ("PLAINTEXT", "CONTROLLER", *(f"PROXIED{place}" for place in range(len(self._proxied))))
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{behind}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}{shown}",
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in names),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(data),
            "num.partitions": "4",
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
            "broker.heartbeat.interval.ms": "500",
            "broker.session.timeout.ms": "4000",  # how long a killed broker waits before it may come back
            "group.min.session.timeout.ms": "1000",  # fault tests do not wait the usual 6 s for a dead worker
            "num.io.threads": "4",
            "num.network.threads": "2",
            "log.cleaner.dedupe.buffer.size": "16777216",
            **self._options,
        }
        properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        if not data.exists():
            format_storage = ["kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(properties)]
            done = subprocess.run(
                [*self._java, *format_storage], capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
        log = {
            "defaultLogLevel": "warn",
            "log.kafka.server.KafkaRaftServer": "info",  # says that it has started
            "showDateTime": "true",
            "dateTimeFormat": "HH:mm:ss.SSS",
        }
        logging = [f"-Dorg.slf4j.simpleLogger.{name}={value}" for name, value in log.items()]
        return Child(
            "Kafka",
            [*self._java, *logging, "kafka.Kafka", str(properties)],
            ready="Kafka Server started",
            log=self.folder / "server.log",
        )


class RedisService(Protocol):
    """Redis, however many servers it is: its URL for TRACKER_REDIS_URL, and a client for the test itself."""

    @property
    def url(self) -> str: ...

    def client(self, *, decode_responses: bool = False) -> Any: ...


class RedisServer(Server):
    """One real redis-server. It keeps nothing on disk unless `aof`, which survives `kill` as the product's own
    advice does: appendfsync everysec. `options` are further directives, as {"maxmemory": "10mb"}."""

    name = "redis"

    def __init__(self, options: Mapping[str, str] | None = None, *, aof: bool = False) -> None:
        program = shutil.which("redis-server")
        if program is None:
            missing("redis-server", "`make test` installs it (Debian: apt-get install redis-server)")
        super().__init__()
        self._program = program
        self._options = {"appendonly": "yes" if aof else "no", "appendfsync": "everysec", **(options or {})}

    @property
    def url(self) -> str:
        """For TRACKER_REDIS_URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, *, decode_responses: bool = False) -> Any:
        """A client of this server, to be closed; Any, because its types say that every answer may be to come."""
        return redis.Redis.from_url(self.url, decode_responses=decode_responses)

    def snapshot(self) -> Path:
        """Save all data to a file beside the server's, for `restore`; the former snapshot goes."""
        saved = self.folder / "dump.rdb"
        saved.unlink(missing_ok=True)
        with redis.Redis.from_url(self.url) as store:
            deadline = time.monotonic() + _PATIENCE
            while not saved.exists():  # Redis puts it there when it is whole
                assert time.monotonic() < deadline, "the snapshot is not done"
                info = store.info("persistence")
                # While it rewrites its append-only file it would only put this off.
                if not info["rdb_bgsave_in_progress"] and not info["aof_rewrite_in_progress"]:
                    with contextlib.suppress(redis.ResponseError):
                        store.bgsave()
                time.sleep(0.05)
        return saved.rename(self.folder / "snapshot.rdb")

    def restore(self, snapshot: Path) -> None:
        """Crash, and start again with a snapshot's data in place of its own. Only with `aof`."""
        self.kill()
        logs = self.folder / "appendonlydir"
        shutil.rmtree(logs)
        logs.mkdir()
        shutil.copy(snapshot, logs / "appendonly.aof.1.base.rdb")
        (logs / "appendonly.aof.manifest").write_text("file appendonly.aof.1.base.rdb seq 1 type b\n")
        self.start()

    def _make(self, port: int) -> Child:
        options = {
            "bind": "127.0.0.1",
            "port": str(port),
            "dir": str(self.folder),
            "save": "",
            "maxmemory-policy": "noeviction",
            **self._options,
        }
        return Child(
            "redis-server",
            [self._program, *(word for name, value in options.items() for word in (f"--{name}", value))],
            ready="eady to accept connections",  # 7.0 and later write a capital R
            log=self.folder / "server.log",
        )


def _on_free_port(make: Callable[[int], Child]) -> tuple[Child, int]:
    for left in reversed(range(_TRIES)):
        port = free_port()
        child = make(port)
        try:
            child.start(_PATIENCE)
        except PortTaken:
            if not left:
                raise
        else:
            return child, port
    raise AssertionError("not reached: the last try returns or raises")
