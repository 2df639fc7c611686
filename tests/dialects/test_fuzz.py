"""A short run of `tests.dialects.fuzz`; the long one is its command."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.dialects.fuzz import BATCH, Broken, batch, examine, offender, run
from tests.dialects.mutation import MAPPED, Mutant, seeds
from tracker.wire.dialects import DIALECTS
from tracker.wire.reading import AUTO, CANONICAL

BATCHES = 40


def test_whatever_comes_in_comes_out_as_events_or_dead_letters_and_moves_no_time_that_it_should_not() -> None:
    found = sum(run(seeds(), range(BATCHES), 1), Counter[str]())
    assert found.total() == BATCHES * BATCH
    assert found["accepted"] > found.total() / 10, "mutants must not all be refused at the door"
    assert {"not_json", "wrong_type", "too_deep", "bad_ts", "no_identity"} <= found.keys()


def test_every_dialect_is_mutated_and_every_seed_is_right() -> None:
    grown = seeds()
    assert {seed.dialect for seed in grown} | {"rudderstack"} >= {CANONICAL, *(dialect.name for dialect in DIALECTS)}
    for seed in grown:
        spoken = MAPPED if seed.dialect == MAPPED else AUTO
        found = examine([Mutant(seed.dialect, seed.value, seed.headers)], spoken, wall=True)
        assert +found in ({"accepted": 1}, {"skipped": 1}, {"marker": 1}), seed


def test_the_same_seed_gives_the_same_records() -> None:
    grown = seeds()
    assert batch(grown, 1, 7) == batch(grown, 1, 7) != batch(grown, 2, 7)


def test_a_record_that_ingest_cannot_bear_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    grown = seeds()

    def fragile(value: bytes | None) -> None:
        if value is not None and b"solveig" in value:
            raise OSError(value)

    monkeypatch.setattr("tracker.wire.reading.quick", fragile)
    with pytest.raises(Broken, match="raised OSError"):
        list(run(grown, range(1, 9, 2), 1))
    assert "solveig" in offender(batch(grown, 1, 1), AUTO, wall=True)
