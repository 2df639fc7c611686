"""The contract as documents: they are those of the code, valid, and break nobody who relied on the last release's."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator, meta

from tests.contract.compatibility import breaks
from tracker.domain.events import Event, Item
from tracker.errors import BadEvent
from tracker.settings import Settings
from tracker.wire.contract import LETTER_HEADERS, asyncapi, schemas
from tracker.wire.deadletters import Origin, write_letter
from tracker.wire.decode import encode_event
from tracker.wire.topics import Topics

ROOT = Path(__file__).parents[2]
WRITTEN = ROOT / "docs" / "schemas"
RELEASED = sorted((WRITTEN / "released").iterdir(), key=lambda folder: [int(part) for part in folder.name.split(".")])
PARSER = ROOT / "tests" / "asyncapi"
REFRESH = "`tracker schemas --out docs/schemas` writes them"


def document() -> dict[str, Any]:
    return asyncapi(Topics("", Settings().raw_topics), version("journey-tracker"))


def test_the_committed_documents_are_those_of_the_code() -> None:
    expected = {"asyncapi": document(), **schemas()}
    assert {path.stem for path in WRITTEN.glob("*.json")} == set(expected)
    for name, content in expected.items():
        assert json.loads((WRITTEN / f"{name}.json").read_text("utf-8")) == content, REFRESH


@pytest.mark.parametrize("name", schemas())
def test_each_schema_is_one(name: str) -> None:
    assert meta.is_valid(schemas()[name])


def test_times_are_whole_milliseconds_and_money_is_a_number() -> None:
    dropoff = schemas()["dropoff"]["properties"]
    for field in ("armed_at", "due_at", "detected_at", "last_activity_at"):
        assert dropoff[field] == {"type": "integer"}
    assert dropoff["value"] == {"type": "number"}
    assert dropoff["cart"]["properties"]["value"] == {"type": "number"}


def test_a_canonical_event_is_valid_and_rubbish_is_not() -> None:
    validator = Draft202012Validator(schemas()["event"])
    event = Event("e", "product_added", 1_772_442_000_000, customer_id="c", items=[Item("p", quantity=2, price=1.5)])
    assert validator.is_valid(json.loads(encode_event(event)))
    good = {"event_id": "e", "type": "page_viewed", "ts": "2026-03-02T10:10:00+01:00", "anonymous_id": "v"}
    assert validator.is_valid(good)
    rubbish: list[dict[str, Any]] = [
        {"type": 1},
        {"ts": {}},
        {"items": {}},
        {"items": [{"price": 1}]},
        {"consent": {"marketing": "yes"}},
    ]
    for bad in rubbish:
        assert not validator.is_valid(good | bad), bad
    assert not validator.is_valid({"type": "page_viewed"})


def test_a_dead_letters_headers_are_those_of_the_document() -> None:
    for size in (10, 1_000_000):
        letter = write_letter(Origin("t", 0, 1, 2), None, b"x" * size, [], BadEvent("not_json", "why"))
        assert {name for name, _ in letter.headers} <= set(LETTER_HEADERS)
    required = document()["components"]["messages"]["deadLetter"]["headers"]["required"]
    assert set(required) == {
        name for name, _ in write_letter(Origin("t", 0, 1, 2), None, b"x", [], BadEvent("r", "")).headers
    }


def test_every_topic_that_the_tracker_writes_for_others_is_in_the_document() -> None:
    topics = Topics("acme.", ("shop.clicks",))
    addresses = {channel["address"] for channel in asyncapi(topics, "1")["channels"].values()}
    assert addresses == {*topics.outputs, topics.late, topics.dead_letters, *topics.raw_topics}


def parsed(path: Path) -> subprocess.CompletedProcess[str]:
    """What the standard's own parser says of a document."""
    if not (PARSER / "node_modules" / "@asyncapi" / "parser").is_dir():
        assert not os.environ.get("CI"), "`make test` installs the parser"
        pytest.skip("the AsyncAPI parser is not installed; `make test` installs it")
    command = ["node", str(PARSER / "check.mjs"), str(path)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


def test_the_standards_own_parser_finds_nothing_wrong_with_the_document() -> None:
    done = parsed(WRITTEN / "asyncapi.json")
    assert (done.returncode, done.stdout) == (0, "valid\n"), done.stdout + done.stderr


def test_the_parser_would_find_what_is_wrong(tmp_path: Path) -> None:
    broken = document()
    broken["channels"]["dropoff"]["messages"]["dropoff"]["$ref"] = "#/components/messages/nothing"
    (tmp_path / "broken.json").write_text(json.dumps(broken), "utf-8")
    assert parsed(tmp_path / "broken.json").returncode == 1


@pytest.mark.parametrize("name", schemas())
def test_nothing_breaks_those_who_rely_on_the_last_release(name: str) -> None:
    released = json.loads((RELEASED[-1] / f"{name}.json").read_text("utf-8"))
    assert breaks(released, schemas()[name], received=name == "event") == []


def _gone(schema: dict[str, Any]) -> None:
    del schema["properties"]["reason"]


def _optional(schema: dict[str, Any]) -> None:
    schema["required"].remove("reason")


def _null(schema: dict[str, Any]) -> None:
    schema["properties"]["reason"] = {"anyOf": [{"type": "string"}, {"type": "null"}]}


def _retyped(schema: dict[str, Any]) -> None:
    schema["properties"]["due_at"] = {"type": "string"}


def _fraction(schema: dict[str, Any]) -> None:
    schema["properties"]["due_at"] = {"type": "number"}


def _another_kind(schema: dict[str, Any]) -> None:
    schema["properties"]["kind"]["enum"].append("postponed")


def _inside(schema: dict[str, Any]) -> None:
    del schema["properties"]["cart"]["properties"]["items"]["items"]["properties"]["price"]


BREAKS: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (_gone, "reason is gone"),
    (_optional, "reason may be left out now"),
    (_null, "reason may now be null"),
    (_retyped, "due_at may now be string"),
    (_fraction, "due_at may now be number"),
    (_another_kind, "kind may now be postponed"),
    (_inside, "cart.items[].price is gone"),
]


@pytest.mark.parametrize(("change", "said"), BREAKS, ids=[said for _, said in BREAKS])
def test_a_change_that_breaks_a_reader_is_found(change: Callable[[dict[str, Any]], None], said: str) -> None:
    changed = copy.deepcopy(schemas()["dropoff"])
    change(changed)
    assert said in breaks(schemas()["dropoff"], changed)


def test_a_new_field_breaks_nobody_and_a_reader_may_be_told_less() -> None:
    old = schemas()["dropoff"]
    new = copy.deepcopy(old)
    new["properties"]["mood"] = {"type": "string"}
    new["properties"]["kind"]["enum"].remove("cancelled")
    new["properties"]["phase"] = {"type": "string"}
    assert breaks(old, new) == []


def test_for_those_who_send_it_is_the_other_way_round() -> None:
    old = schemas()["event"]
    new = copy.deepcopy(old)
    new["properties"]["mood"] = {"type": "string"}
    assert breaks(old, new, received=True) == []
    new["required"].append("customer_id")
    new["properties"]["ts"] = {"type": "integer"}
    assert set(breaks(old, new, received=True)) == {"customer_id is required now", "ts may no longer be string"}
