"""Nina, Oliver and their twins have the same journeys in whatever dialect their shop writes: states and outputs are the
same, byte for byte, but for what `Writer.own` names."""

from __future__ import annotations

from functools import cache

import msgspec
import pytest

from tests.dialects.webhooks import MAPPING, till
from tests.dialects.writers import WRITERS, Wire, Writer, canonical
from tests.properties.log import Log, LogRecord, Said, Worker, send_on
from tests.scenarios.play import canonical_stage
from tracker.demo.scenarios import scenarios
from tracker.domain.events import Event
from tracker.domain.model import FoldSettings
from tracker.domain.table import compile_table
from tracker.journeys.loader import load
from tracker.stream.sources import EventSource
from tracker.wire.dialects import DIALECTS
from tracker.wire.reading import AUTO, CANONICAL, Spoken, reader_of
from tracker.wiring.mappings import load_mapping

MODELS = ("nettbutikk-5", "kundereise-7")
UNWRITTEN: frozenset[str] = frozenset()
"""Dialects that have no writer, as what they read is the shop's to say."""


@cache
def story() -> tuple[tuple[int, Event], ...]:
    """(how far time has come, event) of everybody, in the order in which they come in."""
    told = scenarios()
    arrivals = [
        (mark, place, number, event)
        for place, scenario in enumerate(told)
        for number, (event, mark) in enumerate(zip(scenario.events, scenario.marks, strict=True))
    ]
    return tuple((mark, event) for mark, _, _, event in sorted(arrivals, key=lambda arrival: arrival[:3]))


def written(dialect: str, writer: Writer, spoken: Spoken = AUTO) -> tuple[list[Wire], list[Wire]]:
    """The story as the dialect's producers write it, and in the canonical form with what is the dialect's own."""
    raw, expected = [], []
    read = reader_of(spoken)
    for _, event in story():
        wire = writer.write(event)
        if wire is not None:
            reading = read(LogRecord(0, None, wire.value, wire.headers), event.ts)
            assert reading.dialect == dialect
            found = [one.event for one in reading.events]
            assert len(found) == 1, f"{event} became {found}"
            event = msgspec.structs.replace(event, **{field: getattr(found[0], field) for field in writer.own})
            assert found == [event]
        raw.append(canonical(event) if wire is None else wire)
        expected.append(canonical(event))
    return raw, expected


def folded(records: list[Wire], model: str, spoken: Spoken = AUTO) -> tuple[list[Said], dict[str, bytes]]:
    """(everything that is said, states by person) after ingest and the fold."""
    table = compile_table(load(model), FoldSettings())
    log, stage, worker = Log(), canonical_stage(spoken), Worker(compile=lambda _: table)
    for number, ((mark, event), wire) in enumerate(zip(story(), records, strict=True)):
        log.watermark(mark)
        raw = LogRecord(number, None, wire.value, wire.headers, timestamp=event.ts)
        for out in stage.take([raw], EventSource(), mark)[0]:
            log.add(out.key or b"", out.value or b"", list(out.headers))
        send_on(log, worker)
    log.watermark(max(scenario.until for scenario in scenarios()))
    send_on(log, worker)
    return worker.said, worker.states


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dialect", [name for name in WRITERS if name != CANONICAL])
def test_a_journey_is_the_same_in_every_dialect(dialect: str, model: str) -> None:
    raw, expected = written(dialect, WRITERS[dialect])
    said, states = folded(raw, model)
    assert said
    assert (said, states) == folded(expected, model)


@pytest.mark.parametrize("model", MODELS)
def test_a_journey_is_the_same_in_a_dialect_that_a_mapping_describes(model: str) -> None:
    mapped, slips = load_mapping(MAPPING)
    raw, expected = written("till", Writer(till), (mapped,))
    said, states = folded(raw, model, (mapped,))
    assert said
    assert not slips
    assert (said, states) == folded(expected, model)


def test_every_dialect_has_a_writer() -> None:
    assert {dialect.name for dialect in DIALECTS} - UNWRITTEN == set(WRITERS) - {CANONICAL}
