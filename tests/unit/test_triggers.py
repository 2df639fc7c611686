"""Triggers: rules that send something at the right time, beside the drop-offs."""

from __future__ import annotations

import msgspec
import pytest

from tests.properties.runner import Person
from tests.properties.strategies import MINUTE, START
from tracker.domain.events import Event, Item
from tracker.domain.model import DAY, FoldSettings, Rule
from tracker.domain.table import compile_table
from tracker.journeys.loader import load


@pytest.mark.parametrize("when", ["product_viewed", "cart_changed"])
def test_a_trigger_never_arms_as_a_drop_off(when: str) -> None:
    nudge = Rule(id="nudge", emit="trigger", when=(when,), wait=5 * MINUTE, significance=100)
    model = msgspec.structs.replace(load("nettbutikk-5"), rules=(nudge,))
    person = Person(compile_table(model, FoldSettings()))
    person.take(Event("e1", "product_viewed", START, customer_id="p"))
    person.take(Event("e2", "product_added", START + 1, customer_id="p", items=[Item("shoes", price=50.0)]))
    assert person.state.facts.armed is None
    person.time(START + DAY)
