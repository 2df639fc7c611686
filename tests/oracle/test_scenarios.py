"""The oracle is only worth something if it tells the design's stories, and all other scenarios, as written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from tests.oracle.naive import Fold
from tests.oracle.privacy import Known
from tests.oracle.shapes import UNIT
from tests.oracle.table import HOUR, NETTBUTIKK, Table
from tests.scenarios.play import Found, Play, differences, id_of, lines, own_id, plays, timeline, whose
from tracker.demo.scenarios import DEFAULT_MODEL, Overrides, moment_of

UTC_OFFSET = 60
"""Minutes that the scenarios' clock is ahead of UTC before summer time begins."""


def told_by_the_oracle(play: Play) -> bool:
    """It knows one model, and neither caps nor other settings than the quiet hours, those in UTC."""
    scenario = play.scenario
    quiet = scenario.quiet_hours
    if quiet is not None and (scenario.until > moment_of("27 02:00") or quiet.zone != "Europe/Oslo"):
        return False
    settings = msgspec.structs.replace(scenario.settings, analytics_default=None)
    return play.model == DEFAULT_MODEL and not scenario.caps and settings == Overrides()


def table_of(play: Play) -> Table:
    quiet = play.scenario.quiet_hours
    if quiet is None:
        return NETTBUTIKK
    day = 24 * 60
    return replace(NETTBUTIKK, quiet=((quiet.start - UTC_OFFSET) % day, (quiet.end - UTC_OFFSET) % day))


def said(person: str, result: Fold, life: int) -> list[tuple[str, dict[str, Any]]]:
    """The fold of a life in the words of the tracker's outputs."""
    found: list[tuple[str, dict[str, Any]]] = [
        (
            "transitions",
            {
                "person_id": person,
                "to_phase": move.to_phase,
                "direction": move.direction,
                "at": move.at,
                "model": DEFAULT_MODEL,
            },
        )
        for move in result.moves
    ]
    for number, session in enumerate(result.sessions):
        ends = {"started_at": session.started_at, "ended_at": session.ended_at}
        of = {"person_id": person, "session_id": f"{person}/{life}/{number}", "revision": 1, "supersedes": []}
        found += [("sessions", ends | of)] if session.closed else []
    dropped = {drop.armed_by: drop for drop in result.drop_offs}
    ordered = {order.event_id: order for order in result.orders}
    for drop in result.drop_offs:
        at = {"reason": drop.reason, "armed_at": drop.armed_at, "due_at": drop.due_at, "detected_at": drop.detected_at}
        found.append(("dropoffs", {"person_id": person, "kind": "dropped_off", **at}))
    for recovery in result.recoveries:
        drop, order = dropped[recovery.armed_by], ordered[recovery.order_event_id]
        of = {"person_id": person, "reason": drop.reason, "armed_at": drop.armed_at, "kind": "recovered"}
        found.append(("dropoffs", {**of, "value": recovery.value / UNIT, "last_event": {"ts": order.ts}}))
    return found


def oracles(play: Play) -> Found:
    """What the oracle makes of a scenario."""
    scenario, table = play.scenario, table_of(play)
    who = whose(scenario)
    known = {person: Known(asks=scenario.settings.analytics_default is False) for person in who}
    for mark, what in timeline(scenario):
        if isinstance(what, int):
            person = known[who[what]]
            person.now.step(mark, table)
            person.hear(scenario.events[what], mark)
            person.now.step(mark, table)
        else:
            own = id_of(scenario, what)
            for name in {who[place] for place, event in enumerate(scenario.events) if own_id(event) == own}:
                known[name].erase(mark + 1, mark)
    lives = {person: [life.folded(scenario.until, table) for life in one.lives] for person, one in known.items()}
    folds = [fold for own in lives.values() for fold in own]
    now = [own[-1] for own in lives.values()]
    assert all(result.waiting == [] for result in now)
    return Found(
        lines(
            play,
            [
                line
                for person, own in lives.items()
                for number, one in enumerate(own)
                for line in said(person, one, number)
            ],
        ),
        sum(result.order_count for result in now),
        sum(amount for result in now for amount in result.revenue.values()) / UNIT,
        sum(result.withheld for result in folds),
    )


def without_cancelled(dropoffs: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """What is true in the end: a cancelled drop-off never was."""
    if dropoffs is None:
        return None
    gone = {line.partition(" cancelled ")[2] for line in dropoffs} - {""}
    return tuple(line for line in dropoffs if " cancelled " not in line and not any(which in line for which in gone))


@pytest.mark.parametrize("play", [play for play in plays() if told_by_the_oracle(play)], ids=str)
def test_the_oracle_tells_a_scenario_as_written(play: Play) -> None:
    expected = play.expected
    play = Play(
        play.scenario, play.model, msgspec.structs.replace(expected, dropoffs=without_cancelled(expected.dropoffs))
    )
    late = any(mark - event.ts > HOUR for event, mark in zip(play.scenario.events, play.scenario.marks, strict=True))
    only = ["dropoffs", "orders", "revenue", "withheld"]
    if not late:
        only.append("sessions")
    if play.in_order:  # what came late may be told as `backfilled`
        only.append("transitions")
    difference = differences(play, oracles(play), only=only)
    if difference:
        pytest.fail("\n" + difference, pytrace=False)
