"""A campaign from start to verdict: servers, workers, generator and nemesis, then the rest in peace, then the judge."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from random import Random

from tests.faults.generator import Generator
from tests.faults.judge import Judge
from tests.faults.monitor import Monitor
from tests.faults.nemesis import Nemesis
from tests.faults.plan import Plan
from tests.faults.proxy import Proxy
from tests.faults.report import Report, report_of
from tests.faults.verdict import Verdict
from tests.faults.workers import COMMAND, Lines, Pool
from tests.services import KafkaServer, RedisServer
from tracker.child import free_port
from tracker.wire.topics import Topics

NAMESPACE = "faults."
SPARE = 2
"""Workers that may run for a moment beside those that should."""
LONG = 10.0
"""Minutes."""
SETTLED_WITHIN = 300.0
"""Seconds without any progress after which the tracker is said to be stuck."""

Say = Callable[[str], object]


async def campaign(
    plan: Plan,
    workers: int,
    kinds: Sequence[str],
    folder: Path,
    say: Say,
    *,
    command: Sequence[str] = COMMAND,
    tamper: Callable[[KafkaServer, RedisServer], Awaitable[None]] | None = None,
) -> Report:
    """Run it. `folder` gets the workers' logs, the faults as they came, and what differed. `command` starts a worker:
    a test may have one that lacks a guard. `tamper` is called before the judge looks."""
    topics = Topics(NAMESPACE)
    ports = [(free_port(), free_port()) for _ in range(workers + SPARE)]
    quick = plan.minutes < LONG  # a long campaign earns what the JVM takes to get fast
    with KafkaServer(proxied=ports, quick=quick) as kafka, RedisServer(aof=True) as store:
        env = environment(plan, NAMESPACE, kafka.bootstrap, store.url)
        make_topics(env)
        generator = Generator(plan, kafka.bootstrap, NAMESPACE)
        monitor = Monitor(kafka.bootstrap, topics, plan.partitions)
        verdict = Verdict()
        async with contextlib.AsyncExitStack() as stack:
            open_ = stack.enter_async_context
            lines = [
                Lines(await open_(Proxy(shown, behind)), await open_(Proxy(free_port(), store.port)))
                for behind, shown in ports
            ]
            pool = Pool(env, folder, lines, command)
            nemesis = Nemesis(Random(f"{plan.seed}/nemesis"), pool, kafka, store, generator)
            try:
                settled = await _run(plan, workers, kinds, nemesis, monitor, say)
                await pool.stop_all()
            finally:
                pool.kill_all()
                await generator.close()
                _write_faults(folder / "faults.jsonl", nemesis)
        if tamper is not None:
            await tamper(kafka, store)
        say("judging")
        if settled is not None:
            await Judge(plan, kafka.bootstrap, store.url, topics, verdict, generator.poisoned).run()
        report = report_of(plan, workers, verdict, monitor, nemesis.faults, pool, generator, settled)
        _write_rest(folder, plan, kafka, store, report)
        return report


async def _run(
    plan: Plan, workers: int, kinds: Sequence[str], nemesis: Nemesis, monitor: Monitor, say: Say
) -> float | None:
    """Everything up to the last commit; answers how long the rest took, None if it came to no end."""
    pool, generator = nemesis.pool, nemesis.generator
    for _ in range(workers):
        pool.add()
    watching = [asyncio.create_task(monitor.run()), asyncio.create_task(pool.supervise())]
    try:
        until = time.monotonic() + plan.minutes * 60
        writing = asyncio.create_task(generator.run())
        telling = asyncio.create_task(_tell(nemesis, monitor, say))
        watching.append(telling)
        try:
            await asyncio.sleep(min(10.0, plan.minutes * 6))
            if kinds:
                await nemesis.run(kinds, until)
            await writing
        finally:
            writing.cancel()
            nemesis.heal()
        await generator.finish()
        return await _settle(plan, monitor, say)
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)


async def _settle(plan: Plan, monitor: Monitor, say: Say) -> float | None:
    """Wait until every partition has published everything."""
    begun = moved = time.monotonic()
    seen = dict(monitor.committed)
    while True:
        committed = monitor.committed
        if len(committed) == plan.partitions and all(
            position.watermark >= plan.last_mark for position in committed.values()
        ):
            return time.monotonic() - begun
        if committed != seen:
            seen, moved = dict(committed), time.monotonic()
        if time.monotonic() - moved > SETTLED_WITHIN:
            say(f"no progress for {SETTLED_WITHIN:.0f} s: {committed}")
            return None
        await asyncio.sleep(0.2)


async def _tell(nemesis: Nemesis, monitor: Monitor, say: Say) -> None:
    """A line for each fault, and now and then how far things are."""
    told = 0
    begun = last = time.monotonic()
    while True:
        await asyncio.sleep(0.5)
        now = time.monotonic()
        for fault in nemesis.faults[told:]:
            if not fault.ended:
                break
            say(f"{fault.began - begun:7.1f} s  {fault.kind} ({fault.ended - fault.began:.1f} s) {fault.detail}")
            told += 1
        if now - last > 30:
            last = now
            behind = min((p.watermark for p in monitor.committed.values()), default=0)
            say(f"{now - begun:7.1f} s  {nemesis.generator.written:,} written; the least watermark is {behind}")


def environment(plan: Plan, namespace: str, brokers: str, redis_url: str) -> dict[str, str]:
    """What a worker of a campaign is told; nothing that was set for another tracker."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRACKER_")}
    return {
        **kept,
        "TRACKER_BROKERS": brokers,
        "TRACKER_REDIS_URL": redis_url,
        "TRACKER_NAMESPACE": namespace,
        "TRACKER_CLOCK": "event",
        "TRACKER_PARTITIONS": str(plan.partitions),
        "TRACKER_METRICS_PORT": "0",
    }


def make_topics(env: Mapping[str, str]) -> None:
    """`tracker topics`."""
    command = [sys.executable, "-m", "tracker", "topics"]
    done = subprocess.run(command, env=dict(env), capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"tracker topics: {done.stdout}{done.stderr}")


def _write_faults(path: Path, nemesis: Nemesis) -> None:
    with path.open("w") as file:
        for fault in nemesis.faults:
            file.write(json.dumps(vars(fault)) + "\n")


def _write_rest(folder: Path, plan: Plan, kafka: KafkaServer, store: RedisServer, report: Report) -> None:
    """The report, what differed, the truth about the people it is about, and what the servers had to say."""
    (folder / "report.json").write_text(report.as_json())
    differences = report.verdict.differences
    with (folder / "differences.jsonl").open("w") as file:
        file.writelines(json.dumps(one, default=repr) + "\n" for one in differences)
    people = {int(one["person"][3:]) for one in differences if str(one.get("person", ""))[:3] in {"c:p", "a:v"}}
    with (folder / "events.jsonl").open("wb") as truth:
        for number in sorted(people):
            for sending in sorted(plan.life(number).sendings):
                truth.write(b'{"at":%d,"event":%b}\n' % (sending.at, sending.value))
    for server in (kafka, store):
        with contextlib.suppress(OSError):
            (folder / f"{server.name}.log").write_bytes((server.folder / "server.log").read_bytes())
