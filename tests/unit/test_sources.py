from __future__ import annotations

import pytest

from tracker.stream.sources import EventSource, SourceClock, WallSource

BEHIND = 30_000
T0 = 1_700_000_000_000


def wall(floor: int | None = None) -> WallSource:
    return WallSource(BEHIND, floor)


def test_a_source_says_nothing_before_it_knows_anything() -> None:
    for source in (wall(), EventSource()):
        assert source.acknowledge() is None


def test_the_first_response_proves_nothing_because_nobody_knows_when_its_request_left() -> None:
    source = wall()
    source.answered(position=5, end=5, at=T0)
    assert source.acknowledge() is None


def test_a_source_is_fully_read_as_of_the_response_before_the_one_that_found_nothing_more() -> None:
    source = wall()
    source.answered(5, 5, T0)
    source.answered(5, 5, T0 + 500)
    assert source.acknowledge() == T0 - BEHIND


def test_seeing_the_same_response_twice_adds_nothing() -> None:
    source = wall()
    source.answered(5, 5, T0)
    source.answered(5, 5, T0)
    assert source.acknowledge() is None


def test_one_record_short_of_the_high_watermark_is_a_backlog() -> None:
    source = wall()
    source.answered(4, 5, T0)
    source.answered(4, 5, T0 + 500)
    assert source.acknowledge() is None
    source.answered(5, 5, T0 + 500)
    assert source.acknowledge() == T0 - BEHIND


def test_a_process_that_was_stopped_for_an_hour_does_not_look_caught_up() -> None:
    source = wall()
    source.answered(5, 5, T0)
    source.answered(5, 5, T0 + 500)
    source.acknowledge()
    # The next response lay in the socket for an hour: its request left right after T0 + 500.
    source.answered(5, 5, T0 + 3_600_000)
    assert source.acknowledge() == T0 + 500 - BEHIND


def test_nothing_counts_before_it_is_acknowledged() -> None:
    source = wall()
    source.answered(5, 5, T0)
    source.answered(9, 9, T0 + 500)
    source.read(T0 + 100)
    assert source.mark is None
    assert source.acknowledge() == T0 + 100 - BEHIND


def test_in_a_backlog_time_is_that_of_the_newest_event_read() -> None:
    source = wall()
    for time in (T0 - 7_000, T0 - 9_000, T0 - 8_000):
        source.read(time)
    assert source.acknowledge() == T0 - 7_000 - BEHIND


def test_a_mark_never_falls() -> None:
    source = wall(floor=T0)
    source.read(T0 + BEHIND - 1)
    assert source.acknowledge() == T0
    source.read(T0 + BEHIND + 1)
    assert source.acknowledge() == T0 + 1
    source.read(T0)
    assert source.acknowledge() == T0 + 1


def test_a_late_answer_of_an_old_leader_with_a_lower_end_is_not_believed() -> None:
    source = wall()
    source.answered(5, 9, T0)
    source.answered(5, 5, T0 + 500)
    assert source.acknowledge() is None


def test_a_topic_that_was_made_anew_can_be_fully_read_again() -> None:
    source = wall()
    source.answered(9, 9, T0)
    source.answered(0, 2, T0 + 500)
    source.answered(2, 2, T0 + 500)
    assert source.acknowledge() == T0 - BEHIND


def test_a_clock_that_was_set_back_gives_the_earlier_time() -> None:
    source = wall()
    source.answered(5, 5, T0)
    source.answered(5, 5, T0 - 60_000)
    assert source.acknowledge() == T0 - 60_000 - BEHIND


def test_under_the_wall_clock_progress_markers_mean_nothing() -> None:
    source = wall()
    source.progress(T0)
    assert source.acknowledge() is None


def test_under_the_event_clock_only_markers_move_time_and_nothing_is_subtracted() -> None:
    source = EventSource()
    source.read(T0)
    source.answered(5, 5, T0)
    source.answered(5, 5, T0 + 500)
    assert source.acknowledge() is None
    source.progress(T0)
    source.progress(T0 - 1)
    assert source.mark is None
    assert source.acknowledge() == T0


@pytest.mark.parametrize("source", [WallSource(BEHIND, T0), EventSource(T0)])
def test_a_source_that_comes_back_to_a_process_keeps_what_it_said(source: SourceClock) -> None:
    assert source.acknowledge() == T0
