"""The demo's visitors through the real commands, against the naive fold of people who were known all along.

Many of them are anonymous first and identified later, and the backend tells of their orders under the customer's
id only: so this holds the merges of the running system, with whatever timing they happen to have, to what a
reader of the finished data would say.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from tests.integration.pipeline import Pipeline, write_events
from tests.oracle.naive import Fold, fold
from tests.services import KafkaServer, RedisServer
from tracker.demo.scenarios import scenarios
from tracker.demo.simulation import simulation
from tracker.domain.events import Event, person_id

DAY = 86_400_000


def told_apart(events: list[Event]) -> dict[str, str]:
    """Each person id and who that turns out to be: nobody here shares a device."""
    return {
        f"a:{event.anonymous_id}": f"c:{event.customer_id}"
        for event in events
        if event.anonymous_id is not None and event.customer_id is not None
    }


async def test_merges_lose_nothing_and_say_nothing_twice(
    kafka: KafkaServer, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    events = [*simulation(visitors=800), *(event for story in scenarios() for event in story.events)]
    who = told_apart(events)
    by_person: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        person = person_id(event)
        assert person is not None
        by_person[who.get(person, person)].append(event)
    end = max(event.ts for event in events) + DAY
    expected: dict[str, Fold] = {person: fold(own, end) for person, own in by_person.items()}

    pipeline = Pipeline(kafka, redis_server, namespace, tmp_path)
    pipeline.run("topics")
    with pipeline.worker():
        pipeline.run("replay", str(write_events(tmp_path / "visitors.jsonl", events)), "--until", str(end))
    dropoffs = await pipeline.read("journey.dropoffs")
    transitions = await pipeline.read("journey.transitions")

    for outputs in (dropoffs, transitions):
        repeated = [identity for identity, times in Counter(one["id"] for one in outputs).items() if times > 1]
        assert not repeated, f"{len(repeated)} ids came out twice, for example {repeated[0]}"

    said = Counter(
        (who.get(one["person_id"], one["person_id"]), one["reason"], one["armed_at"], one["detected_at"])
        for one in dropoffs
        if one["kind"] == "dropped_off"
    )
    due = Counter(
        (person, drop.reason, drop.armed_at, drop.detected_at)
        for person, result in expected.items()
        for drop in result.drop_offs
    )
    assert not said - due
    # A replay reads ahead: where a merge comes behind a later order of the customer, what it brings out is withheld.
    withheld = due - said
    counters = pipeline.counters()
    assert sum(withheld.values()) == counters["withheld:ordered"] < 0.1 * sum(due.values())
    for person, _, _, detected_at in withheld:
        assert any(order.ts >= detected_at for order in expected[person].orders), person
    assert not [one for one in dropoffs if one["kind"] == "cancelled"]
    recovered = Counter(one["person_id"] for one in dropoffs if one["kind"] == "recovered")
    told_all = set(expected) - {person for person, *_ in withheld}
    assert {p: recovered[p] for p in told_all} == {p: len(expected[p].recoveries) for p in told_all}

    converted = Counter(one["person_id"] for one in transitions if one["direction"] == "converted")
    assert converted == Counter({person: len(result.orders) for person, result in expected.items() if result.orders})
    assert counters["people"] == len(expected)
    assert counters["orders"] == sum(result.order_count for result in expected.values())
    assert counters["sessions:*"] == sum(len(result.sessions) for result in expected.values())
    entered = Counter(
        move.to_phase
        for result in expected.values()
        for move in result.moves
        if move.to_phase and move.to_phase != move.from_phase and move.direction != "back"
    )
    assert {phase: counters[f"entered:nettbutikk-5:{phase}:*"] for phase in entered} == entered
