"""The replay's sender against a tracker of its own: what it writes, how far ahead it runs, what it refuses."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest

from tracker.domain.events import Event
from tracker.errors import BadRecording, SettingError, Unavailable
from tracker.stream import replay as replaying
from tracker.stream.recording import Recorded, Recording, read_recording, recording_of
from tracker.stream.replay import PERSON_AHEAD, Replayed, Sent, replay
from tracker.wire.bounds import MAX_TS

START = 1_772_000_000_000
DAY = 86_400_000
WAIT = 5 * 3_600_000


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "POLL", 0.001)
    monkeypatch.setattr(replaying, "TICK", 0.001)


class FakeTracker:
    """The raw topics and the tracker behind them: its watermark is the last marker, a few questions later."""

    def __init__(self, watermark: int | None = None, delay: int = 3, works: bool = True) -> None:
        self.sent: list[Recorded] = []
        self.markers: list[int] = []
        self.watermark = watermark
        self.most_ahead = 0
        self._works = works
        self._delay = delay
        self._asked = 0

    async def send(self, records: Sequence[Recorded]) -> None:
        self.sent += records
        reached = self.watermark or 0
        ahead: dict[str, int] = {}
        for ts, person, _ in reversed(self.sent):
            if ts < reached:
                break
            ahead[person] = ahead.get(person, 0) + 1
        self.most_ahead = max([self.most_ahead, *ahead.values()])

    async def mark(self, ts: int) -> None:
        assert all(recorded.ts < ts for recorded in self.sent[:-1]) or self.sent[-1].ts <= ts
        self.markers.append(ts)

    async def progress(self) -> int | None:
        self._asked += 1
        if self._works and self.markers and self._asked % self._delay == 0:
            self.watermark = max(self.watermark or 0, self.markers[-1])
        return self.watermark


def event(number: int, ts: int, customer: str = "nina") -> Event:
    return Event(f"e{number}", "page_viewed", ts, customer_id=customer)


async def run(recording: Recording, tracker: FakeTracker, **options: object) -> Replayed:
    chosen = {"clock": "event", "longest_wait": WAIT, **options}
    return await replay(recording, tracker, tracker.progress, **chosen)  # type: ignore[arg-type]


async def test_everything_is_sent_in_order_of_time_and_the_end_lies_past_the_longest_wait() -> None:
    tracker = FakeTracker()
    recording = recording_of([event(2, START + 5000), event(1, START), event(3, START + 9000, "oliver")])
    done = await run(recording, tracker)
    assert [recorded.ts for recorded in tracker.sent] == [START, START + 5000, START + 9000]
    assert [recorded.person for recorded in tracker.sent] == ["c:nina", "c:nina", "c:oliver"]
    assert tracker.markers[-1] == done.end == START + 9000 + WAIT + 1
    assert done.events == 3


async def test_markers_are_as_rare_as_events_or_minutes_whichever_is_rarer() -> None:
    sparse = FakeTracker()
    await run(recording_of(event(i, START + i * DAY, f"c{i}") for i in range(1, 100)), sparse)
    assert len(sparse.markers) == 1
    dense = FakeTracker()
    await run(recording_of(event(i, START + i * 10, f"c{i % 500}") for i in range(1, 20_000)), dense)
    assert len(dense.markers) == 4  # 200 s of event time, in minutes, the last one being the end


async def test_no_person_runs_further_ahead_of_the_tracker_than_a_state_can_hold() -> None:
    tracker = FakeTracker()
    await run(recording_of(event(i, START + i * 10) for i in range(5000)), tracker)
    assert len(tracker.sent) == 5000
    assert tracker.most_ahead <= PERSON_AHEAD


async def test_a_replay_behind_the_watermark_is_refused_and_says_what_to_do() -> None:
    tracker = FakeTracker(watermark=START + 1)
    with pytest.raises(SettingError, match=r"before the tracker's watermark.*--rebase"):
        await run(recording_of([event(1, START)]), tracker)
    assert not tracker.sent


async def test_rebase_adds_whole_days_until_the_recording_begins_after_the_watermark() -> None:
    tracker = FakeTracker(watermark=START + DAY + 1)
    done = await run(recording_of([event(1, START), event(2, START + 10)]), tracker, rebase=True)
    assert done.shift == 2 * DAY
    assert [recorded.ts for recorded in tracker.sent] == [START + 2 * DAY, START + 2 * DAY + 10]


async def test_a_rebase_to_where_no_event_can_be_is_refused() -> None:
    tracker = FakeTracker(watermark=MAX_TS)
    with pytest.raises(SettingError, match="events end before"):
        await run(recording_of([event(1, START)]), tracker, rebase=True)
    assert not tracker.sent


async def test_under_the_wall_clock_only_a_rebased_replay_in_real_time_is_allowed_and_writes_no_markers() -> None:
    recording = recording_of([event(1, START), event(2, START + 20)])
    with pytest.raises(SettingError, match=r"TRACKER_CLOCK=wall.*--rebase"):
        await run(recording, FakeTracker(), clock="wall")
    with pytest.raises(SettingError, match="--speed 5"):
        await run(recording, FakeTracker(), clock="wall", rebase=True, speed=5.0)
    tracker = FakeTracker(watermark=START + DAY)
    done = await run(recording, tracker, clock="wall", rebase=True, now=lambda: START + 1000)
    assert done.first == START + 1000
    assert tracker.markers == []


async def test_an_until_before_the_last_event_is_refused_and_a_later_one_is_the_end() -> None:
    recording = recording_of([event(1, START)])
    with pytest.raises(SettingError, match="--until"):
        await run(recording, FakeTracker(), until=START - 1)
    for late in (MAX_TS + 1, START * 1_000_000):
        with pytest.raises(SettingError, match="--until is"):
            await run(recording, FakeTracker(), until=late)
    done = await run(recording, FakeTracker(), until=START + 40 * DAY)
    assert done.end == START + 40 * DAY


async def test_a_replay_with_a_speed_keeps_time_and_time_advances_between_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = count()
    monkeypatch.setattr("tracker.stream.replay.time.monotonic", lambda: next(looks) / 100)
    tracker = FakeTracker(delay=1)
    done = await run(recording_of([event(1, START), event(2, START + 60_000)]), tracker, speed=600.0)
    assert done.seconds >= 0.1
    assert any(START < marker < START + 60_000 for marker in tracker.markers)


async def test_a_tracker_that_stands_still_is_reported() -> None:
    with pytest.raises(Unavailable, match="does `tracker worker` run"):
        await run(recording_of([event(1, START)]), FakeTracker(works=False), patience=0.05)


async def test_progress_is_reported_to_the_end() -> None:
    seen: list[Sent] = []
    done = await run(recording_of([event(1, START)]), FakeTracker(), report=seen.append)
    assert (seen[-1].sent, seen[-1].total, seen[-1].watermark) == (1, 1, done.end)


def test_bad_lines_are_named_by_file_and_line_and_stop_the_replay_unless_left_out(tmp_path: Path) -> None:
    good = b'{"event_id":"1","type":"page_viewed","ts":"2026-03-02T10:00:00Z","customer_id":"nina"}'
    plain, packed = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    plain.write_bytes(
        good + b'\n\n{"event_id":"2"\n{"event_id":"3","type":"x","ts":1772445600000,"customer_id":"guest"}\n'
    )
    packed.write_bytes(gzip.compress(good.replace(b'"1"', b'"4"') + b"\n"))
    with pytest.raises(BadRecording) as caught:
        read_recording([plain, packed])
    assert f"{plain}:3: not_json" in str(caught.value)
    assert f"{plain}:4: no_identity" in str(caught.value)
    recording = read_recording([plain, packed], skip_bad=True)
    assert [recorded.ts for recorded in recording.events] == [1_772_445_600_000] * 2
    assert [bad.where for bad in recording.bad] == [f"{plain}:3", f"{plain}:4"]


def test_files_that_cannot_be_read_or_hold_nothing_are_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    with pytest.raises(SettingError, match=r"empty\.jsonl: no event"):
        read_recording([empty])
    with pytest.raises(SettingError, match=r"gone\.jsonl: cannot be read"):
        read_recording([tmp_path / "gone.jsonl"])
    (tmp_path / "no.gz").write_bytes(b"not gzip")
    with pytest.raises(SettingError, match=r"no\.gz: cannot be read"):
        read_recording([tmp_path / "no.gz"])
