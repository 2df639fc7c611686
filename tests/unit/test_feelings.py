"""Scores of surveys and reviews: what counts as one, whose it is, and what a journey remembers of it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec
import pytest

from tests.properties.runner import Person
from tracker.commands.journey import lines, view
from tracker.domain.counters import Counts, count
from tracker.domain.events import Event, Item
from tracker.domain.feelings import joined
from tracker.domain.identity import decode_legacy
from tracker.domain.journeys import touchpoints
from tracker.domain.merging import absorb, merge
from tracker.domain.migration import migrate
from tracker.domain.model import FoldSettings
from tracker.domain.outputs import AbsorbState, Bound
from tracker.domain.scores import KINDS, level, scores_in
from tracker.domain.state import MAX_SCORES, Feelings, Journey, Score, Scores
from tracker.domain.step import accept
from tracker.domain.table import Table, compile_table
from tracker.journeys.loader import load
from tracker.wire.decode import decode_event

T0 = 1_772_442_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def table(*models: str) -> Table:
    first, *others = map(load, models or ("nettbutikk-5",))
    return compile_table(first, FoldSettings(), *others)


def survey(number: int, at: int = 0, order_id: str | None = None, **properties: Any) -> Event:
    return Event(f"s{number}", "survey_answered", T0 + at, customer_id="p", order_id=order_id, properties=properties)


def review(number: int, at: int, items: list[Item] | None = None, **properties: Any) -> Event:
    return Event(f"r{number}", "product_reviewed", T0 + at, customer_id="p", items=items, properties=properties)


def other(number: int, kind: str, at: int = 0, **fields: Any) -> Event:
    return Event(f"e{number}", kind, T0 + at, customer_id="p", **fields)


def bought(number: int = 1, at: int = 0, order_id: str = "O1", product: str = "dress") -> list[Event]:
    """An order and its delivery: the journey stands in `bruk`."""
    return [
        other(number, "order_completed", at, order_id=order_id, items=[Item(product)], value=500.0),
        other(number + 1, "order_delivered", at + HOUR, order_id=order_id),
    ]


def person(*events: Event, of: Table | None = None) -> Person:
    """Taken in one after the other, each as soon as time has passed it."""
    made = Person(of or table())
    for event in events:
        made.time(event.ts)
        made.take(event)
    return made


def latest(made: Person, place: int = 0) -> Journey:
    track = made.state.facts.tracks[place]
    journey = track.journey or track.converted[-1]
    assert journey is not None
    return journey


def felt(journey: Journey) -> list[tuple[str, str, str, int, int]]:
    """(phase, touchpoint, kind, number, sum of scores)."""
    rows = journey.feelings.scores if journey.feelings is not None else []
    return [(row.phase, row.touchpoint, row.kind, row.number, row.total) for row in rows]


def counted(made: Person) -> dict[str, int]:
    counts: Counts = defaultdict(int)
    for output in made.out:
        count(output, "Europe/Oslo", counts)
    return {name: n for name, n in counts.items() if n and name.startswith(("felt", "wrong_score"))}


@pytest.mark.parametrize(
    ("kind", "levels"),
    [
        ("nps", "-2 -2 -2 -2 -1 -1 -1 0 0 1 2"),
        ("ces", "-2 -1 -1 0 1 1 2"),
        ("csat", "-2 -1 0 1 2"),
        ("rating", "-2 -1 0 1 2"),
    ],
)
def test_every_score_of_a_scale_has_its_level(kind: str, levels: str) -> None:
    first = 0 if kind == "nps" else 1
    expected = list(map(int, levels.split()))
    assert [level(kind, first + place) for place in range(len(expected))] == expected


@pytest.mark.parametrize(
    ("properties", "scores"),
    [
        ({"survey": "nps", "score": 9}, [("nps", 9)]),
        ({"survey": "ces", "score": 1.0}, [("ces", 1)]),
        ({"nps": 0, "csat": 5}, [("nps", 0), ("csat", 5)]),
        ({"csat": 2, "survey": "csat", "score": 4}, [("csat", 2)]),
        ({"nps": 10, "survey": "delivery", "score": 3}, [("nps", 10)]),
        ({"survey": "nps"}, []),
        ({"nps": None, "comment": "fine"}, []),
        ({"rating": 3}, []),
        ({"nps": 11}, [("nps", None)]),
        ({"nps": -1}, [("nps", None)]),
        ({"ces": 0}, [("ces", None)]),
        ({"csat": 6}, [("csat", None)]),
        ({"csat": 3.5}, [("csat", None)]),
        ({"nps": "9"}, [("nps", None)]),
        ({"nps": True}, [("nps", None)]),
        ({"nps": [9]}, [("nps", None)]),
        ({"nps": float("nan")}, [("nps", None)]),
        ({"nps": float("inf")}, [("nps", None)]),
        ({"nps": 10**30}, [("nps", None)]),
        ({"score": 4}, [("survey", None)]),
        ({"survey": "delivery", "score": 4}, [("survey", None)]),
        ({"survey": ["nps"], "score": 4}, [("survey", None)]),
        ({"survey": "rating", "score": 4}, [("survey", None)]),
    ],
)
def test_only_whole_numbers_on_their_scale_are_scores(
    properties: dict[str, Any], scores: list[tuple[str, int | None]]
) -> None:
    assert scores_in(survey(1, **properties)) == scores


def test_a_review_brings_its_rating_and_nothing_else() -> None:
    assert scores_in(review(1, 0, rating=4, nps=9, score=3)) == [("rating", 4)]
    assert scores_in(review(1, 0, rating=0)) == [("rating", None)]
    assert scores_in(review(1, 0)) == []
    assert scores_in(Event("r1", "product_reviewed", T0)) == []


def test_a_score_is_about_the_only_touchpoint_of_the_phase_that_its_type_meets() -> None:
    made = person(*bought(), survey(1, DAY, nps=9))
    assert felt(latest(made)) == [("bruk", "undersokelse", "nps", 1, 9)]


def test_a_touchpoint_that_the_event_names_says_which_phase_it_is_about() -> None:
    made = person(*bought(), survey(1, DAY, csat=1, touchpoint="betaling"))
    phase = next(p.id for p in load("nettbutikk-5").phases if any(t.id == "betaling" for t in p.touchpoints))
    assert phase == "kjop"
    assert felt(latest(made)) == [("kjop", "betaling", "csat", 1, 1)]


@pytest.mark.parametrize("name", ["no such", 7, ["levering"], None])
def test_a_touchpoint_that_the_model_does_not_have_is_as_none(name: object) -> None:
    made = person(*bought(), survey(1, DAY, csat=4, touchpoint=name))
    assert felt(latest(made)) == [("bruk", "undersokelse", "csat", 1, 4)]


def test_a_phase_without_such_a_touchpoint_has_the_score_to_itself() -> None:
    made = person(survey(1, nps=3))
    assert felt(latest(made)) == [("bevissthet", "", "nps", 1, 3)]


def test_two_touchpoints_that_the_type_meets_leave_the_score_to_the_phase() -> None:
    model = load("nettbutikk-5")
    use = next(phase for phase in model.phases if phase.id == "bruk")
    twin = msgspec.structs.replace(use.touchpoints[-1], id="another")
    twins = msgspec.structs.replace(use, touchpoints=(*use.touchpoints, twin))
    phases = tuple(twins if phase is use else phase for phase in model.phases)
    of = compile_table(msgspec.structs.replace(model, phases=phases), FoldSettings())
    assert felt(latest(person(*bought(), survey(1, DAY, nps=9), of=of))) == [("bruk", "", "nps", 1, 9)]


def test_a_review_counts_in_the_phase_that_it_leads_into() -> None:
    made = person(*bought(), review(1, DAY, rating=5))
    assert felt(latest(made)) == [("lojalitet", "omtale", "rating", 1, 5)]


def test_a_score_belongs_to_its_order_else_to_what_is_under_way_else_to_the_latest_order() -> None:
    first, second = bought(), bought(3, DAY, "O2", "shoe")
    again = other(5, "search_performed", 3 * DAY)
    scores = [
        survey(1, 2 * DAY, csat=1),
        survey(2, 4 * DAY, csat=2),
        survey(3, 4 * DAY + 1, order_id="O1", csat=3),
        review(4, 4 * DAY + 2, items=[Item("dress")], rating=4),
        survey(5, 4 * DAY + 3, order_id="unknown", csat=5),
    ]
    track = person(*first, *second, scores[0], again, *scores[1:]).state.facts.tracks[0]
    assert track.journey is not None
    assert [felt(journey) for journey in (*track.converted, track.journey)] == [
        [("bruk", "undersokelse", "csat", 1, 3), ("lojalitet", "omtale", "rating", 1, 4)],
        [("lojalitet", "", "csat", 1, 1)],
        [("vurdering", "", "csat", 2, 7)],
    ]


def test_each_model_keeps_a_score_in_its_own_phase_and_a_part_that_nothing_began_keeps_none() -> None:
    of = table("nettbutikk-5", "kundresa-5", "klage")
    made = person(*bought(), survey(1, DAY, nps=10), of=of)
    assert felt(latest(made, 0)) == [("bruk", "undersokelse", "nps", 1, 10)]
    assert felt(latest(made, 1)) == [("lojalitet", "nps", "nps", 1, 10)]
    klage = made.state.facts.tracks[2]
    assert (klage.journey, klage.converted) == (None, [])
    assert {name.split(":")[1] for name in counted(made)} == {"nettbutikk-5", "kundresa-5"}


def test_wrong_scores_are_counted_once_and_kept_nowhere() -> None:
    made = person(
        *bought(), survey(1, DAY, nps=11, csat=4), survey(2, DAY, score=3), of=table("nettbutikk-5", "kundresa-5")
    )
    assert felt(latest(made)) == [("bruk", "undersokelse", "csat", 1, 4)]
    assert {name: n for name, n in counted(made).items() if name.startswith("wrong")} == {
        "wrong_score:nps:2026-03-03": 1,
        "wrong_score:survey:2026-03-03": 1,
    }


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 1e308, [[9]], {"a": 1}, "x" * 1000])
def test_no_value_of_a_score_stops_the_line(value: object) -> None:
    made = person(*bought(), decode_event(msgspec.json.encode(survey(1, DAY, nps=value))))
    assert counted(made) == {"wrong_score:nps:2026-03-03": 1}


def test_counters_hold_number_sum_levels_and_promoters_less_detractors() -> None:
    made = person(*bought(), *(survey(n, DAY + n, nps=score) for n, score in enumerate((10, 9, 7, 0))))
    place = "nettbutikk-5:bruk:undersokelse:nps:2026-03-03"
    assert counted(made) == {
        f"felt:{place}": 4,
        f"felt_score:{place}": 26,
        f"felt_level:{place}": 1,
        f"felt_net:{place}": 1,
    }


def test_the_peak_is_furthest_from_neutral_and_the_later_of_equals_and_the_end_is_last() -> None:
    made = person(*bought(), *(survey(n, DAY + n, csat=score) for n, score in enumerate((4, 1, 5, 2))))
    feelings = latest(made).feelings
    assert feelings is not None
    assert (feelings.peak.event_id, feelings.peak.score) == ("s2", 5)
    assert (feelings.end.event_id, feelings.end.score) == ("s3", 2)


def test_a_late_event_that_moves_the_journey_moves_the_score_and_its_count() -> None:
    made = person(bought()[0], survey(1, 50 * MINUTE, nps=2))
    before = counted(made)
    assert before["felt:nettbutikk-5:kjop::nps:2026-03-02"] == 1
    made.take(other(9, "order_delivered", 40 * MINUTE, order_id="O1"))
    assert felt(latest(made)) == [("bruk", "undersokelse", "nps", 1, 2)]
    after = counted(made)
    assert {name.replace(":bruk:undersokelse:", ":kjop::"): n for name, n in after.items()} == before
    assert all(":bruk:undersokelse:" in name for name in after)


def test_a_late_score_is_sorted_in_and_the_end_stays_the_last() -> None:
    made = person(*bought(), survey(2, DAY, csat=2))
    made.take(survey(1, DAY - MINUTE, csat=1))
    feelings = latest(made).feelings
    assert feelings is not None
    assert (feelings.peak.score, feelings.end.score) == (1, 2)
    assert counted(made)["felt:nettbutikk-5:bruk:undersokelse:csat:2026-03-03"] == 2


def test_a_score_older_than_the_lateness_is_not_counted() -> None:
    made = person(*bought())
    made.time(T0 + 5 * DAY)
    assert accept(made.state, survey(1, DAY, csat=1), made.table, made.watermark, made.out) == "late"
    assert counted(made) == {}


def test_a_journey_keeps_so_many_places_and_counts_the_others() -> None:
    model = load("nettbutikk-5")
    names = [touchpoint.id for phase in model.phases for touchpoint in phase.touchpoints]
    scores = [survey(n, DAY + n, touchpoint=name, nps=9, ces=7) for n, name in enumerate(names)]
    assert len(scores) * 2 > MAX_SCORES
    made = person(*bought(), *scores)
    assert len(felt(latest(made))) == MAX_SCORES
    assert made.said(Bound).count(Bound("feelings")) == len(scores) * 2 - MAX_SCORES
    assert sum(n for name, n in counted(made).items() if name.startswith("felt:")) == len(scores) * 2
    feelings = latest(made).feelings
    assert feelings is not None
    assert (feelings.end.touchpoint, feelings.end.kind) == (names[-1], "ces")


def test_a_long_silence_takes_feelings_with_their_journeys() -> None:
    made = person(*bought(), survey(1, DAY, nps=9))
    assert latest(made).feelings is not None
    before = counted(made)
    made.time(T0 + 500 * DAY)
    assert made.state.expired
    assert not made.state.facts.tracks[0].converted
    assert counted(made) == before


def some(*given: tuple[str, int, int, str]) -> Feelings:
    """Feelings of (kind, score, at, event id)."""
    scores = [Score("bruk", "", kind, score, at, event_id) for kind, score, at, event_id in given]
    rows = [Scores("bruk", "", s.kind, 1, s.score, level(s.kind, s.score)) for s in scores]
    return Feelings(rows, scores[0], scores[-1])


def test_the_feelings_of_two_journeys_that_are_one_add_up_whichever_comes_first() -> None:
    def one() -> Feelings:
        return some(("csat", 5, 10, "a"))

    def two() -> Feelings:
        return some(("csat", 1, 10, "b"))

    together = [joined(one(), two()), joined(two(), one())]
    assert together[0] == together[1]
    both = together[0]
    assert both is not None
    assert (both.scores, both.peak.event_id, both.end.event_id) == ([Scores("bruk", "", "csat", 2, 6, 0)], "b", "b")
    assert joined(one(), None) == joined(None, one()) == one()


def test_what_a_visitor_felt_long_ago_travels_along_and_is_counted_once() -> None:
    visitor = Person(table(), name="a:v")
    for each in (survey(1, nps=2), survey(2, 1, csat=5)):
        visitor.time(each.ts)
        visitor.take(msgspec.structs.replace(each, customer_id=None, anonymous_id="v"))
    customer = person(survey(3, 2, nps=10))
    now = T0 + 2 * HOUR
    visitor.watermark = customer.watermark = now
    merge(visitor.state, "c:p", now, visitor.table, now, visitor.out)
    (past,) = visitor.said(AbsorbState)
    assert decode_legacy(past.payload).said.felt == [], "nothing of it is folded again"
    absorb(customer.state, past.source, past.ts, past.payload, customer.table, now, customer.out)
    assert felt(latest(customer)) == [("bevissthet", "", "nps", 2, 12), ("bevissthet", "", "csat", 1, 5)]
    feelings = latest(customer).feelings
    assert feelings is not None
    assert (feelings.peak.event_id, feelings.end.event_id) == ("s3", "s3")
    assert [sum(n for name, n in counted(one).items() if name.startswith("felt:")) for one in (visitor, customer)] == [
        2,
        1,
    ]


def test_what_was_counted_is_remembered_as_long_as_it_may_be_folded_again() -> None:
    made = person(*bought(), *(survey(n, DAY + 2 * n * MINUTE, csat=4) for n in range(200)))
    assert 30 <= len(made.state.said.felt) <= 100
    late = made.watermark - HOUR + 1
    made.take(other(9, "order_delivered", late - T0, order_id="O1"))
    assert counted(made)["felt:nettbutikk-5:bruk:undersokelse:csat:2026-03-03"] == 200
    made.time(made.watermark + 2 * HOUR)
    assert made.state.said.felt == []


def test_a_model_that_is_not_tracked_any_more_keeps_what_was_counted_for_it() -> None:
    made = person(bought()[0], survey(1, 50 * MINUTE, nps=2), of=table("nettbutikk-5", "kundresa-5"))
    before = counted(made)
    made.table = table("nettbutikk-5")
    migrate(made.state, table("nettbutikk-5", "kundresa-5").lineup, made.table, made.out)
    made.take(other(9, "order_delivered", 40 * MINUTE, order_id="O1"))
    after = counted(made)
    assert {name for name in after if "nettbutikk-5" in name} != {name for name in before if "nettbutikk-5" in name}
    assert [(name, after.get(name)) for name in before if "kundresa-5" in name] == [
        (name, n) for name, n in before.items() if "kundresa-5" in name
    ]


def test_a_journey_is_shown_with_what_was_expected_and_what_was_felt_its_peak_and_its_end() -> None:
    made = person(
        *bought(), survey(1, DAY, nps=2, touchpoint="levering"), survey(2, DAY + 1, csat=4), survey(3, DAY + 2, csat=5)
    )
    model = load("nettbutikk-5")
    shown = view(made.state, [model])
    assert msgspec.json.decode(msgspec.json.encode(shown)) == shown
    feelings = shown["converted"][0]["feelings"]
    assert feelings["scores"] == [
        {
            "phase": "bruk", "touchpoint": "levering", "kind": "nps",
            "number": 1, "mean": 2.0, "level": -2.0, "expected": 1,
        },
        {
            "phase": "bruk", "touchpoint": "undersokelse", "kind": "csat",
            "number": 2, "mean": 4.5, "level": 1.5, "expected": 0,
        },
    ]  # fmt: skip
    assert (feelings["peak"]["event_id"], feelings["peak"]["level"]) == ("s3", 2)
    assert (feelings["end"]["score"], feelings["end"]["expected"]) == (5, 0)
    text = "\n".join(lines(shown, [model]))
    assert "felt bruk, levering: nps 2 → -2 (expected +1)" in text
    assert "felt bruk, kort undersøkelse: csat 4.5 in 2 answers → +1.5 (expected +0)" in text
    assert "peak bruk, kort undersøkelse: csat 5 at 2026-03-03" in text
    assert "end  bruk, kort undersøkelse: csat 5 at 2026-03-03" in text


def test_a_journey_of_which_nothing_was_said_shows_no_feelings() -> None:
    shown = view(person(*bought()).state, [load("nettbutikk-5")])
    assert shown["converted"][0]["feelings"] is None


def test_all_kinds_have_a_counter_of_their_own() -> None:
    made = person(*bought(), survey(1, DAY, nps=9, ces=6, csat=4), review(2, DAY + 1, rating=4))
    assert {name.split(":")[4] for name in counted(made)} == set(KINDS)


def met(journey: Journey) -> set[str]:
    return set(touchpoints(journey.met))


def test_what_happens_after_the_purchase_is_met_by_the_journey_of_the_order() -> None:
    later = ("email_clicked", "email_opened", "support_requested", "support_resolved", "complaint_made", "page_viewed")
    made = person(*bought(), *(other(n, kind, DAY + n) for n, kind in enumerate(later, 10)), survey(1, DAY + 99))
    assert {*later, "survey_answered"} <= met(latest(made))


def test_before_delivery_only_what_names_the_order_is_met() -> None:
    order = bought()[0]
    made = person(order, other(7, "email_opened", HOUR), other(8, "support_resolved", HOUR, order_id="O1"))
    assert met(latest(made)) == {"order_completed", "support_resolved"}


def test_while_another_journey_is_under_way_the_old_one_meets_what_only_happens_after_a_purchase() -> None:
    made = person(
        *bought(),
        other(7, "search_performed", DAY),
        other(8, "email_clicked", DAY + 1),
        other(9, "complaint_made", DAY + 2),
        other(10, "email_opened", DAY + 3, order_id="O1"),
    )
    track = made.state.facts.tracks[0]
    assert track.journey is not None
    assert met(track.converted[0]) == {"order_completed", "order_delivered", "complaint_made", "email_opened"}
    assert met(track.journey) == {"search_performed", "email_clicked", "complaint_made", "email_opened"}


def test_what_names_an_order_and_opens_the_next_journey_is_met_by_both() -> None:
    order = bought()[0]
    made = person(order, other(7, "checkout_started", DAY, order_id="O1", items=[Item("shoe")]))
    track = made.state.facts.tracks[0]
    assert track.journey is not None
    assert met(track.converted[0]) == {"order_completed", "checkout_started"}
    assert met(track.journey) == {"checkout_started"}


def test_a_second_order_is_not_met_by_the_journey_of_the_first() -> None:
    made = person(*bought(), other(5, "trial_started", DAY, order_id="O2"))
    first, second = made.state.facts.tracks[0].converted
    assert met(first) == {"order_completed", "order_delivered"}
    assert met(second) == {"trial_started"}
