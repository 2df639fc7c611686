"""What the models say to people: complete, glossed, and nothing that refers to what is not there."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from tracker.domain.events import EVENT_TYPES
from tracker.domain.model import DAY, Cap, FoldSettings, Model, QuietHours
from tracker.domain.table import compile_table
from tracker.domain.texts import Feeling, Kpi, Text
from tracker.journeys.draw import diagram, text
from tracker.journeys.loader import load

COMPLETE = (
    "nettbutikk-5",
    "nettbutikk-5-bedrift",
    "kundereise-5",
    "kundereise-7",
    "kundresa-5",
    "kunderejse-6",
    "klage",
)
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
        assert 3 <= len(phase.touchpoints) <= 6, phase.id
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
    assert ids[table.courses[0].purchase] == "kjop"
    for name in ("product_added", "cart_updated", "checkout_started", "checkout_step_completed", "coupon_applied"):
        assert ids[table.rule_of(name).steps[0].before] == "beslutning"
    assert ids[table.rule_of("payment_info_entered").steps[0].before] == "kjop"
    for name, phase in {
        "order_shipped": "levering",
        "order_delivered": "levering",
        "product_used": "etter-kjopet",
        "product_shared": "lojalitet",
    }.items():
        assert [ids[way.phase] for way in table.rule_of(name).steps[0].after] == [phase]
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
        assert any(said.startswith(f"{sentence};") for said in drawn.triggers)
    assert "birthday: every year at 9:00 on the birthday of" in text(drawn)
    assert drawn.boxes[5].enter[-1] == "7d after order_delivered"


def test_the_swedish_model_sells_through_people_and_guides_new_customers_by_a_sequence() -> None:
    model = load("kundresa-5", pytest.fail)
    table = compile_table(model, FoldSettings())
    ids = [phase.id for phase in model.phases]
    assert ids == ["insikt", "utforskning", "beslut", "implementering", "lojalitet"]
    assert model.review == 28 * 86_400_000
    for name in ("demo_booked", "quote_requested", "quote_sent", "checkout_started"):
        assert ids[table.rule_of(name).steps[0].before] == ids[table.courses[0].purchase] == "beslut"
    for name in ("calculator_used", "webinar_attended"):
        assert ids[table.rule_of(name).steps[0].before] == "utforskning"
    channels = [goal.channel for goal in model.channels]
    met = {touchpoint.channel for phase in model.phases for touchpoint in phase.touchpoints}
    assert len(channels) == len(set(channels))
    assert set(channels) == met, "each channel has one goal and one measure"
    sequence = [rule for rule in model.rules if rule.id.startswith("onboarding")]
    assert [(rule.id, rule.emit, rule.wait) for rule in sequence] == [
        ("onboarding_welcome", "trigger", 5 * 60_000),
        ("onboarding_first_step", "trigger", 2 * 86_400_000),
        ("onboarding_stalled", "trigger", 5 * 86_400_000),
        ("onboarding_check", "trigger", 14 * 86_400_000),
    ]
    rules = {rule.id: rule for rule in model.rules}
    assert (rules["renewal_reminder"].at, rules["renewal_reminder"].before) == ("renews_at", 30 * 86_400_000)


def test_the_danish_model_retargets_in_every_phase_with_rising_significance() -> None:
    model = load("kunderejse-6", pytest.fail)
    ids = [phase.id for phase in model.phases]
    assert ids == ["opmaerksomhed", "interesse", "begaer", "evaluering", "konvertering", "fastholdelse"]
    dropoffs = [rule for rule in model.rules if rule.emit == "drop_off"]
    assert [(rule.id, rule.significance) for rule in dropoffs] == [
        ("interest_abandoned", 1),
        ("desire_abandoned", 2),
        ("evaluation_abandoned", 3),
        ("cart_abandoned", 4),
        ("checkout_abandoned", 5),
    ]
    incentive = next(rule for rule in model.rules if rule.id == "conversion_incentive")
    assert (incentive.emit, incentive.cart) == ("trigger", "filled")


def test_desire_differs_from_interest_by_how_much_is_looked_at() -> None:
    interest, desire = load("kunderejse-6", pytest.fail).phases[1:3]
    (plain,) = (entry for entry in interest.enter if "product_viewed" in entry.events)
    (often,) = (entry for entry in desire.enter if "product_viewed" in entry.events)
    assert plain.where is None
    assert often.where is not None
    counts = [one.count for one in often.where.any if one.count]
    assert [(count.at_least, count.during, count.within) for count in counts] == [
        (3, "session", None),
        (5, None, 7 * 86_400_000),
    ]


def test_channels_of_the_danish_phases_are_those_that_reach_people_there() -> None:
    assert {phase.id: set(phase.channels) for phase in load("kunderejse-6", pytest.fail).phases} == {
        "opmaerksomhed": {"display", "social", "pr", "affiliate", "sponsoring"},
        "interesse": {
            "organic_search",
            "paid_search",
            "social",
            "newsletter",
            "auto_reply",
            "content",
            "display",
            "retargeting",
        },
        "begaer": {"organic_search", "paid_search", "retargeting", "email", "social"},
        "evaluering": {"social", "influencer"},
        "konvertering": {"email", "direct"},
        "fastholdelse": {"phone", "chat", "email", "newsletter", "social", "retargeting"},
    }


def test_a_complaint_is_a_part_whose_success_is_that_the_customer_comes_back() -> None:
    model = load("klage", pytest.fail)
    assert model.part
    assert model.conversion == ("support_resolved",)
    assert [(phase.id, phase.stage, phase.success) for phase in model.phases] == [
        ("klage", "before", ("losning",)),
        ("svar", "before", ("losning",)),
        ("losning", "purchase", ("tilbake",)),
        ("tilbake", "after", ()),
    ]
    complaint = ("complaint_made", "support_requested", "return_requested")
    assert [entry.events for entry in model.phases[0].enter] == [complaint]
    for phase in model.phases[1:3]:
        assert [entry.where and entry.where.met for entry in phase.enter] == [complaint], (
            "no contact but a complainer's"
        )
    recovery = next(rule for rule in model.rules if rule.id == "service_recovery")
    assert (recovery.emit, recovery.wait, recovery.service) == ("trigger", 86_400_000, True)
    assert "support_resolved" in recovery.unless


def test_private_buyers_get_the_default_at_decent_hours_and_not_too_often() -> None:
    default, private = load("nettbutikk-5", pytest.fail), load("nettbutikk-5-privat", pytest.fail)
    changed = {name for name in Model.__struct_fields__ if getattr(default, name) != getattr(private, name)}
    assert changed == {"id", "name", "gloss", "quiet_hours", "caps", "recovery_window"}
    assert private.quiet_hours == QuietHours(start=21 * 60, end=8 * 60, zone="Europe/Oslo")
    assert private.caps == (Cap(most=3, within=7 * DAY),)
    assert private.recovery_window < default.recovery_window


def test_the_business_variant_has_the_default_phases_and_gives_several_people_their_time() -> None:
    default, business = load("nettbutikk-5", pytest.fail), load("nettbutikk-5-bedrift", pytest.fail)
    assert business.buyer == "account"
    assert [(p.id, p.stage) for p in business.phases] == [(p.id, p.stage) for p in default.phases]
    table = compile_table(business, FoldSettings())
    ids = [phase.id for phase in business.phases]
    for name, entered_first in {
        "lead_submitted": "vurdering",
        "demo_booked": "vurdering",
        "quote_requested": "kjop",
        "quote_sent": "kjop",
    }.items():
        assert ids[table.rule_of(name).steps[0].before] == entered_first
    for phase, own in zip(default.phases, business.phases, strict=True):
        entered = {event for entry in phase.enter for event in entry.events}
        assert entered <= {event for entry in own.enter for event in entry.events}, "a firm may do what anybody may"
    for name in ("journey_timeout", "cart_ttl", "recovery_window"):
        assert getattr(business, name) > getattr(default, name)
    waits = {rule.id: rule.wait for rule in business.rules if rule.emit == "drop_off"}
    assert waits == {
        "browse_abandoned": 2 * DAY,
        "cart_abandoned": 3 * DAY,
        "checkout_abandoned": 2 * DAY,
        "quote_unanswered": 10 * DAY,
    }
    assert all(waits[rule.id] > rule.wait for rule in default.rules if rule.emit == "drop_off")
