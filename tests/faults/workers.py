"""The workers under test: `tracker worker` as child processes, started again when they end as a supervisor would.

Each reaches broker and store through proxies of its own, so that one can be cut off while the others go on.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.faults.proxy import Proxy
from tracker.child import die_with_parent

COMMAND = [sys.executable, "-m", "tracker", "worker"]
TERM_WITHIN = 30.0
"""Seconds that a worker may take to end when it is told to."""
RESTART_AFTER = 1.0
TAKEN_UP = re.compile(r"^(\S+ \S+) .*: track: .*/(\d+) from offset", re.MULTILINE)
"""When, and which partition."""


class Lines(NamedTuple):
    """What one worker at a time reaches broker and store through."""

    kafka: Proxy
    redis: Proxy

    @property
    def env(self) -> dict[str, str]:
        """What the worker has to be told."""
        return {
            "TRACKER_BROKERS": f"127.0.0.1:{self.kafka.port}",
            "TRACKER_REDIS_URL": f"redis://127.0.0.1:{self.redis.port}/0",
        }


class Worker:
    """One process, with a log of its own."""

    def __init__(
        self, number: int, command: Sequence[str], env: Mapping[str, str], folder: Path, lines: Lines | None = None
    ) -> None:
        self.name = f"worker-{number}"
        self.lines = lines
        self.log = folder / f"{self.name}.log"
        self.frozen = False
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env={**env, **({} if lines is None else lines.env)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - one system call, safe beside threads
            )

    @property
    def code(self) -> int | None:
        """How it ended, None while it runs."""
        return self._process.poll()

    def send(self, what: signal.Signals) -> None:
        """A signal to the process and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, what)

    def kill(self) -> None:
        """kill -9."""
        self.send(signal.SIGKILL)
        self._process.wait()

    async def ended(self, seconds: float) -> bool:
        """Whether it ends by itself within so many seconds."""
        begun = time.monotonic()
        while self.code is None:
            if time.monotonic() - begun > seconds:
                return False
            await asyncio.sleep(0.05)
        return True


class Pool:
    """The workers that should be running; who ends without being told to is counted and started again. There have to
    be `lines` for all that run at the same time, those that are about to end included."""

    def __init__(
        self, env: Mapping[str, str], folder: Path, lines: Sequence[Lines], command: Sequence[str] = COMMAND
    ) -> None:
        self.running: list[Worker] = []
        self.lines = lines
        self.by_themselves: list[str] = []
        """Workers that ended though nobody told them to, with their exit codes."""
        self.slow: list[str] = []
        """Workers that did not end in time when told to."""
        self._command = command
        self._env = env
        self._folder = folder
        self._started: list[Worker] = []

    def add(self) -> Worker:
        """Start one more."""
        taken = [id(worker.lines) for worker in self._started if worker.code is None]
        free = next(lines for lines in self.lines if id(lines) not in taken)
        worker = Worker(len(self._started) + 1, self._command, self._env, self._folder, free)
        self._started.append(worker)
        self.running.append(worker)
        return worker

    def pick(self, random: Random) -> Worker:
        """One of those that run and are not frozen."""
        awake = [worker for worker in self.running if not worker.frozen and worker.code is None]
        return random.choice(awake) if awake else self.add()

    def owned(self, worker: Worker) -> list[int]:
        """The partitions of the log that a worker tracks: those that no other took up after it, by their logs."""
        owners: dict[int, tuple[str, Worker]] = {}
        for one in self.running:
            for when, partition in TAKEN_UP.findall(one.log.read_text("utf-8", "replace")):
                owners[int(partition)] = max(owners.get(int(partition), ("", one)), (when, one), key=itemgetter(0))
        return sorted(partition for partition, (_, owner) in owners.items() if owner is worker)

    def kill(self, worker: Worker) -> None:
        """kill -9, and not started again."""
        self._forget(worker)
        worker.kill()

    async def stop(self, worker: Worker) -> None:
        """SIGTERM, and not started again."""
        self._forget(worker)
        worker.send(signal.SIGTERM)
        if not await worker.ended(TERM_WITHIN):
            self.slow.append(worker.name)
            worker.kill()

    async def stop_all(self) -> None:
        """SIGTERM to all of them."""
        await asyncio.gather(*(self.stop(worker) for worker in list(self.running)))

    def kill_all(self) -> None:
        """Leave nothing behind."""
        for worker in list(self.running):
            self.kill(worker)

    async def supervise(self) -> None:
        """Start workers again that ended by themselves; runs until cancelled."""
        while True:
            await asyncio.sleep(RESTART_AFTER)
            for worker in list(self.running):
                if worker.code is not None:
                    self.by_themselves.append(f"{worker.name} (exit {worker.code})")
                    self._forget(worker)
                    self.add()

    def _forget(self, worker: Worker) -> None:
        if worker in self.running:
            self.running.remove(worker)
