"""Ingest under records that nobody should send.

python -m tests.dialects.fuzz [--records 10000000] [--seed 1] [--processes 2]

Mutated records of every dialect (`tests.dialects.mutation`) go through ingest in batches, both as their dialect and as
any, under both clocks. Whatever comes: nothing is raised and nothing is `unexpected`; what goes in comes out as events
or as dead letters; every event that comes out can be read by track; time moves only by what was accepted. The record
that breaks one of these is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from multiprocessing import get_context
from random import Random
from typing import NamedTuple

import click

from tests.dialects.mutation import EXAMPLE, MAPPED, Mutant, Seed, mutated, seeds
from tracker.domain.units import NEVER
from tracker.errors import BadEvent
from tracker.metrics import Tally
from tracker.stream.canonical import LOG_APPEND_TIME, Canonical
from tracker.stream.sources import EventSource, WallSource
from tracker.wire.control import control_kind, decode_control
from tracker.wire.decode import REASONS, decode_event
from tracker.wire.dialects import Dialect
from tracker.wire.reading import AUTO, reader_of
from tracker.wire.topics import Topics
from tracker.wiring.mappings import load_mapping

BATCH = 500
NOW = 1_780_000_000_000
RECORD_BYTES = 1_000_000
TOPICS = Topics("", ("shop.clicks",))
PARTITIONS = {TOPICS.events: 4, TOPICS.dead_letters: 1}


class Raw(NamedTuple):
    """A record as the broker's client hands it over."""

    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    offset: int
    timestamp: int = NOW
    timestamp_type: int = LOG_APPEND_TIME
    key: bytes | None = None
    topic: str = "shop.clicks"
    partition: int = 0


class Broken(Exception):
    """One of the properties does not hold."""


def batch(grown: list[Seed], seed: int, number: int) -> list[Mutant]:
    """The records of a batch: the same for the same numbers."""
    random = Random(f"{seed}/{number}")
    return [mutated(random.choice(grown), random) for _ in range(BATCH)]


def examine(records: Sequence[Mutant], dialect: str, *, wall: bool) -> Counter[str]:
    """What became of them: `accepted`, `skipped`, `marker`, or a dead letter's reason. Raises `Broken`."""
    tally = Tally()
    ingest = Canonical(TOPICS, PARTITIONS, reader_of(_spoken(dialect)), tally, RECORD_BYTES, wall=wall)
    source = WallSource(0) if wall else EventSource()
    raw = [Raw(record.value, record.headers, offset) for offset, record in enumerate(records)]
    markers = [one for one in raw if one.headers and control_kind(one.headers) == "progress"]
    try:
        out, _ = ingest.take(raw, source, NOW)
    except Exception as error:
        raise Broken(f"raised {error!r}") from error
    letters = [one for one in out if one.topic == TOPICS.dead_letters]
    found = Counter(tally.dead_letters)
    if found.total() != len(letters) or not found.keys() <= set(REASONS):
        raise Broken(f"counted {dict(found)}, wrote {len(letters)} dead letters")
    for letter in letters:
        headers = dict(letter.headers)
        if headers["reason"] == b"unexpected":
            raise Broken(f"unexpected: {headers['detail']!r}")
    found["accepted"] = sum(tally.dialects.values()) - sum(tally.skipped.values())
    found["skipped"] = sum(tally.skipped.values())
    found["marker"] = len(raw) - found.total()
    if not 0 <= found["marker"] <= len(markers):
        raise Broken(f"{len(raw)} records went in, {dict(found)} came out")
    newest = NEVER
    for one in out:
        if one.topic == TOPICS.events and control_kind(one.headers) is None:
            try:
                newest = max(newest, min(decode_event(one.value).ts, NOW))
            except BadEvent as error:
                raise Broken(f"{error}: not for track to read: {one.value!r:.2000}") from error
    mark = source.acknowledge()
    if wall and (NEVER if mark is None else mark) != newest:
        raise Broken(f"time is at {mark}, the newest event at {newest}")
    if not wall and mark is not None and mark not in {_said(marker) for marker in markers}:
        raise Broken(f"time is at {mark}, which no marker said")
    return found


@cache
def _spoken(dialect: str) -> str | Dialect:
    return load_mapping(EXAMPLE.with_suffix(".yaml"))[0] if dialect == MAPPED else dialect


def _said(marker: Raw) -> int | None:
    try:
        return getattr(decode_control("progress", marker.value), "ts", None)
    except BadEvent:
        return None


def offender(records: Sequence[Mutant], dialect: str, *, wall: bool) -> str:
    """The first record that alone breaks a property, in words; all of them where it takes several."""
    for record in records:
        try:
            examine([record], dialect, wall=wall)
        except Broken as error:
            said = f"{error!s:.1500}\nread as {dialect}, wall={wall}, of {record.dialect}, {record.headers!r:.500}:"
            return f"{said}\n{record.value!r:.20000}"
    return f"no record alone, {len(records)} together, read as {dialect}, wall={wall}"


def run(grown: list[Seed], numbers: range, seed: int) -> Iterator[Counter[str]]:
    """Batch after batch. Raises `Broken` with the record that did it."""
    for number in numbers:
        records = batch(grown, seed, number)
        wall = number % 3 != 0
        for dialect, own in _readings(records, by_name=number % 2 == 0):
            try:
                yield examine(own, dialect, wall=wall)
            except Broken as error:
                raise Broken(f"batch {number}: {error}\n{offender(own, dialect, wall=wall)}") from error


def _readings(records: list[Mutant], *, by_name: bool) -> Iterator[tuple[str, list[Mutant]]]:
    if not by_name:
        yield AUTO, records
        return
    for dialect in sorted({record.dialect for record in records}):
        yield dialect, [record for record in records if record.dialect == dialect]


def _work(numbers: range, seed: int, share: int) -> Counter[str]:
    found: Counter[str] = Counter()
    begin = said = time.monotonic()
    for counted in run(seeds(), numbers, seed):
        found += counted
        if time.monotonic() - said > 20:
            said = time.monotonic()
            rate = found.total() / (said - begin)
            click.echo(f"process {share}: {found.total():,} records, {rate:,.0f} a second, {_words(found)}")
    return found


def _words(found: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in found.most_common())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    chosen = parser.parse_args()
    batches = -(-chosen.records // BATCH)
    shares = [(range(share, batches, chosen.processes), chosen.seed, share) for share in range(chosen.processes)]
    try:
        with get_context("spawn").Pool(chosen.processes) as pool:
            found = sum(pool.starmap(_work, shares, chunksize=1), Counter[str]())
    except Broken as error:
        click.echo(f"seed {chosen.seed}, {error}")
        return 1
    click.echo(f"seed {chosen.seed}: {found.total():,} records, all well: {_words(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
