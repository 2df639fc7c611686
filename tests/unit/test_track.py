"""One partition of the track stage, on a store and a broker in memory: the order of taking it over, and its bounds."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import msgspec
import pytest

from tests.unit.memory import TOPICS, Bench, of_event, of_time
from tracker.domain.events import Event, Item
from tracker.errors import Fenced, Unavailable
from tracker.stream import pace, track
from tracker.stream.fit import TRUNCATED_HEADER, size
from tracker.stream.marks import Marks, decode_meta, encode_meta, without_told
from tracker.stream.reconcile import Contradiction
from tracker.stream.settling import SETTLED
from tracker.wire.control import Merge, control_headers, encode_control
from tracker.wire.position import Position

HOUR = 3_600_000
DAY = 24 * HOUR
NOON = 1_772_400_000_000


def added(event_id: str, customer: str = "kari", ts: int = NOON, **item: str) -> Event:
    line = Item(product_id=f"p-{event_id}", quantity=1, price=10.0, **item)
    return Event(event_id=event_id, type="product_added", ts=ts, customer_id=customer, items=[line], currency="NOK")


async def test_both_fences_are_up_before_anything_is_read() -> None:
    bench = Bench()
    await bench.partition().assign()
    assert bench.asked[:4] == ["take", "open", "row", "committed"]


async def test_an_owner_that_was_replaced_is_refused() -> None:
    bench = Bench()
    first, second = bench.partition(), bench.partition()
    await first.assign()
    await second.assign()
    with pytest.raises(Fenced):
        await first.handle([of_event(0, added("1"))], 1)


async def test_what_a_dead_owner_committed_and_did_not_publish_is_published_once_by_the_next() -> None:
    bench = Bench()
    first = bench.partition()
    await first.assign()
    bench.publisher.away = True
    with pytest.raises(Unavailable):
        await first.handle([of_event(0, added("1"))], 1)
    assert not bench.publisher.records
    bench.publisher.away = False
    for _ in range(2):
        following = bench.partition()
        assert await following.assign() == 1
    assert [record.topic for record in bench.publisher.records] == [TOPICS.transitions]


async def test_while_the_store_is_rebuilt_the_brokers_position_never_falls_and_nothing_is_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(track, "IDLE_COMMIT", -1.0)
    bench = Bench(records=1)
    log = [of_event(0, added("1")), of_event(1, added("2"))._replace(value=b"no event"), of_event(2, added("3"))]
    first = bench.partition()
    await first.assign()
    await first.handle(log, 3)
    said, reached = list(bench.publisher.records), bench.publisher.position
    assert {record.topic for record in said} == {TOPICS.transitions, TOPICS.dead_letters}
    bench.store.held.clear()
    bench.store.position = None
    bench.in_log = first._context.config
    for owner in (bench.partition(), bench.partition()):  # the second after the first died half-way
        at = await owner.assign()
        await owner.handle(log[at : at + 1], at + 1)
        await owner.idle()
        assert bench.publisher.position == reached
    await owner.handle(log[2:], 3)
    await owner.handle([of_event(3, added("4", "ola"))], 4)
    assert bench.publisher.position == Position(4)
    assert len(bench.publisher.records) == len(said) + 1


async def test_a_store_that_came_back_without_its_config_gets_the_logs() -> None:
    bench = Bench()
    owner = bench.partition()
    await owner.assign()
    await owner.handle([of_event(0, added("1"))], 1)
    bench.in_log = msgspec.json.decode(bench.store.held["config"], type=type(owner._context.config))
    bench.store.held.clear()
    bench.store.position = None
    again = bench.partition()
    assert await again.assign() == 0
    appended = len(bench.appended)
    await again.handle([of_event(0, added("1"))], 1)
    assert "config" in bench.store.held
    assert len(bench.appended) == appended, "the log has it already"


async def test_a_cart_larger_than_a_record_goes_out_shortened_and_stops_nothing() -> None:
    bench = Bench(record_bytes=100_000)
    owner = bench.partition()
    await owner.assign()
    events = [added(str(n), name="\U0001f457" * 1024, category="k" * 1024) for n in range(100)]
    await owner.handle([of_event(n, event) for n, event in enumerate(events)], 100)
    await owner.handle([of_time(100, NOON + DAY)], 101)
    (dropoff,) = [record for record in bench.publisher.records if record.topic == TOPICS.dropoffs]
    assert size(dropoff) <= 100_000
    payload = msgspec.json.decode(dropoff.value or b"")
    assert {line["product_id"] for line in payload["cart"]["items"]} == {f"p-{n}" for n in range(100)}
    assert payload["cart"]["value"] == 1000
    assert {line["name"] for line in payload["cart"]["items"]} == {"\U0001f457" * 128}
    (would_be,) = [int(value) for name, value in dropoff.headers if name == TRUNCATED_HEADER]
    assert would_be > 500_000
    assert bench.metrics.value("tracker_bounds_hit_total", bound="output_shortened") == 1


async def test_an_output_that_cannot_be_shortened_enough_is_a_dead_letter() -> None:
    bench = Bench(record_bytes=6_000)
    owner = bench.partition()
    await owner.assign()
    await owner.handle([of_event(n, added(str(n))) for n in range(100)], 100)
    await owner.handle([of_time(100, NOON + DAY)], 101)
    assert not [record for record in bench.publisher.records if record.topic == TOPICS.dropoffs]
    letters = [dict(record.headers) for record in bench.publisher.records if record.topic == TOPICS.dead_letters]
    assert {headers["reason"] for headers in letters} == {b"output_too_large"}
    assert [headers["source-topic"] for headers in letters].count(TOPICS.dropoffs.encode()) == 1
    assert bench.store.position == Position(101, NOON + DAY)


async def test_the_past_of_somebody_that_is_larger_than_a_record_arrives_shortened() -> None:
    bench = Bench(record_bytes=200_000)
    owner = bench.partition()
    await owner.assign()
    events = [added(str(n), name="\U0001f457" * 1024, category="k" * 1024) for n in range(100)]
    for event in events:
        event.customer_id, event.anonymous_id = None, "phone"
    identified = Merge("c:kari", NOON + 3 * HOUR)
    records = [of_event(n, event) for n, event in enumerate(events)]
    await owner.handle(records, 100)
    await owner.handle([of_time(100, NOON + 3 * HOUR)], 101)
    merge = records[0]._replace(
        offset=101, key=b"a:phone", value=encode_control(identified), headers=control_headers(identified)
    )
    await owner.handle([merge], 102)
    (absorb,) = [record for record in bench.publisher.records if record.topic == TOPICS.events]
    assert size(absorb) <= 200_000
    assert absorb.key == b"c:kari"
    await owner.handle(
        [records[0]._replace(offset=102, key=b"c:kari", value=absorb.value, headers=absorb.headers)], 103
    )
    await owner.handle([of_time(103, NOON + DAY)], 104)
    (dropoff,) = [record for record in bench.publisher.records if record.topic == TOPICS.dropoffs]
    assert dropoff.key == b"c:kari"
    assert len(msgspec.json.decode(dropoff.value or b"")["cart"]["items"]) == 100


async def test_commits_get_smaller_while_people_are_large_and_larger_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "COMMIT_BYTES", 100_000)
    bench = Bench(records=64)
    owner = bench.partition()
    await owner.assign()
    large = [of_event(n, added(f"l{n}", f"large-{n}", name="n" * 1000, category="c" * 1000)) for n in range(300)]
    await owner.handle(large, 300)
    sizes = [len(commit.states) for commit in bench.store.commits]
    assert sizes[0] > sizes[-1]
    assert max(sum(len(state) for _, state in commit.states) for commit in bench.store.commits[3:]) < 100_000
    assert sum(sizes) == 301, "every person, and the config"
    small = [of_event(n, added(f"s{n}", f"small-{n}")) for n in range(300, 900)]
    await owner.handle(small, 900)
    assert max(len(commit.states) for commit in bench.store.commits[len(sizes) :]) > 1.5 * sizes[-2]


async def test_batches_get_smaller_while_they_take_long_and_larger_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(records=100_000)
    owner = bench.partition()
    await owner.assign()
    people = [of_event(n, added(f"e{n}", f"p{n}")) for n in range(8000)]

    async def sizes(begin: int, end: int) -> list[int]:
        before = len(bench.store.commits)
        await owner.handle(people[begin:end], end)
        return [len([one for one in commit.states if one[0] != "config"]) for commit in bench.store.commits[before:]]

    monkeypatch.setattr(pace, "LONG_WALK", 0.0)
    assert (await sizes(0, 2500))[:6] == [1000, 500, 250, 125, 62, 31]
    monkeypatch.setattr(pace, "LONG_WALK", float("inf"))
    larger = await sizes(2500, 8000)
    assert all(later == 2 * earlier for earlier, later in pairwise(larger[:-1]))
    assert larger[-2] >= 1000


async def test_small_batches_that_are_quick_say_nothing_about_large_ones() -> None:
    bench = Bench(records=100_000)
    owner = bench.partition()
    await owner.assign()
    for n in range(20):
        await owner.handle([of_event(n, added(f"e{n}", f"p{n}"))], n + 1)
    before = len(bench.store.commits)
    await owner.handle([of_event(n, added(f"e{n}", f"p{n}")) for n in range(20, 1500)], 1500)
    assert [len(commit.states) for commit in bench.store.commits[before:]] == [1000, 480]


async def test_what_no_store_takes_at_once_is_folded_again_in_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "COMMIT_BYTES", 10_000)
    monkeypatch.setattr(pace, "MOST_COMMIT_BYTES", 20_000)
    bench = Bench(records=1000)
    owner = bench.partition()
    records = [of_event(n, added(f"l{n}", f"large-{n}", name="n" * 1000)) for n in range(100)]
    tries = 0
    while bench.store.position is None or bench.store.position.offset < 100:
        offset = await owner.assign()
        try:
            await owner.handle(records[offset:], 100)
        except Unavailable:
            tries += 1
    assert 2 < tries < 10
    assert len({person for commit in bench.store.commits for person, _ in commit.states}) == 101
    ids = [dict(record.headers)["ce_id"] for record in bench.publisher.records]
    assert len(ids) == len(set(ids)) == 100
    for commit in bench.store.commits:
        assert sum(len(state) for person, state in commit.states if person != "config") < 20_000


@pytest.mark.parametrize("deadlines", [7, 100])
async def test_deadlines_of_one_record_are_cut_anywhere_and_an_owner_may_die_between_any_two(deadlines: int) -> None:
    people = 100
    whole, cut = Bench(), Bench(records=1000, deadlines=deadlines)
    events = [of_event(n, added(str(n), f"p{n}")) for n in range(people)]
    day_later = [of_time(people, NOON + DAY)]
    for bench in (whole, cut):
        owner = bench.partition()
        await owner.assign()
        await owner.handle(events, people)
    owner = whole.partition()
    assert await owner.assign() == people
    await owner.handle(day_later, people + 1)
    assert len(_said(whole)) >= 3 * people
    lives = 0
    while cut.store.position is None or cut.store.position.offset <= people:
        cut.store.commits_left = 1
        owner = cut.partition()
        lives += 1
        offset = await owner.assign()
        with suppress(Unavailable):
            await owner.handle(day_later[offset - people :], people + 1)
    assert lives > people // deadlines
    assert cut.store.position == whole.store.position
    assert cut.store.held == whole.store.held
    assert cut.store.timers == whole.store.timers
    assert _said(cut) == _said(whole)


def _said(bench: Bench) -> list[tuple[str, bytes | None]]:
    return [(record.topic, record.value) for record in bench.publisher.records]


async def test_an_outage_does_not_count_as_time_in_which_the_log_ended_too_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("the store is away")

    clock = [1000.0]
    monkeypatch.setattr("tracker.stream.settling.time.monotonic", lambda: clock[0])
    bench = Bench()
    owner = bench.partition()
    await owner.assign()
    await owner.handle([of_event(0, added("1"))], 1)
    bench.end = 0
    with pytest.raises(Unavailable, match="before what is known"):
        await owner.assign()
    clock[0] += 60.0
    with monkeypatch.context() as outage:
        outage.setattr(bench.store, "take", away)
        with pytest.raises(Unavailable, match="away"):
            await owner.assign()
    with pytest.raises(Unavailable, match="before what is known"):
        await owner.assign()
    clock[0] += SETTLED + 1
    with pytest.raises(Contradiction):
        await owner.assign()


async def test_a_broker_that_has_forgotten_its_position_for_a_moment_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As Apache Kafka's coordinator may be after a crash, before it has loaded all of its offsets."""
    clock = [1000.0]
    errors: list[str] = []
    monkeypatch.setattr("tracker.stream.track.log.error", lambda text, *given: errors.append(text % given))
    monkeypatch.setattr("tracker.stream.settling.time.monotonic", lambda: clock[0])
    bench = Bench()
    owner = bench.partition()
    await owner.assign()
    first = bench.publisher.position
    for number in range(3):
        await owner.handle([of_event(number, added(str(number), ts=NOON + number * DAY))], number + 1)
    await owner.handle([of_time(3, NOON + 9 * DAY)], 4)
    said, last = _said(bench), bench.publisher.position
    assert len(said) > 3
    owner = bench.partition()
    bench.publisher.position = first
    for _ in range(2):
        with pytest.raises(Unavailable, match="the broker's position is offset 0, which was 1 before"):
            await owner.assign()
        clock[0] += SETTLED
    bench.publisher.position = last
    assert await owner.assign() == 4
    assert _said(bench) == said, "nothing was published again"
    bench.publisher.position = first
    with pytest.raises(Unavailable, match="has yet to read"):
        await owner.assign()
    clock[0] += SETTLED + 1
    assert await owner.assign() == 4
    (error,) = errors
    assert "the broker has lost its position, offset 1, and is at 0 again" in error


def test_after_an_operators_word_the_broker_may_hold_any_position() -> None:
    marks = Marks({"shop.clicks/0": 5}, {0: (4, 3)})
    meta = decode_meta(without_told(encode_meta(marks, Position(7))))
    assert (meta.sources, meta.passed, meta.told) == (marks.sources, marks.passed, None)
    assert without_told(b"") == b""
