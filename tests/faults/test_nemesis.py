"""The nemesis does every kind of fault, equally often, the same for the same seed, and never two that collide."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.faults import nemesis
from tests.faults.monitor import Fault
from tests.faults.nemesis import KINDS, Nemesis
from tests.faults.proxy import Proxy
from tests.faults.workers import Lines, Pool


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, set[str]]]:
    """(kind, what was under way when it began), of faults that do nothing for no time."""
    under_way: set[str] = set()
    done: list[tuple[str, set[str]]] = []

    async def fault(_: Nemesis, fault: Fault) -> None:
        done.append((fault.kind, set(under_way)))
        under_way.add(fault.kind)
        await asyncio.sleep(0.001)
        under_way.remove(fault.kind)

    monkeypatch.setattr(nemesis, "KINDS", dict.fromkeys(KINDS, fault))
    monkeypatch.setattr(nemesis, "LONGEST_PAUSE", 0.0)
    return done


async def act(seed: int, seconds: float) -> None:
    nobody: Any = None
    one = Nemesis(Random(seed), nobody, nobody, nobody, nobody)
    one._snapshot, one._taken = Path("there"), time.monotonic()
    await one.run(list(KINDS), time.monotonic() + seconds)


async def test_every_kind_comes_even_where_the_time_is_short(done: list[tuple[str, set[str]]]) -> None:
    await act(1, 0.0)
    assert Counter(kind for kind, _ in done) == dict.fromkeys(KINDS, 1)


async def test_all_come_equally_often_and_those_that_come_together_concern_something_else(
    done: list[tuple[str, set[str]]],
) -> None:
    await act(1, 0.5)
    times = Counter(kind for kind, _ in done)
    assert min(times.values()) >= 3
    assert max(times.values()) - min(times.values()) <= 1
    together = [(kind, other) for kind, others in done for other in others]
    assert together
    assert not [pair for pair in together if nemesis._concerns(pair[0]) == nemesis._concerns(pair[1])]


async def test_the_same_seed_does_the_same(done: list[tuple[str, set[str]]]) -> None:
    orders = []
    for seed in (3, 3, 4):
        done.clear()
        await act(seed, 0.0)
        orders.append([kind for kind, _ in done])
    assert orders[0] == orders[1] != orders[2]


async def test_the_network_of_one_worker_is_broken_or_that_of_all_and_it_heals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody: Any = None
    pool = Pool({}, tmp_path, [Lines(Proxy(0, 0), Proxy(0, 0)) for _ in range(4)], ["sleep", "60"])
    try:
        workers = [pool.add() for _ in range(3)]
        assert [worker.lines for worker in workers] == list(pool.lines[:3])
        broken: list[list[bool]] = []

        async def look(*_: float) -> None:
            broken.append([lines.redis.refusing for lines in pool.lines])
            assert not any(lines.kafka.refusing for lines in pool.lines)

        one = Nemesis(Random(1), pool, nobody, nobody, nobody)
        monkeypatch.setattr(one, "_wait", look)
        for _ in range(20):
            await one.redis_cut(Fault("redis_cut", 0.0, 0.0))
            assert not any(lines.redis.refusing for lines in pool.lines)
        assert {sum(refusing) for refusing in broken} == {1, 4}
        assert len({tuple(refusing) for refusing in broken}) == 4, "each of the workers is met"
    finally:
        pool.kill_all()


def test_lines_are_free_again_once_their_worker_has_ended(tmp_path: Path) -> None:
    pool = Pool({}, tmp_path, [Lines(Proxy(0, 0), Proxy(0, 0)) for _ in range(2)], ["sleep", "60"])
    try:
        first, second = pool.add(), pool.add()
        pool.kill(first)
        assert pool.add().lines is first.lines is not second.lines
    finally:
        pool.kill_all()
