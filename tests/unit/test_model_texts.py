"""What the models say to people: complete, glossed, and nothing that refers to what is not there."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from tracker.domain.events import EVENT_TYPES
from tracker.domain.model import FoldSettings, Model
from tracker.domain.table import compile_table
from tracker.domain.texts import Feeling, Kpi, Text
from tracker.journeys.draw import diagram, text
from tracker.journeys.loader import load

COMPLETE = ("kundereise-5", "kundereise-7")
SHARES = {"conversion", "reach", "drop_off", "recovery", "return_rate"}


@pytest.fixture(params=COMPLETE)
def model(request: pytest.FixtureRequest) -> Model:
    return load(request.param, pytest.fail)


def texts(value: object) -> Iterator[Text | Feeling]:
    """Every text below a value."""
    if isinstance(value, Text | Feeling):
        yield value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from texts(getattr(value, name))
    elif isinstance(value, tuple):
        for one in value:
            yield from texts(one)


def test_every_phase_says_all_that_the_map_shows(model: Model) -> None:
    for phase in model.phases:
        for (
            name
        ) in "gloss actions goals questions thoughts barriers possibilities improvements channels kpis feeling".split():
            assert getattr(phase, name), (phase.id, name)
        assert 3 <= len(phase.touchpoints) <= 5, phase.id
    for name in "gloss method review segments channels reopen".split():
        assert getattr(model, name), name
    assert model.zones.red
    assert model.zones.green


def test_every_text_has_its_gloss_and_is_said_once_in_a_phase(model: Model) -> None:
    assert [text.text for text in texts(model) if not text.gloss] == []
    for phase in model.phases:
        for name in "actions goals questions thoughts barriers possibilities".split():
            said = [text.text for text in getattr(phase, name)]
            assert len(said) == len(set(said))


def test_what_is_named_elsewhere_is_there(model: Model) -> None:
    ids = [phase.id for phase in model.phases]
    channels = {channel for phase in model.phases for channel in phase.channels}
    assert {goal.channel for goal in model.channels} <= channels | {"direct"}
    for place, phase in enumerate(model.phases):
        touchpoints = [touchpoint.id for touchpoint in phase.touchpoints]
        assert len(touchpoints) == len(set(touchpoints))
        assert set(phase.success) <= set(ids[place + 1 :])
        assert {improvement.touchpoint for improvement in phase.improvements} <= {None, *touchpoints}
        events = [event for touchpoint in phase.touchpoints for event in touchpoint.events]
        assert len(events) == len(set(events)), "an event belongs to one touchpoint of a phase"
        assert set(events) <= set(EVENT_TYPES)


def test_feelings_and_targets_lie_on_their_scales(model: Model) -> None:
    for phase in model.phases:
        for feeling in (phase.feeling, *(touchpoint.feeling for touchpoint in phase.touchpoints)):
            assert feeling is not None
            assert -2 <= feeling.level <= 2
        figures: list[Kpi] = [*phase.kpis, *(touchpoint.kpi for touchpoint in phase.touchpoints)]
        assert all(0 < kpi.target < 1 for kpi in figures if kpi.measure in SHARES)
        assert all(1 <= kpi.target <= 7 for kpi in figures if kpi.measure in ("csat", "ces", "rating"))
    for threshold in (*model.zones.red, *model.zones.green):
        assert (threshold.below is None) != (threshold.above is None)


def test_seven_phases_part_the_decision_from_the_transaction_and_the_delivery() -> None:
    model = load("kundereise-7", pytest.fail)
    table = compile_table(model, FoldSettings())
    ids = [phase.id for phase in model.phases]
    assert ids == ["bevissthet", "overveielse", "beslutning", "kjop", "levering", "etter-kjopet", "lojalitet"]
    assert ids[table.purchase] == "kjop"
    for name in ("product_added", "cart_updated", "checkout_started", "checkout_step_completed", "coupon_applied"):
        assert ids[table.rule_of(name).before] == "beslutning"
    assert ids[table.rule_of("payment_info_entered").before] == "kjop"
    for name, phase in {
        "order_shipped": "levering",
        "order_delivered": "levering",
        "product_used": "etter-kjopet",
        "product_shared": "lojalitet",
    }.items():
        assert [ids[index] for index, _ in table.rule_of(name).after] == [phase]
    after = [entry.after for entry in model.phases[5].enter if entry.after]
    assert [(entry.event, entry.wait) for entry in after] == [("order_delivered", 7 * 86_400_000)]


def test_seven_phases_send_at_the_right_time() -> None:
    rules = {rule.id: rule for rule in load("kundereise-7", pytest.fail).rules}
    assert [rule.id for rule in rules.values() if rule.emit == "drop_off"] == [
        "browse_abandoned",
        "cart_abandoned",
        "checkout_abandoned",
    ]
    wanted = "welcome birthday delivery_delayed satisfaction_survey review_request win_back trial_lapsed".split()
    assert set(wanted) <= {rule.id for rule in rules.values() if rule.emit == "trigger"}
    assert {"order_on_its_way", "delivery_delayed", "order_arrived"} <= {r.id for r in rules.values() if r.service}
    assert rules["birthday"].yearly == "birthday"
    assert (rules["trial_ending"].at, rules["trial_lapsed"].at) == ("trial_ends_at", "trial_ends_at")


def test_the_drawing_tells_triggers_from_drop_offs_and_when_they_are_due() -> None:
    drawn = diagram(load("kundereise-7", pytest.fail))
    assert [sentence.split(":")[0] for sentence in drawn.drop_offs][-1] == "checkout_abandoned"
    for sentence in (
        "wishlist_reminder: 3d after wishlist_added",
        "trial_ending: 3d before the trial_ends_at of trial_started",
        "trial_lapsed: 1d after the trial_ends_at of trial_started",
    ):
        assert sentence in drawn.triggers
    assert "birthday: every year at 9:00 on the birthday of" in text(drawn)
    assert drawn.boxes[5].enter[-1] == "7d after order_delivered"
