"""A state is carried over to changed models: by the ids of phases and rules, else by what the journey met."""

from __future__ import annotations

import msgspec
import pytest

from tests.properties.runner import Person
from tests.properties.strategies import START
from tracker.domain.events import Event, Item
from tracker.domain.migration import migrate
from tracker.domain.model import FoldSettings, Model
from tracker.domain.outputs import Output, Transition
from tracker.domain.state import State, decode_facts
from tracker.domain.table import Table, compile_table
from tracker.journeys.loader import load

MINUTE = 60_000
SHOP = load("nettbutikk-5")
FIRST, SECOND, PURCHASE, FOURTH, FIFTH = (phase.id for phase in SHOP.phases)
CART = [Item(product_id="A", quantity=1, price=100.0)]


def table(model: Model, *others: Model) -> Table:
    return compile_table(model, FoldSettings(), *others)


def changed(*gone: str, rules: tuple[int, ...] = (0, 1, 2)) -> Model:
    """The default model without some of its phases, and with these of its rules in this order."""
    phases = tuple(phase for phase in SHOP.phases if phase.id not in gone)
    return msgspec.structs.replace(SHOP, phases=phases, rules=tuple(SHOP.rules[i] for i in rules))


def somebody(*types: str) -> State:
    """The state after these events, a minute apart."""
    person = Person(table(SHOP))
    for number, kind in enumerate(types):
        items = CART if kind in {"product_added", "order_completed"} else None
        ts = START + number * MINUTE
        person.take(Event(event_id=f"e{number}", type=kind, ts=ts, customer_id="p", items=items, order_id="O1"))
    return person.state


def carry(state: State, new: Table) -> list[tuple[str | None, str | None, str]]:
    """Carry the state over; the moves that were published."""
    out: list[Output] = []
    migrate(state, table(SHOP).lineup, new, out)
    assert state.lineup == new.mark
    return [(move.from_phase, move.to_phase, move.direction) for move in out if isinstance(move, Transition)]


def stands(state: State, new: Table, converted: bool = False) -> str:
    track = state.facts.tracks[0]
    journey = track.converted[-1] if converted else track.journey
    assert journey is not None
    return new.courses[0].phase_ids[journey.path[-1]]


def test_a_phase_that_is_still_there_is_kept_by_its_id_and_nothing_is_said() -> None:
    state, new = somebody("page_viewed", "product_added"), table(changed(SECOND))
    before = [phase.id for phase in SHOP.phases][2]
    assert carry(state, new) == []
    assert stands(state, new) == before
    assert state.base is not None
    assert decode_facts(state.base).tracks[0].journey is None


def test_a_phase_that_is_gone_is_the_furthest_one_that_the_events_lead_to() -> None:
    state, new = somebody("page_viewed", "product_viewed"), table(changed(SECOND))
    assert carry(state, new) == [(SECOND, FIRST, "back")]
    assert stands(state, new) == FIRST


def test_a_phase_that_was_not_there_before_is_entered_afterwards() -> None:
    state = somebody("product_viewed")
    new = table(changed(SECOND))
    assert carry(state, new) == [(SECOND, FIRST, "backfilled")]


def test_a_converted_journey_stays_behind_the_purchase() -> None:
    state = somebody("page_viewed", "order_completed", "order_delivered")
    new = table(changed(FOURTH))
    assert carry(state, new) == [(FOURTH, PURCHASE, "back")]
    assert stands(state, new, converted=True) == PURCHASE


@pytest.mark.parametrize(("rules", "kept"), [((2, 1, 0), True), ((0, 2), False)])
def test_an_armed_rule_is_kept_by_its_id(rules: tuple[int, ...], kept: bool) -> None:
    state = somebody("product_added")
    before = state.facts.armed
    assert before is not None
    rule = SHOP.rules[before.rule].id
    new = changed(rules=rules)
    carry(state, table(new))
    armed = state.facts.armed
    assert (None if armed is None else new.rules[armed.rule].id) == (rule if kept else None)


def test_a_model_begins_and_ends_without_a_word_and_uses_no_id_twice() -> None:
    state = somebody("page_viewed")
    other = msgspec.structs.replace(SHOP, id="annen")
    both, alone = table(other, SHOP), table(other)
    assert carry(state, both) == []
    fresh, kept = state.facts.tracks
    assert (fresh.journey, kept.journeys) == (None, 1)
    out: list[Output] = []
    migrate(state, both.lineup, alone, out)
    assert (len(state.facts.tracks), state.facts.ended) == (1, {SHOP.id: 1})
    migrate(state, alone.lineup, both, out)
    assert (state.facts.tracks[1].journeys, state.facts.tracks[1].journey, out) == (1, None, [])


def test_a_lineup_that_nobody_knows_keeps_what_the_events_say() -> None:
    state, new = somebody("page_viewed", "product_viewed"), table(SHOP)
    migrate(state, None, new, [])
    assert stands(state, new) == SECOND
    assert state.facts.armed is None
