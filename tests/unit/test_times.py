from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.errors import BadEvent
from tracker.wire.bounds import MAX_TS, MIN_TS
from tracker.wire.times import milliseconds, scaled

MOMENT = 1_772_442_000_000
"""2026-03-02T09:00:00Z"""


RUBBISH: list[object] = [None, True, "", "yesterday", 0, -5, 17, "17", 10**400, float("nan"), float("inf"), [], {}]
RUBBISH += [{"$date": None}, {"$date": {"$date": 1_772_442_000_000}}, {"$date": 1_772_442_000_000, "zone": "UTC"}]
RUBBISH += ["9999-01-01T00:00:00Z", "1" * 5000, "1.2.3", "٣", "0001-01-01T00:00:00+23:59"]


@pytest.mark.parametrize(
    "written",
    [
        1_772_442_000,
        1_772_442_000.0,
        1_772_442_000_000,
        1_772_442_000_000_000,
        1_772_442_000_000_000_000,
        "1772442000",
        "1772442000000",
        "2026-03-02T09:00:00Z",
        "2026-03-02T10:00:00+01:00",
        "2026-03-02T10:00:00+0100",
        "2026-03-02 09:00:00+00:00",
        " 2026-03-02T09:00:00.0000004Z ",
        "Mon, 02 Mar 2026 09:00:00 GMT",
        {"$date": "2026-03-02T09:00:00Z"},
        {"$date": 1_772_442_000_000},
        {"$date": {"$numberLong": "1772442000000"}},
    ],
    ids=repr,
)
def test_a_moment_however_it_is_written(written: object) -> None:
    assert milliseconds(written, "time") == MOMENT


def test_text_without_a_zone_is_in_the_zone_that_the_dialect_names_and_else_refused() -> None:
    oslo = ZoneInfo("Europe/Oslo")
    assert milliseconds("2026-03-02T10:00:00", "time", oslo) == MOMENT
    assert milliseconds("2026-07-02T11:00:00", "time", oslo) == milliseconds("2026-07-02T09:00:00Z", "time")
    with pytest.raises(BadEvent, match=r"date_created is '2026-03-02T10:00:00'; .*with a zone"):
        milliseconds("2026-03-02T10:00:00", "date_created")


def test_a_leap_second_is_the_second_after_the_minutes_last() -> None:
    assert milliseconds("2016-12-31T23:59:60Z", "time") == milliseconds("2017-01-01T00:00:00Z", "time")
    assert milliseconds("2017-01-01T00:59:60.250+01:00", "time") == milliseconds("2017-01-01T00:00:00.250Z", "time")
    with pytest.raises(BadEvent, match="bad_ts"):
        milliseconds("2016-12-31T23:59:61Z", "time")


def test_fractions_below_a_millisecond_are_cut_off() -> None:
    assert milliseconds(1_772_442_000.123_9, "time") == MOMENT + 123
    assert milliseconds(1_772_442_000_123_999, "time") == MOMENT + 123


@pytest.mark.parametrize("rubbish", RUBBISH, ids=lambda given: f"{given!r:.20}")
def test_what_is_no_time_is_refused_by_the_name_of_its_field(rubbish: object) -> None:
    with pytest.raises(BadEvent, match="sent_at is ") as caught:
        milliseconds(rubbish, "sent_at")
    assert caught.value.reason == "bad_ts"
    assert len(caught.value.detail) < 400


@given(st.integers(MIN_TS, MAX_TS - 1))
def test_a_moment_is_the_same_in_every_unit(ms: int) -> None:
    assert scaled(ms) == scaled(ms * 1000) == scaled(ms * 1_000_000) == ms
    assert scaled(ms // 1000) == ms // 1000 * 1000 or ms < MIN_TS + 1000
