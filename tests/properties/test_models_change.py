"""Models change under running journeys: what comes of it depends on the log alone, and several models at once give for
each what it gives alone."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import chain, repeat

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle import naive
from tests.oracle.table import NETTBUTIKK
from tests.properties.log import CONFIG, Log, Worker
from tests.properties.runner import Person, moves_of, moves_said
from tests.properties.stories import PEOPLE, logs
from tests.properties.strategies import as_person, scripts
from tracker.domain.events import Event
from tracker.domain.model import FoldSettings, Model, Phase
from tracker.domain.outputs import Transition
from tracker.domain.table import Table as Compiled
from tracker.domain.table import compile_table
from tracker.journeys.loader import load
from tracker.wire.control import Config

DAY = 86_400_000
SHOP = load("nettbutikk-5")


def without(model: Model, *phases: str) -> Model:
    return msgspec.structs.replace(model, phases=tuple(phase for phase in model.phases if phase.id not in phases))


def renamed(phase: Phase) -> Phase:
    return msgspec.structs.replace(phase, id=f"ny-{phase.id}")


IDS = [phase.id for phase in SHOP.phases]
ALL_NEW = msgspec.structs.replace(SHOP, phases=tuple(map(renamed, SHOP.phases)), rules=SHOP.rules[1:])
OTHER = msgspec.structs.replace(SHOP, id="annen", journey_timeout=7 * DAY, conversion=("trial_started",))
VERSIONS: dict[str, tuple[Model, ...]] = {
    "": (SHOP,),
    "fewer": (without(SHOP, IDS[1], IDS[3]),),
    "none kept": (ALL_NEW,),
    "two": (SHOP, OTHER),
    "other first": (OTHER, ALL_NEW),
}


@cache
def compiled(version: str) -> Compiled:
    first, *others = VERSIONS[version]
    return compile_table(first, FoldSettings(), *others)


FIRST = msgspec.structs.replace(CONFIG, models=("",))


def compile_version(config: Config) -> Compiled:
    return compiled(config.models[0])


@st.composite
def changing(draw: st.DrawFn, kinds: tuple[str, ...] = (*["event"] * 8, "late", "copy", "merge")) -> Log:
    """A log with changes of the models in the middle."""
    log, plain = Log(), draw(logs(kinds))
    changes = {draw(st.integers(0, len(plain.records))) for _ in range(draw(st.integers(1, 3)))}
    for place, record in enumerate(plain.records):
        if place in changes:
            version = draw(st.sampled_from(sorted(VERSIONS)))
            log.control(msgspec.structs.replace(CONFIG, models=(version,)))
        log.add(record.key, record.value, record.headers)
    return log


def worker(cached: int = 1000, deadlines: int = 1000) -> Worker:
    return Worker(cache=cached, deadlines=deadlines, config=FIRST, compile=compile_version)


@given(
    changing(),
    st.lists(st.integers(1, 5), max_size=8),
    st.lists(st.booleans(), max_size=8),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_a_log_in_which_models_change_gives_the_same_however_it_is_cut(
    log: Log, cuts: list[int], crashes: list[bool], cached: int, deadlines: int
) -> None:
    one = worker().read(log)
    other = worker(cached, deadlines).read(log, chain(cuts, repeat(4)), chain(crashes, repeat(False)))
    assert other.said == one.said
    assert other.people() == one.people()
    assert other.counted() == one.counted()


@given(changing(("event", "event", "event", "late", "copy")))
def test_once_everybody_was_seen_again_nobody_stands_in_a_phase_that_is_gone(log: Log) -> None:
    marked = worker().read(log)
    later = marked.position.watermark + DAY
    for number, person in enumerate(PEOPLE):
        log.event(as_person(Event(event_id=f"z{number}", type="page_viewed", ts=later), person), person)
    read = worker().read(log)
    courses = read.fold.table.courses
    standing = {name: n for name, n in read.counted().items() if name.startswith("in:")}
    assert all(n > 0 for n in standing.values())
    for course in courses:
        phases = {name.split(":")[2] for name in standing if name.startswith(f"in:{course.model.id}:")}
        assert phases <= set(course.phase_ids)


SHORT = without(msgspec.structs.replace(SHOP, id="kort", journey_timeout=7 * DAY), IDS[1], IDS[3])
SHORT_ROWS = replace(
    NETTBUTIKK,
    phases=tuple(row for row in NETTBUTIKK.phases if row.id not in {IDS[1], IDS[3]}),
    journey_timeout=7 * DAY,
)
PART = msgspec.structs.replace(SHOP, id="del", part=True)


@given(scripts())
def test_several_models_at_once_give_for_each_what_the_naive_fold_gives_for_it_alone(events: list[Event]) -> None:
    ordered = sorted(events, key=lambda event: (event.ts, event.event_id))
    person = Person(compile_table(SHOP, FoldSettings(), PART, SHORT)).live(ordered)
    for model, rows in ((SHOP, NETTBUTIKK), (SHORT, SHORT_ROWS)):
        mine = Person(person.table)
        mine.out = [move for move in person.said(Transition) if move.model == model.id]
        assert moves_said(mine) == moves_of(naive.fold(events, person.watermark, rows))


@given(scripts())
def test_a_part_is_begun_by_its_phases_alone_and_converted_only_when_under_way(events: list[Event]) -> None:
    ordered = sorted(events, key=lambda event: (event.ts, event.event_id))
    person = Person(compile_table(SHOP, FoldSettings(), PART)).live(ordered)
    named = {name for phase in PART.phases if phase.stage != "after" for entry in phase.enter for name in entry.events}
    begun: set[str] = set()
    for move in person.said(Transition):
        if move.model == PART.id and move.journey_id not in begun:
            begun.add(move.journey_id)
            assert (move.direction, move.event_type in named) == ("enter", True)
