"""What people felt, against a plain recount over their sorted events; what the map counts of it follows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given

from tests.oracle.naive import Fold, distinct, fold
from tests.oracle.shapes import Journey, Scored
from tests.properties.log import TOPICS, Log, Worker, retold
from tests.properties.runner import END_OF_TIME, Person
from tests.properties.stories import PEOPLE, Story, logs, long_stories, stories
from tests.properties.strategies import START, Arrival, honest, late, scripts
from tracker.domain import state
from tracker.domain.counters import Counts, count
from tracker.domain.events import Event
from tracker.domain.journeys import touchpoints
from tracker.wire.control import control_kind

KINDS = ("survey_answered", "product_reviewed")
OSLO = ZoneInfo("Europe/Oslo")
LEVELS = {
    "nps": dict(zip(range(11), (-2, -2, -2, -2, -1, -1, -1, 0, 0, 1, 2), strict=True)),
    "ces": dict(zip(range(1, 8), (-2, -1, -1, 0, 1, 1, 2), strict=True)),
    "csat": dict(zip(range(1, 6), (-2, -1, 0, 1, 2), strict=True)),
    "rating": dict(zip(range(1, 6), (-2, -1, 0, 1, 2), strict=True)),
}


def day(ts: int) -> str:
    return datetime.fromtimestamp(ts / 1000, OSLO).date().isoformat()


def recount(folds: Iterable[Fold]) -> dict[str, int]:
    """The map's counters of feelings, from the naive folds of all people."""
    counts: Counter[str] = Counter()
    for each in folds:
        for kind, ts in each.wrong:
            counts[f"wrong_score:{kind}:{day(ts)}"] += 1
        for scored in (scored for journey in each.journeys for scored in journey.scores):
            place = f"nettbutikk-5:{scored.phase}:{scored.touchpoint}:{scored.kind}:{day(scored.ts)}"
            counts[f"felt:{place}"] += 1
            counts[f"felt_score:{place}"] += scored.score
            counts[f"felt_level:{place}"] += LEVELS[scored.kind][scored.score]
            if scored.kind == "nps":
                counts[f"felt_net:{place}"] += (scored.score >= 9) - (scored.score <= 6)
    return {name: n for name, n in counts.items() if n}


def feelings_only(counters: dict[str, int]) -> dict[str, int]:
    return {name: n for name, n in counters.items() if n and name.startswith(("felt", "wrong_score"))}


def counted(person: Person) -> dict[str, int]:
    counts: Counts = defaultdict(int)
    for output in person.out:
        count(output, "Europe/Oslo", counts)
    return feelings_only(counts)


Kept = tuple[list[tuple[str | None, str, str, int, int]], Scored | None, Scored | None]


def kept_of(journey: Journey) -> Kept:
    """The sums by place and kind, the peak and the end that a journey's scores make."""
    numbers: Counter[tuple[str | None, str, str]] = Counter()
    totals: Counter[tuple[str | None, str, str]] = Counter()
    for scored in journey.scores:
        place = (scored.phase, scored.touchpoint, scored.kind)
        numbers[place] += 1
        totals[place] += scored.score
    strength = [abs(LEVELS[scored.kind][scored.score]) for scored in journey.scores]
    latest = max((n for n, s in enumerate(strength) if s == max(strength)), default=None)
    peak = None if latest is None else journey.scores[latest]
    end = journey.scores[-1] if journey.scores else None
    return sorted((*place, numbers[place], totals[place]) for place in numbers), peak, end


def kept_in(journey: state.Journey) -> Kept:
    if journey.feelings is None:
        return [], None, None
    rows = sorted((s.phase, s.touchpoint, s.kind, s.number, s.total) for s in journey.feelings.scores)
    for row in journey.feelings.scores:
        assert abs(row.levels) <= 2 * row.number
    peak, end = (
        Scored(felt.phase, felt.touchpoint, felt.kind, felt.score, felt.at, felt.event_id)
        for felt in (journey.feelings.peak, journey.feelings.end)
    )
    return list(rows), peak, end


