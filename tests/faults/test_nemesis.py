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
    one = Nemesis(Random(seed), nobody, nobody, nobody, nobody, nobody, nobody)
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
