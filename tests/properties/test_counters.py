"""The map's counters against a count over what was published and over the states."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from hypothesis import given

from tests.properties.log import TOPICS, Log, Worker
from tests.properties.runner import table
from tests.properties.stories import logs

PHASES = table().courses[0].phase_ids


def messages(worker: Worker, topic: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(value) for said_on, _, value in worker.said if said_on == topic]


def total(worker: Worker, prefix: str) -> int:
    return sum(count for name, count in worker.counters.items() if name.startswith(prefix))


@given(log=logs())
def test_orders_and_revenue_counted_are_those_of_the_people(log: Log) -> None:
    worker = Worker().read(log)
    people = worker.people().values()
    assert worker.counters.get("orders", 0) == sum(state.facts.order_count for state in people)
    revenue: Counter[str] = Counter()
    for state in people:
        revenue.update(state.facts.revenue)
    counted = {name[8:]: count for name, count in worker.counted().items() if name.startswith("revenue:")}
    assert counted == {currency: amount for currency, amount in revenue.items() if amount}


@given(log=logs())
def test_sessions_counted_are_those_that_stand(log: Log) -> None:
    worker = Worker().read(log)
    standing: set[str] = set()
    for session in messages(worker, TOPICS.sessions):
        standing.add(session["session_id"])
        standing -= set(session["supersedes"])
    assert total(worker, "sessions:") == len(standing)


@given(log=logs(("event", "event", "copy")))
def test_journeys_counted_in_a_phase_are_those_that_stand_in_it(log: Log) -> None:
    worker = Worker().read(log)
    standing: Counter[str] = Counter()
    for state in worker.people().values():
        journeys = [*state.facts.tracks[0].converted, *([j] if (j := state.facts.tracks[0].journey) else [])]
        standing.update(PHASES[journey.path[-1]] for journey in journeys if journey.path)
    counted = {name.rsplit(":", 1)[1]: count for name, count in worker.counted().items() if name.startswith("in:")}
    assert counted == dict(standing)


@given(log=logs())
def test_drop_offs_counted_are_those_published(log: Log) -> None:
    worker = Worker().read(log)
    kinds = Counter(message["kind"] for message in messages(worker, TOPICS.dropoffs))
    for kind in ("dropped_off", "recovered", "cancelled"):
        assert total(worker, f"{kind}:") == kinds[kind]


@given(log=logs(("event", "event", "copy")))
def test_what_is_said_of_a_journey_is_a_chain(log: Log) -> None:
    """Each move begins where the one before ended; only entries learned of behind the current phase stand apart."""
    stands: dict[str, str | None] = {}
    for move in messages(Worker().read(log), TOPICS.transitions):
        journey, origin = move["journey_id"], move.get("from_phase")
        if move["direction"] == "backfilled" and origin is None and stands.get(journey) is not None:
            continue
        assert origin == stands.get(journey), move
        stands[journey] = move["to_phase"]
