"""Published examples of each specification become the canonical events that stand beside them.

A file of this folder is named for its dialect and is a list of `source` (the page's address), `record` (its value as
JSON), `headers` where it has any, and `events` (what becomes of it, `ts` in ms; without an `event_id` where the dialect
has none).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from tests.unit.raw import Raw
from tracker.domain.events import Event
from tracker.wire.dialects import DIALECTS
from tracker.wire.reading import AUTO, reader_of

STAMP = 1_700_000_000_000
EXAMPLES = [
    pytest.param(file.stem, example, id=f"{file.stem}-{number}-{example['source'].rstrip('/').rpartition('/')[2]}")
    for file in sorted(Path(__file__).parent.glob("*.yaml"))
    for number, example in enumerate(yaml.safe_load(file.read_text("utf-8")))
]


@pytest.mark.parametrize(("dialect", "example"), EXAMPLES)
def test_an_example_is_read_as_its_dialect_and_completely(dialect: str, example: dict[str, Any]) -> None:
    headers = tuple((name, text.encode()) for name, text in example.get("headers", {}).items())
    raw = Raw(msgspec.json.encode(example["record"]), timestamp=STAMP, headers=headers)
    events = [one.event for one in reader_of(dialect)(raw, STAMP).events]
    assert len(events) == len(example["events"])
    assert events == [
        msgspec.convert({"event_id": event.event_id} | expected, Event)
        for event, expected in zip(events, example["events"], strict=True)
    ]
    found = reader_of(AUTO)(raw, STAMP)
    assert [one.event for one in found.events] == events
    if "rudderId" not in example["record"]:  # RudderStack's share Segment's file
        assert found.dialect == dialect


@pytest.mark.parametrize(("dialect", "example"), EXAMPLES)
def test_no_other_dialect_takes_an_example_for_its_own(dialect: str, example: dict[str, Any]) -> None:
    fields = msgspec.json.decode(msgspec.json.encode(example["record"]), type=dict[str, msgspec.Raw])
    own = {known.name for known in DIALECTS if known.recognises(fields)}
    assert len(own) == 1 or ("headers" in example and not own), f"{dialect}'s example is taken for {own}"
