"""docs/scenarios.md is true, and a wrong scenario is named by file, line and key."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from tests.scenarios.play import alone, beside, differences, plays_of
from tracker.demo import scenarios
from tracker.demo.scenarios import Expected, load_scenarios, moment_of, parse_scenarios, same_way, text_of
from tracker.errors import ScenarioError

DOCS = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text("utf-8")
EXAMPLE = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)[0]


def keys(heading: str) -> list[str]:
    section = DOCS.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)`", section, re.MULTILINE)


def test_the_documented_scenario_comes_out_as_written() -> None:
    (scenario,) = parse_scenarios(EXAMPLE, "docs/scenarios.md")
    found = [differences(play, alone(play)) for play in plays_of(scenario)]
    assert found == ["", ""]


def test_every_key_is_documented_and_no_other_is() -> None:
    assert keys("Keys of a scenario") == [field.name for field in msgspec.structs.fields(scenarios._Told)]
    assert keys("Keys of what is expected") == [field.name for field in msgspec.structs.fields(Expected)]


@pytest.mark.parametrize(
    ("right", "wrong", "line", "message"),
    [
        ("title:", "titel:", 2, "[1].titel is not a key. Did you mean title?"),
        ("at: 0 13:50", "at: 0 25:50", 6, "[1].events[2].at is '0 25:50'; allowed: a day and a time of day"),
        ("at: 0 13:50", "at: noon", 6, "[1].events[2].at is 'noon'; allowed: a day and a time of day"),
        ("at: 0 13:50", "at: 0 09:50", 6, "before the event above; say when it `arrives`"),
        ("type: page_viewed", "typ: page_viewed", 6, "[1].events[2].typ is not a key. Did you mean type?"),
        ("price: 899", "price: much", 5, "[1].events[1].items[1].price is 'much'; allowed: a number"),
        ("customer_id: kari", "customer_id: guest", 5, "[1].events[1]: customer_id is 'guest'"),
        ("enter kjop", "entered kjop", 11, "is '0 10:00 entered kjop'; allowed: TIME enter|forward"),
        ("worth 899", "", 19, "recovered REASON armed TIME worth N"),
        ("0 13:50 to 13:50", "0 13:50 to 13:99", 15, "[1].expect[1].sessions[2]"),
        ("orders: 1", "orders: one", 20, "[1].expect[1].orders is 'one'; allowed: a whole number"),
        ("  common:", "  until: 0 16:00\n  common:", 3, "which lies before the last event"),
        ("  common:", "  events_of: nina\n  common:", 1, "needs either events or events_of"),
    ],
)
def test_a_wrong_scenario_is_named_by_file_line_and_key(right: str, wrong: str, line: int, message: str) -> None:
    assert right in EXAMPLE
    with pytest.raises(ScenarioError) as caught:
        parse_scenarios(EXAMPLE.replace(right, wrong, 1), "cases.yaml")
    assert str(caught.value).startswith(f"cases.yaml:{line}: ")
    assert message in str(caught.value)


def test_two_scenarios_of_one_id_and_an_unknown_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"cases\.yaml:22: \[2\]\.id is 'two-visits', which stands above"):
        parse_scenarios(EXAMPLE * 2, "cases.yaml")
    with pytest.raises(ScenarioError, match=r"'nian' is neither a file nor a built-in scenario\. Did you mean nina"):
        load_scenarios("nian")
    with pytest.raises(ScenarioError, match="Did you mean nina"):
        parse_scenarios("- {id: x, title: x, events_of: ninna}", "cases.yaml")
    (tmp_path / "own.yaml").write_text(EXAMPLE)
    assert [scenario.id for scenario in load_scenarios(str(tmp_path / "own.yaml"))] == ["two-visits"]


def test_an_unknown_type_is_allowed_and_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(scenarios.log, "warning", lambda text, *given: said.append(text % given))
    parse_scenarios(EXAMPLE.replace("page_viewed", "page_vewed"), "cases.yaml")
    assert said == ["cases.yaml:6: page_vewed is not one of the canonical event types. Did you mean page_viewed?"]


def test_times_and_lines_have_one_way_of_writing() -> None:
    for text in ("0 10:00", "-3 08:15:30", "1 20:00:00.350", "27 03:00"):
        assert text_of(moment_of(text)) == text
    assert same_way("2 9:05 cart armed 8:00 due 2 9:05 of kari") == "2 09:05 cart armed 2 08:00 of kari"


def test_properties_that_name_a_moment_are_told_like_other_times() -> None:
    own = "properties: {delivery_at: 3 12:00, birthday: 1990-05-17, shelf: 20:15, live: true}"
    (scenario,) = parse_scenarios(EXAMPLE.replace("value: 899", own), "cases.yaml")
    assert scenario.events[-1].properties == {
        "delivery_at": moment_of("3 12:00"), "birthday": "1990-05-17", "shelf": "20:15", "live": True,
    }  # fmt: skip


def test_what_differs_stands_side_by_side() -> None:
    assert beside(["0 10:00 a", "0 11:00 b"], ["0 10:00 a", "0 12:00 c"]) == (
        "  expected   found\n"
        "  0 10:00 a  0 10:00 a\n"
        "! 0 11:00 b  -\n"
        "! -          0 12:00 c"
    )  # fmt: skip
