"""The worker process: a Faust app whose services are the two stages.

Faust gives it supervision, signals and a clean stop; the hot path is the stages' own (see `docs/decisions`).
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import faust
import mode
from faust.app.base import BootStrategy
from faust.worker import Worker

from tracker.child import die_with_parent
from tracker.domain.events import KNOWN_TYPES
from tracker.errors import SettingError
from tracker.health import Health
from tracker.loop import new_event_loop
from tracker.metrics import Metrics, serve
from tracker.settings import Settings
from tracker.stream.ingest import Ingest
from tracker.stream.stage import TrackStage
from tracker.wiring.parts import Parts, config_of
from tracker.wiring.repeats import hold_back_repeats

log = logging.getLogger("tracker.worker")


class NoKafka(BootStrategy):
    """Faust's own consumer and producer stay out: the stages have theirs."""

    enable_kafka = False
    enable_kafka_consumer = False
    enable_kafka_producer = False
    enable_web = False


class App(faust.App):
    """A Faust app that only hosts services."""

    BootStrategy = NoKafka


class Stages(mode.Service):
    """Opens the parts, runs the stages asked for, and stops them in order."""

    def __init__(self, make_parts: Callable[[], Parts], only: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._make_parts = make_parts
        self._only = only
        self._parts: Parts | None = None
        self.failure: Exception | None = None
        """What kept the stages from starting."""
        self._ingest: Ingest | None = None
        self._track: TrackStage | None = None
        self._running: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Connect; a wrong setting or an absent broker shows here, before Faust runs and anything is read."""
        parts = self._make_parts()
        try:
            await parts.open()
        except BaseException:
            await parts.close()
            raise
        for warning in parts.warnings:
            log.warning("%s", warning)
        log.info(
            "outputs are published %s; %d partitions, stage %s",
            "exactly once" if parts.exactly_once else "at least once, a repeated one with the same id",
            parts.partitions,
            self._only or "ingest and track",
        )
        self._parts = parts

    async def on_start(self) -> None:
        """Join the groups."""
        try:
            await self._join()
        except Exception as error:
            self.failure = error  # Faust logs it and ends well; the process must not
            raise

    async def _join(self) -> None:
        parts = self._parts
        assert parts is not None
        if self._only != "ingest":
            self._track = parts.track()
            await self._track.start()
            self._running.append(asyncio.create_task(self._guard(self._track.run())))
        if self._only != "track":
            self._ingest = parts.ingest()
            await self._ingest.start()
            self._running.append(asyncio.create_task(self._guard(self._ingest.run())))

    async def _guard(self, running: Any) -> None:
        try:
            await running
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - the worker ends with it, whatever it is
            while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
                error = error.exceptions[0]  # what it was, not how it travelled
            await self.crash(error)

    async def on_stop(self) -> None:
        """Ingest first, so that what it said is still tracked; then the partitions are given up."""
        if self._ingest is not None:
            await self._ingest.stop()
        if self._track is not None:
            await self._track.stop()
        for task in self._running:
            if self._track is not None or not task.done():
                task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._parts is not None:
            await self._parts.close()


def work(make_parts: Callable[[], Parts], only: str | None, level: str) -> None:
    """Run a worker in this process until SIGINT or SIGTERM; raises what kept it from starting or made it crash."""
    hold_back_repeats()
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    # Events, states and outputs hold no cycles: looking for some among them every 700 allocations costs a fifth of
    # the worker's time.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    with tempfile.TemporaryDirectory(prefix="tracker-") as folder:
        app = App("tracker", broker="kafka://", web_enabled=False, autodiscover=False, datadir=folder)
        stages = Stages(make_parts, only)
        opening = loop.create_task(stages.open())
        told = asyncio.Event()

        def stop() -> None:
            told.set()
            opening.cancel()

        for wanted in (signal.SIGINT, signal.SIGTERM):  # until Faust looks after them
            loop.add_signal_handler(wanted, stop)
        try:
            loop.run_until_complete(opening)
        except asyncio.CancelledError:
            return
        if told.is_set():  # a client that is being closed can swallow the cancellation
            loop.run_until_complete(stages.on_stop())
            return
        worker = Worker(app, stages, loglevel=level, logging_config=None, redirect_stdouts=False, quiet=True, loop=loop)
        worker.spinner = None  # its handler would set the root logger to DEBUG, which is slow
        setattr(worker, "_setup_logging", lambda: None)  # noqa: B010 - the command has set logging up
        with suppress(SystemExit):
            worker.execute_from_commandline()
        failure = stages.failure or stages.crash_reason
        if failure is not None:
            raise failure


RESTART = (1.0, 2.0, 5.0, 10.0)
"""Seconds before a process that ended by itself is started again; the last for good."""


def supervise(command: Sequence[str], processes: int) -> int:
    """Run `processes` copies of a command, each with its number in TRACKER_PROCESS; start again what crashes.

    Ends with the copies when told to (SIGINT, SIGTERM), with exit code 0; with 2 as soon as one of them says that
    a setting is wrong, since the others would say the same."""
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    for wanted in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wanted, stop)
    copies: dict[int, subprocess.Popen[bytes]] = {}
    deaths = dict.fromkeys(range(processes), 0)
    start_at = dict.fromkeys(range(processes), 0.0)
    code = 0
    while not stopping:
        for number in range(processes):
            copy = copies.get(number)
            if copy is not None and copy.poll() is not None:
                if copy.returncode == 2:
                    stopping, code = True, 2
                    break
                pause = RESTART[min(deaths[number], len(RESTART) - 1)]
                deaths[number] += 1
                start_at[number] = time.monotonic() + pause
                log.error("process %d ended with %d, starts again in %.0f s", number, copy.returncode, pause)
                del copies[number]
            if number not in copies and time.monotonic() >= start_at[number]:
                env = os.environ | {"TRACKER_PROCESS": str(number)}
                # A copy that outlived this process would keep its partitions and its port from those that follow.
                copies[number] = subprocess.Popen(
                    command,
                    env=env,
                    start_new_session=True,
                    preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509 - as in child.py
                )
        time.sleep(0.1)
    for copy in copies.values():
        if copy.poll() is None:
            copy.terminate()
    for copy in copies.values():
        with suppress(subprocess.TimeoutExpired):
            copy.wait(30)
        if copy.poll() is None:
            copy.kill()
            copy.wait()
    return code


def own_command() -> list[str]:
    """This very command line, to be run by copies of this process."""
    return [sys.executable, "-m", "tracker", *sys.argv[1:]]


def run_worker(settings: Settings, only: str | None, processes: int) -> None:
    """`tracker worker`: blocks until it is told to stop."""
    if settings.reads_direct_events:
        raise SettingError(
            "TRACKER_RAW_TOPICS is empty or TRACKER_DIRECT is on: events written straight to journey.events are not "
            "followed yet; allowed: raw topics, and TRACKER_DIRECT=off"
        )
    if only != "ingest":
        config_of(settings)  # a model that cannot be used shows before anything is started
    number = os.environ.get("TRACKER_PROCESS")
    if processes > 1 and number is None:
        raise SystemExit(supervise(own_command(), processes))
    metrics = Metrics(KNOWN_TYPES)
    health = Health([only] if only else ["ingest", "track"])
    server = serve(metrics, health, settings.metrics_host, settings.metrics_port, int(number or 0))
    try:
        work(lambda: Parts(settings, metrics, health), only, settings.log_level)
    finally:
        if server is not None:
            server.close()
