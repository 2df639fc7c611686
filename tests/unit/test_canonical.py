from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.raw import NOW, TOPICS, Raw, canonical, event, taken
from tracker.domain.events import Event
from tracker.stream.canonical import FUTURE_MS, OVERHEAD
from tracker.stream.sources import EventSource, WallSource
from tracker.wire.control import Merge, Progress, control_headers, control_kind, decode_control, encode_control
from tracker.wire.decode import decode_canonical


def test_an_event_five_minutes_past_its_record_is_kept_and_one_a_millisecond_later_is_replaced() -> None:
    (at,), mark = taken(Raw(event(NOW + FUTURE_MS)))
    assert (decode_canonical(at.value).ts, decode_canonical(at.value).flags) == (NOW + FUTURE_MS, None)
    (past,), _ = taken(Raw(event(NOW + FUTURE_MS + 1)))
    assert (decode_canonical(past.value).ts, decode_canonical(past.value).flags) == (NOW, ["ts_in_future"])
    assert mark == NOW, "time is at the broker's clock at most"


def test_an_event_that_grows_past_a_record_by_being_mended_is_a_dead_letter() -> None:
    numbers = b",".join([b"1e15"] * 50_000)
    value = event(NOW + FUTURE_MS + 1, properties=["here"]).replace(b'["here"]', b'{"n": [%b]}' % numbers)
    assert len(value) < 256 * 1024
    source = WallSource(0)
    (letter,), _ = canonical(record_bytes=900 * 1024).take([Raw(value)], source, NOW)
    assert letter.topic == TOPICS.dead_letters
    assert ("reason", b"too_large") in letter.headers
    assert letter.value == value


def test_a_merge_carries_the_time_that_the_event_was_given() -> None:
    out, _ = taken(Raw(event(NOW + FUTURE_MS + 1, customer_id="c")))
    assert decode_control("merge", out[1].value) == Merge("c:c", NOW)


def test_where_producers_set_the_time_the_wall_clock_at_reading_bounds_it() -> None:
    ahead = Raw(event(NOW + 86_400_000), timestamp=NOW + 86_400_000, timestamp_type=0)
    (record,), mark = taken(ahead)
    assert (decode_canonical(record.value).ts, mark) == (NOW, NOW)


@pytest.mark.parametrize("timestamp", [-1, 0, 17])
def test_a_record_without_a_time_of_its_own_counts_as_read_now(timestamp: int) -> None:
    (record,), mark = taken(Raw(event(NOW - 5), timestamp=timestamp, timestamp_type=0))
    assert (decode_canonical(record.value).ts, mark) == (NOW - 5, NOW - 5)


def test_under_the_event_clock_no_time_is_too_far_ahead_and_only_markers_count() -> None:
    later = NOW + 10 * 365 * 86_400_000
    marker = Raw(encode_control(Progress(later)), offset=9, headers=tuple(control_headers(Progress(0))))
    source = EventSource()
    out, offset = canonical(wall=False).take([Raw(event(later)), marker], source, NOW)
    assert decode_canonical(out[0].value).ts == later
    assert (len(out), offset, source.acknowledge()) == (1, 9, later)


def test_a_pair_of_ids_is_told_once_per_partition_and_only_of_real_ids() -> None:
    maker, source = canonical(), WallSource(0)
    pairs: list[dict[str, Any]] = [
        {"customer_id": "c1"},
        {"customer_id": "c1"},
        {"customer_id": "c2"},
        {"customer_id": "guest"},
        {"customer_id": "c1", "anonymous_id": "null"},
        {"customer_id": "c1", "anonymous_id": None},
    ]
    out = [record for pair in pairs for record in maker.take([Raw(event(**pair))], source, NOW)[0]]
    merges = [record for record in out if control_kind(record.headers) == "merge"]
    assert [decode_control("merge", record.value) for record in merges] == [Merge("c:c1", NOW), Merge("c:c2", NOW)]
    assert {record.key for record in merges} == {b"a:v"}
    assert len(out) == len(pairs) + 2


def test_the_least_recently_seen_pair_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.stream.links.REMEMBERED", 2)
    maker = canonical()
    told = []
    for customer in ("c1", "c2", "c1", "c3", "c1", "c2"):
        out, _ = maker.take([Raw(event(customer_id=customer))], WallSource(0), NOW)
        told.append(len(out) - 1)
    assert told == [1, 1, 0, 1, 0, 1]


def test_an_event_larger_than_the_broker_takes_becomes_a_letter() -> None:
    maker = canonical(record_bytes=OVERHEAD + 300)
    (small,), _ = maker.take([Raw(event())], WallSource(0), NOW)
    assert small.topic == TOPICS.events
    (letter,), _ = maker.take([Raw(event(url="u" * 300))], WallSource(0), NOW)
    assert (letter.topic, dict(letter.headers)["reason"]) == (TOPICS.dead_letters, b"too_large")


def test_what_nobody_thought_of_is_that_records_fault_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(event: Event, value: bytes) -> Any:
        raise OverflowError(event, value)

    monkeypatch.setattr("tracker.wire.decode.check", broken)
    (letter,), mark = taken(Raw(event()))
    assert (letter.topic, dict(letter.headers)["reason"]) == (TOPICS.dead_letters, b"unexpected")
    assert mark is None


def test_an_event_without_a_time_has_its_records_and_none_where_the_clock_is_the_events() -> None:
    value = json.dumps({"event_id": "e", "type": "page_viewed", "anonymous_id": "v"}).encode()
    (record,), mark = taken(Raw(value, timestamp=NOW - 5))
    assert (decode_canonical(record.value).ts, mark) == (NOW - 5, NOW - 5)
    (letter,), _ = taken(Raw(value), wall=False)
    assert (letter.topic, dict(letter.headers)["reason"]) == (TOPICS.dead_letters, b"missing_ts")


def test_flags_are_ours_to_set() -> None:
    (record,), _ = taken(Raw(event(flags=["ts_in_future"])))
    assert decode_canonical(record.value).flags is None
