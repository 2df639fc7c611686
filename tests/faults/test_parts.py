"""The harness' own parts: a truth that is what it says, and a verdict that cannot be clean where something is wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from tests.faults.lives import DISORDER, LATENESS, Kind
from tests.faults.monitor import Fault, Monitor
from tests.faults.plan import Plan, Timeline, mark_after
from tests.faults.poison import KEY, poison
from tests.faults.proxy import Proxy
from tests.faults.verdict import Verdict, compare_sequences
from tests.faults.workers import Lines, Pool
from tests.properties.log import LogRecord
from tracker.metrics import Tally
from tracker.stream.canonical import Canonical
from tracker.stream.settling import SETTLED
from tracker.stream.sources import EventSource
from tracker.wire.decode import encode_event
from tracker.wire.position import Position
from tracker.wire.reading import AUTO, reader_of
from tracker.wire.topics import Topics

PLAN = Plan(seed=3, minutes=0.5, rate=300)


def test_what_is_written_in_rounds_is_what_the_truth_says_was_sent() -> None:
    timeline = Timeline(PLAN)
    written = [sending for tick in range(PLAN.ticks + 1) for sending in timeline.until(PLAN.time_of(tick))]
    assert [sending.at for sending in written] == sorted(sending.at for sending in written)
    values = Counter(sending.value for sending in written)
    lives = [PLAN.life(number) for number in range(PLAN.people)]
    assert set(values) == {encode_event(event) for life in lives for event in life.sent_until(PLAN.end)}
    assert values.total() > len(values), "some are written twice"
    assert {life.kind for life in lives} == set(Kind)


def test_a_marker_never_runs_ahead_of_what_is_not_late_on_purpose() -> None:
    for number in range(500):
        life = PLAN.life(number)
        first = {sending.place: sending.at for sending in reversed(life.sendings)}
        for sending in life.sendings:
            event = life.events[sending.place]
            late = first[sending.place] - event.ts >= DISORDER
            assert not late or life.kind in {Kind.LATE, Kind.TARDY}
            if not late:
                assert event.ts > mark_after(sending.at) - (0 if sending.at == first[sending.place] else LATENESS)


def test_every_poison_becomes_a_dead_letter_and_moves_no_time() -> None:
    random, topics, clock = Random(1), Topics(), EventSource()
    canonical = Canonical(
        topics, {topics.events: 4, topics.dead_letters: 4}, reader_of(AUTO), Tally(), 1_000_000, wall=False
    )
    made = [poison(random) for _ in range(500)]
    records = [LogRecord(number, KEY, value or b"", headers) for number, (value, headers) in enumerate(made)]
    out, marker = canonical.take(records, clock, 0)
    assert [record.topic for record in out] == [topics.dead_letters] * len(made)
    assert marker is None
    assert clock.acknowledge() is None


def outputs(*names: str) -> list[tuple[bytes, bytes]]:
    """Outputs written as person and number, such as a1."""
    return [(name[:1].encode(), name.encode()) for name in names]


@pytest.mark.parametrize(
    ("found", "violations"),
    [
        (("a1", "b1", "a2"), {}),
        (("b1", "a1", "a2"), {}),
        (("a1", "b1"), {"outputs missing": 1}),
        (("a1", "b1", "a2", "a1"), {"outputs duplicated": 1}),
        (("a2", "b1", "a1"), {"outputs out of order": 1}),
        (("a1", "b1", "a2", "c1"), {"outputs nobody expects": 1}),
        (("a2", "a1", "a1"), {"outputs missing": 1, "outputs duplicated": 1, "outputs out of order": 1}),
    ],
)
def test_what_is_missing_double_foreign_or_out_of_a_persons_order_is_named(
    found: tuple[str, ...], violations: dict[str, int]
) -> None:
    verdict = Verdict()
    compare_sequences(verdict, "topic/0", outputs("a1", "b1", "a2"), outputs(*found))
    assert verdict.violations == violations
    assert verdict.clean == (not violations)


def test_progress_counts_from_what_was_committed_once_the_fault_had_its_effect() -> None:
    monitor = Monitor("", Topics(), 2)

    def at(asked: float, first: int, second: int) -> None:
        monitor.polls.append((asked, {0: (first, 0, b""), 1: (second, 0, b"")}))

    at(9.0, 1, 1)
    at(10.1, 5, 5)  # before the fault had its effect: no sign of life
    at(10.6, 7, 5)
    at(11.0, 9, 5)
    at(14.0, 9, 8)
    recovery = monitor.recovery(Fault("kill9", 10.0, 10.3))
    assert recovery.first == pytest.approx(1.0)
    assert recovery.all == pytest.approx(4.0)
    assert monitor.recovery(Fault("kill9", 13.0, 13.5)).all is None


def test_first_progress_is_that_of_the_partitions_that_the_fault_touched() -> None:
    monitor = Monitor("", Topics(), 3)
    for asked, *offsets in ((10.0, 1, 1, 1), (11.0, 2, 1, 1), (12.0, 3, 2, 1), (15.0, 4, 3, 2)):
        monitor.polls.append((asked, {number: (int(offset), 0, b"") for number, offset in enumerate(offsets)}))
    recovery = monitor.recovery(Fault("kill9", 10.0, 10.0, touched=[1, 2]))
    assert (recovery.first, recovery.all) == (2.0, 5.0)
    assert monitor.recovery(Fault("kill9", 10.0, 12.0, touched=[0])).first == 5.0
    assert monitor.recovery(Fault("broker_kill9", 10.0, 10.0)).first == 1.0


def test_a_partition_belongs_to_the_worker_that_took_it_up_last(tmp_path: Path) -> None:
    pool = Pool({}, tmp_path, [Lines(Proxy(0, 0), Proxy(0, 0)) for _ in range(2)], ["true"])
    first, second = pool.add(), pool.add()
    line = "2026-01-01 00:00:0%d,000 INFO tracker.stream.processor: %s: faults.journey.events/%d from offset 7\n"
    first.log.write_text(line % (1, "track", 0) + line % (1, "track", 1) + line % (4, "track", 2))
    second.log.write_text(line % (3, "track", 1) + line % (2, "track", 2) + line % (5, "ingest", 0))
    assert (pool.owned(first), pool.owned(second)) == ([0, 2], [1])
    pool.kill_all()


def test_a_position_that_falls_counts_only_where_it_stays() -> None:
    monitor = Monitor("broker", Topics(), 1)
    where = TopicPartition(Topics().events, 0)

    def note(asked: float, offset: int) -> None:
        monitor._note(asked, {where: OffsetAndMetadata(offset, Position(offset).encode())})

    for asked, offset in ((0.0, 5), (1.0, 9), (2.0, 1), (4.0, 1), (5.0, 10)):
        note(asked, offset)
    assert (monitor.fallen, monitor.backwards, monitor.committed[0].offset) == ({}, [], 10)
    note(6.0, 2)
    assert list(monitor.fallen) == [0]
    note(6.0 + SETTLED + 1, 2)
    assert monitor.backwards == ['partition 0: from {"offset":10} to {"offset":2}']
