"""Every scenario of this folder comes out as its author wrote, on its own and among all others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pytest

from tests.scenarios.play import Play, alone, at_once, differences, plays

PLAYS = plays()


def in_groups() -> list[list[Play]]:
    """The plays that can share a log."""
    groups: dict[object, list[Play]] = defaultdict(list)
    for play in PLAYS:
        groups[play.conditions].append(play)
    return list(groups.values())


def check(difference: str, plays: Sequence[Play]) -> None:
    wrong = [play.expected.known_wrong for play in plays if play.expected.known_wrong]
    if difference and wrong and len(plays) == 1:
        pytest.xfail(wrong[0])
    assert not (wrong and len(plays) == 1), f"{plays[0]} is right now: take known_wrong away"
    if difference:
        pytest.fail("\n" + difference, pytrace=False)


@pytest.mark.parametrize("play", PLAYS, ids=str)
def test_a_scenario_on_its_own_comes_out_as_written(play: Play) -> None:
    check(differences(play, alone(play)), [play])


@pytest.mark.parametrize("together", in_groups(), ids=lambda group: f"{group[0].model}-{group[0].scenario.id}")
def test_all_scenarios_at_once_come_out_as_each_on_its_own(together: list[Play]) -> None:
    """Who acts under two ids is told of as it becomes known: what they did stands, when it was said does not."""
    found = at_once(together)
    wrong = []
    for play in together:
        if not play.expected.known_wrong:
            only = ["reached", "sessions", "dropoffs", "triggers", "orders", "revenue"] if play.merges else []
            wrong.append(differences(play, found[play.scenario.id], only=only))
    check("\n\n".join(filter(None, wrong)), together)


def test_no_two_scenarios_have_the_same_id() -> None:
    names = [str(play) for play in PLAYS]
    assert len(set(names)) == len(names)
