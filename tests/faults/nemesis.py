"""The nemesis: does to workers, broker, store and network what can happen to them, in a seeded random order.

Each kind of fault is a method of `Nemesis` with its name; it returns when the disturbance is over, though not what
follows from it. Kinds come from a bag that is shuffled and emptied again and again, so all come equally often, with
random pauses between them: sometimes none, so that a fault meets the recovery from the last one. Now and then two come
together, of workers, Kafka or Redis and of another of these. What is done to the network is done to one worker's or to
all workers', as often.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

import redis

from tests.faults.generator import Generator
from tests.faults.monitor import Fault
from tests.faults.proxy import Proxy
from tests.faults.workers import Pool, Worker
from tests.services import KafkaServer, RedisServer

Server = Literal["kafka", "redis"]

SESSION_TIMEOUT = 10.0
"""Seconds after which the group takes a silent worker's partitions away (`tracker/broker/kafka.py`)."""
ROUGHLY = 9.0
"""Seconds that a fault takes on average, to spread them over the time there is."""
LONGEST_PAUSE = 8.0
"""Seconds between two faults on average, where there is much time."""
TOGETHER = 0.2
"""How often two come together."""
SNAPSHOT_AGE = 30.0
"""Seconds after which a snapshot of Redis may be replaced by another."""


