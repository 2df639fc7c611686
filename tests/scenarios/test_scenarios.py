"""Every scenario of this folder comes out as its author wrote, on its own and among all others."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests.scenarios.play import Found, Play, alone, at_once, differences, plays
from tracker.domain.model import FoldSettings
from tracker.domain.table import compile_table
from tracker.journeys.loader import load

PLAYS = plays()
MODELS = ["nettbutikk-5", "kundereise-5", "kundereise-7", "kundresa-5", "kunderejse-6"]
ALL = ["transitions", "sessions", "dropoffs", "triggers", "orders", "revenue"]
REACHED = ["reached", *ALL[1:]]


def in_groups() -> list[list[Play]]:
    """The plays that can share a log."""
    groups: dict[object, list[Play]] = defaultdict(list)
    for play in PLAYS:
        groups[play.conditions].append(play)
    return list(groups.values())


def check(play: Play, difference: str) -> None:
    if play.expected.known_wrong:
        assert difference, f"{play} is right now: take known_wrong away"
        pytest.xfail(play.expected.known_wrong)
    if difference:
        pytest.fail("\n" + difference, pytrace=False)


def all_right(together: list[Play], found: dict[str, Found], rules_of: str) -> None:
    """Who acts under two ids is told of as it becomes known: what they did stands, when it was said does not. Rules are
    those of one model."""
    wrong = []
    for play in together:
        only = REACHED if play.merges else ALL
        if play.model != rules_of:
            only = [section for section in only if section not in {"dropoffs", "triggers"}]
        if not play.expected.known_wrong:
            wrong.append(differences(play, found[str(play)], only=only))
    if any(wrong):
        pytest.fail("\n" + "\n\n".join(filter(None, wrong)), pytrace=False)


@pytest.mark.parametrize("play", PLAYS, ids=str)
def test_a_scenario_on_its_own_comes_out_as_written(play: Play) -> None:
    check(play, differences(play, alone(play)))


@pytest.mark.parametrize("together", in_groups(), ids=lambda group: f"{group[0].model}-{group[0].scenario.id}")
def test_all_scenarios_at_once_come_out_as_each_on_its_own(together: list[Play]) -> None:
    all_right(together, at_once(together, together[0].table), together[0].model)


def test_all_scenarios_of_five_models_at_once_come_out_as_under_each_alone() -> None:
    together = [play for play in PLAYS if play.plain and play.model in MODELS]
    table = compile_table(load(MODELS[0]), FoldSettings(), *map(load, MODELS[1:]))
    assert {play.model for play in together} == set(MODELS)
    all_right(together, at_once(together, table), MODELS[0])


def test_no_two_scenarios_have_the_same_id() -> None:
    names = [str(play) for play in PLAYS]
    assert len(set(names)) == len(names)
