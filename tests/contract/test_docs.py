"""The documentation lists what the code has: settings, commands, topics, metrics, event types, reasons, fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

from tracker.cli import main
from tracker.domain.events import EVENT_TYPES, PASSIVE_TYPES, Event
from tracker.domain.outputs import DropOff, SessionClosed, Transition
from tracker.domain.table import REFUND_TYPES
from tracker.errors import BadEvent
from tracker.journeys.loader import CONVERTING
from tracker.metrics import CATALOGUE
from tracker.settings import Settings, catalogue, flag, names
from tracker.wire.deadletters import Origin, write_letter
from tracker.wire.decode import REASONS
from tracker.wire.topics import Topics

_ROOT = Path(__file__).parents[2]
_DOCS = _ROOT / "docs"


def rows(file: str, heading: str = "") -> list[list[str]]:
    """The cells of all table rows below a heading (to the next one), or of a whole file; without header rows."""
    text = (_DOCS / file).read_text(encoding="utf-8")
    if heading:
        assert f"\n{heading}\n" in text, f"docs/{file} has no {heading!r}"
        text = re.split(r"^## ", text.split(f"\n{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    found = [line.strip().strip("|").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in found]


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
    [("journey.transitions", Transition), ("journey.dropoffs", DropOff), ("journey.sessions", SessionClosed)],
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
        for name in EVENT_TYPES
    }


def test_every_field_of_an_event_is_documented() -> None:
    assert firsts(rows("events.md", "## Fields")) == [field.name for field in msgspec.structs.fields(Event)]


def test_every_reason_for_which_a_record_is_refused_is_documented() -> None:
    raised = {
        reason
        for folder in ("wire", "stream")
        for file in (_ROOT / "tracker" / folder).glob("*.py")
        for reason in re.findall(r'BadEvent\(\s*"(\w+)"', file.read_text(encoding="utf-8"))
    }
    not_of_records_in_topics = {"bad_letter", "bad_lines"}
    documented = firsts(rows("events.md", "## What is refused"))
    assert set(documented) == (raised | set(REASONS)) - not_of_records_in_topics
    assert len(documented) == len(set(documented))


def test_links_between_documents_lead_somewhere() -> None:
    for file in _DOCS.glob("*.md"):
        text = file.read_text(encoding="utf-8")
        for target, anchor in re.findall(r"\]\(([\w./-]+\.md)?(#[\w-]+)?\)", text):
            goal = file.parent / target if target else file
            assert goal.is_file(), f"{file.name} links to {target}"
            if anchor:
                heads = re.findall(r"^#+ (.*)$", goal.read_text(encoding="utf-8"), re.MULTILINE)
                slugs = {"#" + re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
                assert anchor in slugs, f"{file.name} links to {target}{anchor}"