@dataclass
class Nemesis:
    """`kafka` and `store` are the servers, which the workers of `pool` reach through lines of their own."""

    random: Random
    pool: Pool
    kafka: KafkaServer
    store: RedisServer
    generator: Generator
    faults: list[Fault] = field(default_factory=list)
    _snapshot: Path | None = None
    _taken: float = 0.0

    async def run(self, kinds: Sequence[str], until: float) -> None:
        """One fault after the other until `time.monotonic()` is `until`; every kind at least once, if it takes
        longer."""
        first = True
        while first or time.monotonic() < until:
            bag = list(kinds)
            self.random.shuffle(bag)
            while bag:
                left = until - time.monotonic()
                if not first and left < 0:
                    return
                share = max(left, 0.0) / len(bag)
                pause = min(max(share - ROUGHLY, 0.5), LONGEST_PAUSE)
                await asyncio.sleep(self.random.uniform(0, 2) * pause)
                if self._snapshot is None or (
                    time.monotonic() - self._taken > SNAPSHOT_AGE and self.random.random() < 0.3
                ):
                    await self._save()
                together = [bag.pop()]
                if bag and _concerns(bag[-1]) != _concerns(together[0]) and self.random.random() < TOGETHER:
                    together.append(bag.pop())
                async with asyncio.TaskGroup() as group:
                    for kind in together:
                        group.create_task(self.do(kind))
            first = False

    async def do(self, kind: str) -> None:
        """One fault."""
        fault = Fault(kind, time.monotonic(), time.monotonic())
        self.faults.append(fault)
        try:
            await KINDS[kind](self, fault)
        finally:
            fault.ended = time.monotonic()

    def heal(self) -> None:
        """Undo what a fault that was broken off may have left."""
        for lines in self.pool.lines:
            lines.kafka.heal()
            lines.redis.heal()
        for worker in self.pool.running:
            if worker.frozen:
                worker.send(signal.SIGCONT)
                worker.frozen = False
        self._configure("maxmemory", "0")

    # Workers

    async def kill9(self, fault: Fault) -> None:
        """kill -9 of a worker, which comes back after a moment."""
        worker = self._pick(fault)
        self.pool.kill(worker)
        _took_effect(fault, worker.name)
        await self._wait(0, 2)
        self.pool.add()

    async def zombie(self, fault: Fault) -> None:
        """A worker stops for longer than its session lasts, then goes on as if nothing had happened."""
        worker = self._pick(fault)
        worker.frozen = True
        worker.send(signal.SIGSTOP)
        _took_effect(fault, worker.name)
        await asyncio.sleep(SESSION_TIMEOUT + self.random.uniform(1, 5))
        worker.send(signal.SIGCONT)
        worker.frozen = False

    async def sigterm(self, fault: Fault) -> None:
        """A worker is told to end, as in a deployment."""
        worker = self._pick(fault)
        _took_effect(fault, worker.name)
        await self.pool.stop(worker)
        self.pool.add()

    async def rebalances(self, fault: Fault) -> None:
        """Workers are added and removed faster than the group can settle."""
        _took_effect(fault, "")
        count = len(self.pool.running)
        for _ in range(self.random.randint(3, 5)):
            if len(self.pool.running) > count or (len(self.pool.running) > 1 and self.random.random() < 0.4):
                await self.pool.stop(self.pool.pick(self.random))
            else:
                self.pool.add()
            await self._wait(0.3, 2)
        while len(self.pool.running) < count:
            self.pool.add()
        while len(self.pool.running) > count:
            await self.pool.stop(self.pool.pick(self.random))

    # Broker

    async def broker_restart(self, fault: Fault) -> None:
        """The broker is stopped in order and started."""
        await asyncio.to_thread(self.kafka.stop)
        _took_effect(fault)
        await self._wait(0, 3)
        await asyncio.to_thread(self.kafka.start)

    async def broker_kill9(self, fault: Fault) -> None:
        """kill -9 of the broker."""
        await asyncio.to_thread(self.kafka.kill)
        _took_effect(fault)
        await self._wait(0, 3)
        await asyncio.to_thread(self.kafka.start)

    # Store

    async def redis_restart(self, fault: Fault) -> None:
        """Redis is stopped in order and started with its append-only file."""
        await asyncio.to_thread(self.store.stop)
        _took_effect(fault)
        await self._wait(0, 3)
        await asyncio.to_thread(self.store.start)

    async def redis_kill9(self, fault: Fault) -> None:
        """kill -9 of Redis, with `appendfsync always` only, which it is set to for this: it comes back with every
        commit that it acknowledged. What is lost under `everysec` is `redis_rollback`."""
        self._configure("appendfsync", "always")
        await self._wait(0.5, 1.5)
        fault.began = time.monotonic()
        await asyncio.to_thread(self.store.kill)
        _took_effect(fault)
        await self._wait(0, 2)
        await asyncio.to_thread(self.store.start)

    async def redis_flush(self, fault: Fault) -> None:
        """All of Redis' data is gone."""
        with redis.Redis.from_url(self.store.url) as store:
            store.flushall()
        _took_effect(fault)

    async def redis_rollback(self, fault: Fault) -> None:
        """Redis comes back with the data of a while ago."""
        assert self._snapshot is not None
        if time.monotonic() - self._taken < 3:
            await self._wait(3, 6)
            fault.began = time.monotonic()
        fault.detail = f"{time.monotonic() - self._taken:.0f} s back"
        await asyncio.to_thread(self.store.restore, self._snapshot)
        _took_effect(fault, fault.detail)
        await self._save()

    async def redis_full(self, fault: Fault) -> None:
        """Redis is at `maxmemory` and refuses to write."""
        with redis.Redis.from_url(self.store.url) as store:
            self._configure("maxmemory", str(store.info("memory")["used_memory"]))
        _took_effect(fault)
        await self._wait(3, 8)
        self._configure("maxmemory", "0")

    # Network

    async def kafka_cut(self, fault: Fault) -> None:
        """A worker, or all, cannot reach the broker."""
        await self._cut("kafka", fault)

    async def redis_cut(self, fault: Fault) -> None:
        """A worker, or all, cannot reach Redis."""
        await self._cut("redis", fault)

    async def kafka_reset(self, fault: Fault) -> None:
        """Connections to the broker are reset, some at a time."""
        await self._reset("kafka", fault)

    async def redis_reset(self, fault: Fault) -> None:
        """Connections to Redis are reset, some at a time."""
        await self._reset("redis", fault)

    async def kafka_delay(self, fault: Fault) -> None:
        """The network to the broker is slow."""
        await self._slow("kafka", fault)

    async def redis_delay(self, fault: Fault) -> None:
        """The network to Redis is slow."""
        await self._slow("redis", fault)

    async def kafka_stall(self, fault: Fault) -> None:
        """The network to the broker holds everything back for a while."""
        await self._hold("kafka", fault)

    async def redis_stall(self, fault: Fault) -> None:
        """The network to Redis holds everything back for a while."""
        await self._hold("redis", fault)

    # Input

    async def poison(self, fault: Fault) -> None:
        """Records that are no events."""
        count = self.random.randint(50, 300)
        self.generator.add_poison(count)
        _took_effect(fault, f"{count} records")

    def _pick(self, fault: Fault) -> Worker:
        """The worker that a fault is done to."""
        worker = self.pool.pick(self.random)
        fault.touched = self.pool.owned(worker)
        return worker

    def _network(self, server: Server, fault: Fault) -> list[Proxy]:
        """What one worker or all reach a server through."""
        if self.random.random() < 0.5:
            worker = self._pick(fault)
            assert worker.lines is not None
            fault.one = True
            fault.detail = f"{worker.name} "
            return [getattr(worker.lines, server)]
        fault.detail = "all "
        return [getattr(lines, server) for lines in self.pool.lines]

    async def _cut(self, server: Server, fault: Fault) -> None:
        proxies = self._network(server, fault)
        for proxy in proxies:
            proxy.refusing = True
            proxy.cut()
        _took_effect(fault, fault.detail)
        await self._wait(2, 7)
        _heal(proxies)

    async def _reset(self, server: Server, fault: Fault) -> None:
        proxies = self._network(server, fault)
        cut = 0
        for _ in range(self.random.randint(2, 5)):
            share = self.random.uniform(0.3, 1.0)
            cut += sum(proxy.reset(share, self.random) for proxy in proxies)
            await self._wait(0.2, 1)
        _took_effect(fault, f"{fault.detail}{cut} connections")

    async def _slow(self, server: Server, fault: Fault) -> None:
        proxies = self._network(server, fault)
        delay = self.random.uniform(0.05, 0.4)
        for proxy in proxies:
            proxy.delay = delay
        _took_effect(fault, f"{fault.detail}{delay * 1000:.0f} ms each way")
        await self._wait(4, 8)
        _heal(proxies)

    async def _hold(self, server: Server, fault: Fault) -> None:
        proxies = self._network(server, fault)
        for proxy in proxies:
            proxy.stall(True)
        _took_effect(fault, fault.detail)
        await self._wait(3, 12)
        _heal(proxies)

    async def _wait(self, least: float, most: float) -> None:
        await asyncio.sleep(self.random.uniform(least, most))

    async def _save(self) -> None:
        self._snapshot = await asyncio.to_thread(self.store.snapshot)
        self._taken = time.monotonic()

    def _configure(self, name: str, value: str) -> None:
        with redis.Redis.from_url(self.store.url) as store:
            store.config_set(name, value)