def assert_as_plainly_recounted(person: Person, expected: Fold) -> None:
    track = person.state.facts.tracks[0]
    found = [*track.converted, *([track.journey] if track.journey is not None else [])]
    standing = {journey.number: journey for journey in expected.journeys if not journey.left}
    assert [journey.number for journey in found] == sorted(standing)
    for journey in found:
        assert kept_in(journey) == kept_of(standing[journey.number])
        assert set(touchpoints(journey.met)) == standing[journey.number].met - {"shop_own_type"}


@given(arrivals=late(scripts()))
def test_feelings_and_what_was_met_are_those_of_the_sorted_events(arrivals: list[Arrival]) -> None:
    person = Person(restarts=True).log(arrivals)
    expected = fold([arrival.event for arrival in arrivals], person.watermark)
    assert_as_plainly_recounted(person, expected)
    assert counted(person) == recount([expected])


@given(arrivals=honest(scripts(kinds=(*KINDS, "order_completed", "order_delivered", "search_performed"))))
def test_in_any_order_of_arrival_the_map_counts_what_was_felt(arrivals: list[Arrival]) -> None:
    person = Person(restarts=True).log(arrivals)
    expected = fold([arrival.event for arrival in arrivals], person.watermark)
    assert_as_plainly_recounted(person, expected)
    assert counted(person) == recount([expected])


@given(story=stories())
def test_the_feelings_of_a_visitor_who_turns_out_to_be_a_customer_are_counted_as_the_customers(story: Story) -> None:
    worker = Worker().read(story.log)
    expected = fold(story.events, story.end)
    assert_as_plainly_recounted(retold(worker), expected)
    assert feelings_only(worker.counters) == recount([expected])


def totals(counters: dict[str, int]) -> Counter[tuple[str, str]]:
    """(counter, kind) -> sum over all places and days."""
    found: Counter[tuple[str, str]] = Counter()
    for name, n in counters.items():
        parts = name.split(":")
        found[parts[0], parts[-2]] += n
    return Counter({place: n for place, n in found.items() if n})


def written(log: Log) -> list[Event]:
    """The events of a log without copies."""
    events = [
        msgspec.json.decode(record.value, type=Event)
        for record in log.records
        if control_kind(record.headers) is None and not record.headers
    ]
    return distinct(events)


def accepted(log: Log, worker: Worker) -> list[Event]:
    """Those that did not come too late; of a log without copies, which may come too late after their first."""
    too_late = {msgspec.json.decode(value)["event_id"] for topic, _, value in worker.said if topic == TOPICS.late}
    return [event for event in written(log) if event.event_id not in too_late]


@given(log=logs(("event",) * 8 + ("late", "merge", "merge")))
def test_every_score_is_counted_once_whoever_is_merged_and_whatever_comes_late(log: Log) -> None:
    worker = Worker().read(log)
    alone = [fold([event], START + END_OF_TIME) for event in accepted(log, worker)]
    assert totals(feelings_only(worker.counters)) == totals(recount(alone))


@given(story=long_stories())
def test_every_score_of_an_old_past_is_counted_once(story: Story) -> None:
    worker = Worker().read(story.log)
    alone = [fold([event], story.end) for event in accepted(story.log, worker)]
    assert totals(feelings_only(worker.counters)) == totals(recount(alone))


@given(log=logs(("event", "event", "copy")))
def test_feelings_counted_are_those_of_all_people(log: Log) -> None:
    worker = Worker().read(log)
    events = written(log)
    ids = {"c:p": ("p", None), "c:q": ("q", None), "a:v": (None, "v"), "a:w": (None, "w")}
    assert set(ids) == set(PEOPLE)
    end = START + 10_000 * END_OF_TIME
    people = [[e for e in events if (e.customer_id, e.anonymous_id) == whose] for whose in ids.values()]
    assert feelings_only(worker.counters) == recount(fold(their, end) for their in people)
