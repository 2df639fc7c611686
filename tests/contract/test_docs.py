"""The documentation lists what the code has: settings, commands, topics, metrics, event types, reasons, fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import msgspec
import pytest

from tracker.cli import main
from tracker.domain.conditions import Condition
from tracker.domain.events import KNOWN_TYPES, PASSIVE_TYPES, Event
from tracker.domain.model import Model
from tracker.domain.outputs import DropOff, SessionClosed, Transition, Trigger
from tracker.domain.scores import KINDS, PROPERTIES, level
from tracker.domain.table import REFUND_TYPES
from tracker.domain.texts import Text
from tracker.errors import BadEvent
from tracker.journeys.checks import CONVERTING
from tracker.journeys.draw import diagram, svg
from tracker.journeys.loader import load, parse
from tracker.metrics import CATALOGUE
from tracker.settings import Settings, catalogue, flag, names
from tracker.stream.reconcile import Stop
from tracker.wire.deadletters import Origin, write_letter
from tracker.wire.decode import REASONS, decode_event
from tracker.wire.topics import Topics

_ROOT = Path(__file__).parents[2]
_DOCS = _ROOT / "docs"
PAGES = [_ROOT / "README.md", _ROOT / "CHANGELOG.md", *sorted(_DOCS.rglob("*.md"))]


def rows(file: str, heading: str = "") -> list[list[str]]:
    """The cells of all table rows below a heading (to the next one), or of a whole file; without header rows."""
    text = (_DOCS / file).read_text(encoding="utf-8")
    if heading:
        assert f"\n{heading}\n" in text, f"docs/{file} has no {heading!r}"
        text = re.split(r"^## ", text.split(f"\n{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    found = [line.strip().strip("|").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in found]


def _name(page: Path) -> str:
    return str(page.relative_to(_ROOT))


def firsts(table: list[list[str]]) -> list[str]:
    """The names in the first column."""
    return [row[0].strip("`?") for row in table]


def commands(command: click.Command = main, path: str = "tracker") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, f"{path} {name}")
    else:
        yield path, command


COMMANDS = dict(commands())


def test_every_setting_is_documented_with_its_default_meaning_and_what_is_allowed() -> None:
    expected = [
        [f"`{name}`", f"`{default}`" if default else "none", meaning, allowed]
        for name, _, default, meaning, allowed in catalogue()
    ]
    assert rows("settings.md") == expected, "`tracker settings --markdown` prints the table"


def test_every_metric_is_documented_with_type_labels_and_meaning() -> None:
    documented = [row for row in rows("metrics.md") if row[0].startswith("`tracker_")]
    assert documented == [
        [f"`{name}`", kind, ", ".join(f"`{label}`" for label in labels) or "none", meaning]
        for name, kind, labels, meaning in CATALOGUE
    ]


def test_metrics_in_example_queries_exist() -> None:
    text = (_DOCS / "metrics.md").read_text(encoding="utf-8").split("## What to look at")[1]
    known = {metric.name for metric in CATALOGUE}
    used = {name.removesuffix("_bucket") for name in re.findall(r"tracker_\w+", text)}
    assert used <= known


def test_every_command_has_a_section_and_no_other_has() -> None:
    text = (_DOCS / "commands.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (tracker .*)$", text, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_of_a_command_is_documented_as_in_its_help(path: str) -> None:
    settings = {flag(name) for name in names()} | {"--settings"}
    options = [option for option in COMMANDS[path].params if isinstance(option, click.Option) and not option.hidden]
    assert rows("commands.md", f"## {path}") == [
        [", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts)), str(option.help)]
        for option in options
        if option.opts[0] not in settings
    ]
    usual = [option.opts[0] for option in options if option.opts[0] in settings]
    section = (_DOCS / "commands.md").read_text(encoding="utf-8").split(f"\n## {path}\n")[1].split("\n## ")[0]
    line = f"Usual settings: {', '.join(f'`{name}`' for name in usual)}"
    assert (f"\n{line}\n" in section) if usual else ("Usual settings" not in section)


def test_every_topic_is_documented_and_no_other_is() -> None:
    topics = Topics(raw=Settings().raw_topics)
    listed = firsts(rows("topics.md"))
    assert listed[: listed.index("tracker-ingest")] == [*topics.raw, *topics.produced]
    groups = listed[listed.index("tracker-ingest") :][:3]
    assert groups == [topics.ingest_group, topics.track_group, topics.dead_letters_group]
    text = (_DOCS / "topics.md").read_text(encoding="utf-8")
    assert topics.transactional_id(7).replace("7", "N") in text


@pytest.mark.parametrize(
    ("topic", "output"),
    [
        ("journey.transitions", Transition),
        ("journey.dropoffs", DropOff),
        ("journey.triggers", Trigger),
        ("journey.sessions", SessionClosed),
    ],
)
def test_every_field_of_an_output_is_documented_and_optional_ones_are_marked(
    topic: str, output: type[msgspec.Struct]
) -> None:
    documented = {row[0].strip("`?"): row[0].endswith("?") for row in rows("topics.md", f"## {topic}")}
    assert documented == {field.name: not field.required for field in msgspec.structs.fields(output)}


def test_the_headers_of_a_dead_letter_are_documented() -> None:
    letter = write_letter(
        Origin("shop.clicks", 0, 1, 2), b"k", b"v" * 2_000_000, [], BadEvent("too_large", "2 MB"), 1_000_000
    )
    assert firsts(rows("topics.md", "## journey.dead-letters")) == [name for name, _ in letter.headers]


def test_every_event_type_is_documented_with_what_is_special_about_it() -> None:
    never_late = set(CONVERTING) | REFUND_TYPES
    documented = {row[0].strip("`"): row[2] if len(row) > 2 else "" for row in rows("events.md", "## Types")}
    assert documented == {
        name: ", ".join(
            word for word, holds in (("passive", name in PASSIVE_TYPES), ("never late", name in never_late)) if holds
        )
        for name in KNOWN_TYPES
    }


def test_every_field_of_an_event_is_documented() -> None:
    assert firsts(rows("events.md", "## Fields")) == [field.name for field in msgspec.structs.fields(Event)]


def test_the_properties_that_bring_scores_are_documented_with_their_events() -> None:
    documented: dict[str, set[str]] = {name: set() for name in PROPERTIES}
    for given, of, _ in (row for row in rows("events.md", "## Scores") if len(row) == 3):
        for event_type in PROPERTIES if of == "both" else [of.strip("`")]:
            documented[event_type] |= {name.strip(" `") for name in given.split(",")}
    assert documented == PROPERTIES


def test_every_level_of_a_score_is_documented() -> None:
    documented = {
        (kind.strip("`"), score): place - 2
        for kind, _, _, *levels in (row for row in rows("events.md", "## Scores") if len(row) == 8)
        for place, scores in enumerate(levels)
        for score in range(int(scores.split("-")[0]), int(scores.split("-")[-1]) + 1)
    }
    assert documented == {place: level(*place) for place in documented}
    assert [sum(kind == known for kind, _ in documented) for known in KINDS] == [11, 7, 5, 5]


def test_every_reason_for_which_a_record_is_refused_is_documented() -> None:
    raised = {
        reason
        for folder in ("wire", "stream")
        for file in (_ROOT / "tracker" / folder).glob("*.py")
        for reason in re.findall(r'BadEvent\(\s*"(\w+)"', file.read_text(encoding="utf-8"))
    }
    not_of_records_in_topics = {"bad_letter"}
    documented = firsts(rows("events.md", "## What is refused"))
    assert set(documented) == (raised | set(REASONS)) - not_of_records_in_topics
    assert len(documented) == len(set(documented))


def test_everything_that_stops_a_partition_is_documented_with_the_ways_out() -> None:
    assert firsts(rows("operation.md", "## What stops a partition")) == list(get_args(Stop))


def keys(kind: msgspec.inspect.Type, path: str, seen: set[type]) -> Iterator[str]:
    """The keys of a model file, dotted; those of a struct where it comes first. Conditions have a page of their own."""
    if isinstance(kind, msgspec.inspect.VarTupleType):
        yield from keys(kind.item_type, path, seen)
    elif isinstance(kind, msgspec.inspect.UnionType):
        for one in kind.types:
            yield from keys(one, path, seen)
    elif isinstance(kind, msgspec.inspect.StructType) and kind.cls not in seen and kind.cls is not Condition:
        seen.add(kind.cls)
        for field in kind.fields:
            yield f"{path}{field.encode_name}"
            yield from keys(field.type, f"{path}{field.encode_name}.", seen)


def test_every_key_of_a_model_is_documented_once() -> None:
    expected = ["extends", *keys(msgspec.inspect.type_info(Model), "", {Text})]
    assert sorted(firsts(rows("models.md", "## Keys"))) == sorted(expected)


def test_models_that_the_page_shows_are_valid() -> None:
    text = (_DOCS / "models.md").read_text(encoding="utf-8")
    shown = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(shown) >= 3
    for block in shown:
        head = "" if "extends:" in block else "id: shown\nextends: nettbutikk-5\n"
        parse(head + block, "models.md", pytest.fail)


def test_links_between_documents_lead_somewhere() -> None:
    for file in PAGES:
        text = file.read_text(encoding="utf-8")
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]+)?(#[\w-]+)?\)", text):
            goal = file.parent / target if target else file
            assert goal.exists(), f"{file.name} links to {target}"
            if anchor:
                heads = re.findall(r"^#+ (.*)$", goal.read_text(encoding="utf-8"), re.MULTILINE)
                slugs = {"#" + re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
                assert anchor in slugs, f"{file.name} links to {target}{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"(?<![\w/.-])(?:tracker|tests|docs|deploy|scripts)/[\w./-]*\w", text):
        assert (_ROOT / name).exists(), f"{_name(page)} names {name}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_settings_and_metrics_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    known = {f"TRACKER_{name.upper()}" for name in names()} | {"TRACKER_SETTINGS_FILE"}
    assert set(re.findall(r"TRACKER_[A-Z]+(?:_[A-Z]+)*", text)) <= known
    metrics = {metric.name for metric in CATALOGUE}
    used = set(re.findall(r"\btracker_[a-z_]+", text))
    assert {name.removesuffix("_bucket") for name in used} <= metrics


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_that_a_page_shows_exist_with_their_options(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (_ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    shown = [line.strip() for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    shown += re.findall(r"`((?:tracker|make) [^`]+)`", text)
    for line in shown:
        program, *words = line.removeprefix(".venv/bin/").split()
        if program == "make":
            assert words[0] in targets, f"{_name(page)} shows {line}"
        elif program == "tracker":
            command: click.Command = main
            while isinstance(command, click.Group) and words:
                assert words[0] in command.commands or words[0].isupper(), f"{_name(page)} shows {line}"
                if words[0].isupper():
                    break
                command = command.commands[words.pop(0)]
            flags = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
            given = {word.partition("=")[0] for word in words if word.startswith("--")} - {"--help"}
            assert given <= flags, f"{_name(page)} shows {line}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_json_that_a_page_shows_is_json_and_its_events_are_canonical(page: Path) -> None:
    for block in re.findall(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        shown = msgspec.json.decode(block)
        if "event_id" in shown:
            assert decode_event(block.encode()).event_id == shown["event_id"]


def test_example_files_hold_canonical_events() -> None:
    for file in (_DOCS / "examples").glob("*.jsonl"):
        assert all(decode_event(line) for line in file.read_bytes().splitlines())


def test_the_consumer_in_the_document_is_the_one_that_is_tested() -> None:
    text = (_DOCS / "retargeting.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert shown == (_DOCS / "examples" / "retargeting.py").read_text(encoding="utf-8")


def test_the_drawing_of_the_default_model_is_what_the_command_draws() -> None:
    assert (_DOCS / "nettbutikk-5.svg").read_text(encoding="utf-8") == svg(diagram(load("nettbutikk-5")))


def test_every_decision_is_in_the_list_under_its_title() -> None:
    folder = _DOCS / "decisions"
    listed = re.findall(r"^\| (\d+) \| \[(.*)\]\((.*)\) \|$", (folder / "README.md").read_text("utf-8"), re.MULTILINE)
    files = sorted(file.name for file in folder.glob("0*.md"))
    assert [name for _, _, name in listed] == files
    for number, title, name in listed:
        assert (folder / name).read_text("utf-8").startswith(f"# {number}. {title}\n")


def test_the_journey_of_one_event_names_what_is_in_its_files() -> None:
    text = (
        (_DOCS / "architecture.md").read_text(encoding="utf-8").split("## The journey of one event")[1].split("## ")[0]
    )
    steps = re.split(r"^\d\. ", text, flags=re.MULTILINE)[1:]
    assert len(steps) == 5
    for step in steps:
        files = [(_ROOT / name).read_text(encoding="utf-8") for name in re.findall(r"`(tracker/[\w/.]+)`", step)]
        for name in re.findall(r"`(\w+)`", step):
            assert any(name.lower() in file.lower() for file in files), f"{name} is in none of its files"


def test_documents_name_no_place_of_one_machine() -> None:
    for page in PAGES:
        assert not re.search(r"(?<![\w.])/(?:work|root|home|tmp)\b", page.read_text(encoding="utf-8")), page