def _concerns(kind: str) -> str:
    """What a kind of fault is done to; two of the same would get in each other's way."""
    what = kind.partition("_")[0]
    return {"broker": "kafka", "kafka": "kafka", "redis": "redis", "poison": "input"}.get(what, "workers")


def _heal(proxies: Sequence[Proxy]) -> None:
    for proxy in proxies:
        proxy.heal()


def _took_effect(fault: Fault, detail: str = "") -> None:
    fault.effective = time.monotonic()
    fault.detail = detail


KINDS: dict[str, Callable[[Nemesis, Fault], Awaitable[None]]] = {
    kind.__name__: kind
    for kind in (
        Nemesis.kill9,
        Nemesis.zombie,
        Nemesis.sigterm,
        Nemesis.rebalances,
        Nemesis.broker_restart,
        Nemesis.broker_kill9,
        Nemesis.redis_restart,
        Nemesis.redis_kill9,
        Nemesis.redis_flush,
        Nemesis.redis_rollback,
        Nemesis.redis_full,
        Nemesis.kafka_cut,
        Nemesis.redis_cut,
        Nemesis.kafka_reset,
        Nemesis.redis_reset,
        Nemesis.kafka_delay,
        Nemesis.redis_delay,
        Nemesis.kafka_stall,
        Nemesis.redis_stall,
        Nemesis.poison,
    )
}
"""Every kind of fault by its name, with a docstring that says what happens."""
