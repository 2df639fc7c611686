"""What cannot be meant is refused, with the key, the value and what is allowed; what can be meant is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracker.domain.model import DAY, Model
from tracker.errors import ModelError
from tracker.journeys.draw import diagram, text
from tracker.journeys.loader import load_all, parse

YAML = Path(__file__).with_name("shop.yaml").read_text(encoding="utf-8")
TOUCHPOINT = """
      - id: search
        name: search
        events: [search_performed]
        job: find
        feeling: {text: curious, level: 1}
        channel: website
        kind: digital
        controlled: true
        process: none
        material: guides/search.pdf
        owner: shop
        goal: be found
        kpi: {name: reach, measure: reach, target: 0.5}
"""


V = "events: [page_viewed]"


def read(yaml: str) -> Model:
    return parse(yaml, "shop.yaml", pytest.fail)


def refused(yaml: str) -> str:
    with pytest.raises(ModelError) as caught:
        read(yaml)
    return str(caught.value)


def in_phase(lines: str) -> str:
    """The model with more in its first phase, `bevissthet`."""
    return YAML.replace("    gloss: awareness\n", f"    gloss: awareness\n{lines}\n", 1)


def with_rule(fields: str) -> str:
    """The model with one rule more, its first."""
    return YAML.replace("rules:\n", f"rules:\n  - {{id: mine, {fields}}}\n", 1)


def with_where(condition: str) -> str:
    """The model with a rule that has a condition."""
    return with_rule(f"when: [page_viewed], wait: 1h, where: {condition}")


def touchpoint(old: str, new: str) -> str:
    assert old in TOUCHPOINT
    return in_phase("    touchpoints:" + TOUCHPOINT.replace(old, new, 1))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ("when: [page_viewed], wait: 183d", "rules[1].wait is '183d'; allowed: 5m to 182d"),
        ("emit: trigger, when: [page_viewed], wait: 401d", "rules[1].wait is '401d'; allowed: 0 to 400d"),
        ("when: [page_viewed], wait: 1h, service: true", "rules[1].service is allowed only with `emit: trigger`"),
        ("when: [page_viewed], wait: 1h, at: moment", "rules[1].at is allowed only with `emit: trigger`"),
        ("when: [page_viewed], wait: 1h, group: g", "rules[1].group is allowed only with `emit: trigger`"),
        ("when: [page_viewed], wait: 1h, times: 1", "rules[1].times is allowed only with `emit: trigger`"),
        ("when: [page_viewed], wait: 1h, data: [a]", "rules[1].data is allowed only with `emit: trigger`"),
        (
            "when: [page_viewed], wait: 1h, key: cart",
            "rules[1].key is 'cart'; with `emit: drop_off` it is allowed only",
        ),
        ("when: [first_identified], wait: 1h", "'first_identified', which is allowed only in a trigger's `when`"),
        ("emit: trigger, yearly: birthday", "rules[1].when is empty; allowed: at least one event type"),
        ("emit: triger, when: [page_viewed]", "is 'triger'; allowed: drop_off, trigger. Did you mean trigger?"),
        ("emit: trigger, when: [identified], at: a, yearly: b", "rules[1].yearly stands beside `at`"),
        ("emit: trigger, when: [identified], before: 1d", "rules[1].before needs `at` or `yearly`"),
        ("emit: trigger, when: [identified], hour: 9", "rules[1].hour needs `yearly`"),
        ("emit: trigger, when: [identified], yearly: b, hour: 24", "rules[1].hour is 24; allowed: 0 to 23"),
        ("emit: trigger, when: [identified], times: -1", "rules[1].times is -1; allowed: 0 to 1000"),
        ("emit: trigger, when: [identified], significance: 2", "rules[1].significance needs `group`"),
        ("emit: trigger, when: [identified], group: A b", "rules[1].group is 'A b'; allowed: small letters"),
        ("emit: trigger, when: [identified], data: [a, a]", "rules[1].data[2] is 'a', which is there twice"),
        ("when: [page_viewed], wait: 1h, unless: [any]", "'any', which is allowed only in the entries of phases"),
    ],
)
def test_a_rule_says_only_what_acts(fields: str, complaint: str) -> None:
    yaml = with_rule(fields)
    assert complaint in refused(yaml)
    line = yaml[: yaml.index("  - {id: mine")].count("\n") + 1
    assert refused(yaml).startswith(f"shop.yaml:{line}: ")


@pytest.mark.parametrize(
    ("condition", "complaint"),
    [
        ("{}", "where says nothing; allowed: all, any, not, count"),
        ("{any: [{customer: true}, {}]}", "where.any[2] says nothing"),
        ("{not: {}}", "where.not says nothing"),
        ("{count: {events: [page_viewed]}}", "where.count has no bound; allowed: at_least, at_most or both"),
        ("{count: {events: [], at_least: 1}}", "where.count.events is empty"),
        ("{count: {events: [page_viewed], at_least: 0}}", "where.count.at_least is 0, which always holds"),
        (
            "{count: {events: [page_viewed], at_most: 101, within: 1d}}",
            "where.count.at_most is 101; allowed: 0 to 100",
        ),
        ("{count: {events: [page_viewed], at_least: 3, at_most: 2}}", "where.count.at_least is more than at_most"),
        ("{count: {events: [page_viewed], at_most: -1}}", "where.count.at_most is -1; allowed: 0 or more"),
        ("{count: {events: [page_viewed], at_least: 1, within: 0}}", "where.count.within is '0'; allowed: 1s to 400d"),
        ("{count: {events: [any], at_least: 1}}", "where.count.events[1] is 'any', which is allowed only"),
        (
            "{count: {events: [page_viewed], at_least: 1, within: 1d, during: session}}",
            "where.count.during stands beside `within`",
        ),
        ("{orders: {}}", "where.orders has no bound"),
        ("{orders: {at_least: 2.5, at_most: 1}}", "where.orders.at_least is more than at_most"),
        ("{since: {what: last_order}}", "where.since has no bound"),
        ("{since: {what: last_orders, at_least: 1d}}", "where.since.what is 'last_orders'; allowed:"),
        ("{orders: {at_least: 1.5}}", "where.orders.at_least is 1.5; allowed: a whole number"),
        ("{orders: {at_least: 0}}", "where.orders.at_least is 0, which always holds"),
        ("{any: [], customer: true}", "where.any is empty; allowed: at least one"),
        ("{channel: [], customer: true}", "where.channel is empty; allowed: at least one"),
        ("", "where is empty; leave the key out, or write null for none"),
        ("{property: {name: size}}", "where.property has no bound"),
        ("{property: {name: size, one_of: [a], at_least: 1}}", "where.property.one_of stands beside at_least"),
        ("{known: {name: country}}", "where.known has no bound"),
        ("{known: {name: age, at_least: 3, at_most: 2}}", "where.known.at_least is more than at_most"),
        ("{met: [cart_changed]}", "where.met[1] is 'cart_changed', which is allowed only in a rule's `when`"),
        ("{costumer: true}", "where.costumer is not a key. Did you mean customer?"),
        ("{" + "not: {" * 11 + "customer: true" + "}" * 12, "is nested deeper than 10 times"),
        ("&a {not: *a}", "is nested too deep"),
    ],
)
def test_a_condition_says_something_that_can_hold(condition: str, complaint: str) -> None:
    assert complaint in refused(with_where(condition))


@pytest.mark.parametrize(
    ("condition", "what"),
    [
        ("{all: [{cart: empty}, {cart: filled}]}", "where can never hold, by what it asks of the cart"),
        ("{customer: true, all: [{customer: false}]}", "the customer id"),
        ("{any: [{customer: true, not: {customer: true}}, {cart: filled}]}", "where.any[1] can never hold"),
        ("{channel: [email], all: [{channel: [social, direct]}]}", "the channel"),
        ("{orders: {at_least: 3}, all: [{any: [{orders: {at_most: 2}}]}]}", "the number of orders"),
        (
            "{all: [{since: {what: delivery, at_least: 3d}}, {since: {what: delivery, at_most: 1d}}]}",
            "the time since the delivery",
        ),
        (
            f"{{all: [{{count: {{{V}, at_least: 3, within: 1d}}}}, {{count: {{{V}, at_most: 2, within: 1d}}}}]}}",
            "the number of page_viewed within 1d",
        ),
        (
            "{all: [{property: {name: size, at_least: 3}}, {property: {name: size, at_most: 2}}]}",
            "by what it asks of size",
        ),
    ],
)
def test_a_condition_that_contradicts_itself_is_refused(condition: str, what: str) -> None:
    assert what in refused(with_where(condition))


@pytest.mark.parametrize(
    "condition",
    [
        "{any: [{cart: empty}, {cart: filled}]}",
        "{not: {all: [{customer: true}, {orders: {at_least: 1}}]}, customer: true}",
        "{all: [{segment: [a]}, {segment: [b]}, {channel: [email, social]}, {channel: [social]}]}",
        f"{{all: [{{count: {{{V}, at_least: 3, within: 7d}}}}, {{count: {{{V}, at_most: 2, within: 1d}}}}]}}",
        "{all: [{since: {what: delivery, at_least: 3d}}, {since: {what: last_order, at_most: 1d}}]}",
    ],
)
def test_a_condition_that_can_hold_is_not_refused(condition: str) -> None:
    read(with_where(condition))


def test_what_stands_beside_a_condition_does_not_contradict_it() -> None:
    assert "only_if can never hold, by what it asks of the cart" in refused(
        with_rule("when: [page_viewed], wait: 1h, cart: empty, only_if: {cart: filled}")
    )
    entry = "      - {events: [page_viewed], orders: 2, where: {orders: {at_most: 1}}}\n"
    complaint = "enter[1].where can never hold, by what it asks of the number of orders"
    assert complaint in refused(YAML.replace("    enter:\n", f"    enter:\n{entry}", 1))


NO_CART = "where.SAID is asked of the account (`buyer: account`), which has neither cart nor customer id"


def account_asked(condition: str, buyer: str = "account") -> str:
    """A model for accounts whose first phase asks for something."""
    entry = f"    enter:\n      - {{events: [page_viewed], where: {condition}}}\n"
    segments = "segments: [{id: full, name: F, where: {cart: filled}}, {id: big, name: B, where: {segment: [full]}}]\n"
    own = YAML.replace("    back_on: [cart_emptied]\n", "").replace("version: 1", f"version: 1\nbuyer: {buyer}", 1)
    return own.replace("    enter:\n", entry, 1) + segments


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("{cart: filled}", "cart"),
        ("{not: {any: [{orders: {at_least: 2}}, {cart: empty}]}}", "not.any[2].cart"),
        ("{all: [{customer: true}]}", "all[1].customer"),
        ("{segment: [vip, big]}", "segment[2]"),
    ],
)
def test_no_entry_asks_an_account_for_what_only_its_members_have(condition: str, said: str, tmp_path: Path) -> None:
    assert NO_CART.replace("SAID", said) in refused(account_asked(condition))
    person, firm = tmp_path / "person.yaml", tmp_path / "firm.yaml"
    person.write_text(account_asked(condition, buyer="person"), encoding="utf-8")
    firm.write_text(account_asked("{orders: {at_least: 1}}").replace("id: shop", "id: firm", 1), encoding="utf-8")
    assert load_all([str(person), str(firm)], 400 * DAY, pytest.fail)
    with pytest.raises(ModelError) as caught:
        load_all([str(firm), str(person)], 400 * DAY, pytest.fail)
    assert f"model shop: phases[1].enter[1].{NO_CART.replace('SAID', said)}" in str(caught.value)
    assert "beside firm" in str(caught.value)


def test_a_way_back_that_no_account_goes_is_warned_about_and_not_drawn() -> None:
    warnings: list[str] = []
    model = parse(YAML.replace("version: 1", "version: 1\nbuyer: account", 1), "shop.yaml", warnings.append)
    assert warnings == ["shop.yaml:72: cart_emptied leads no account back, it has no cart of its own"]
    assert "back to the phase before" not in text(diagram(model))
    assert "back to the phase before, on cart_emptied" in text(diagram(read(YAML)))


def test_nothing_leads_back_from_the_first_phase() -> None:
    assert "phases[1].back_on: no phase stands before the first one" in refused(in_phase("    back_on: [page_viewed]"))


@pytest.mark.parametrize("key", ["only_if", "where"])
def test_a_property_is_asked_for_only_where_an_event_is_at_hand(key: str) -> None:
    yaml = with_rule(f"when: [page_viewed], wait: 1h, {key}: {{not: {{property: {{name: size, one_of: [a]}}}}}}")
    if key == "where":
        read(yaml)
    else:
        assert "rules[1].only_if.not.property asks for an event, and none is at hand" in refused(yaml)
    entry = "      - {after: {event: page_viewed, wait: 1d}, where: {property: {name: size, at_least: 1}}}"
    read(yaml.replace("property:", "known:"))
    timed = YAML.replace("    enter:\n", f"    enter:\n{entry}\n", 1)
    assert "phases[1].enter[1].where.property asks for an event" in refused(timed)


def test_a_segment_names_those_that_stand_before_it_and_those_of_events() -> None:
    segments = """segments:
  - {id: a, name: A, where: {segment: [SEGMENT]}}
  - {id: old_customer, name: B, where: {segment: [a, vip]}}
"""
    assert len(read(YAML + segments.replace("SEGMENT", "member")).segments) == 2
    for wrong in ("a", "old_customer"):
        complaint = f"where.segment[1] is '{wrong}'; allowed: a segment that stands before this one"
        assert complaint in refused(YAML + segments.replace("SEGMENT", wrong))
    warnings: list[str] = []
    parse(YAML + segments.replace("SEGMENT", "old_custumer"), "shop.yaml", warnings.append)
    assert ["Did you mean old_customer?" in warning for warning in warnings] == [True]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("id: search", "id: Search", "touchpoints[1].id is 'Search'; allowed: small letters"),
        ("level: 1", "level: 3", "touchpoints[1].feeling.level is 3; allowed: -2 to 2"),
        ("target: 0.5", "target: 50", "kpi.target is 50; allowed: 0 to 1, as reach is a share"),
        ("reach, target: 0.5", "dwell, target: -1", "kpi.target is -1; allowed: 0 or more"),
        ("guides/search.pdf", "javascript:alert(1)", "material is 'javascript:alert(1)'; allowed: an http(s) link or"),
        ("guides/search.pdf", "/etc/guide", "material is '/etc/guide'; allowed: an http(s) link or a relative path"),
        ("guides/search.pdf", "../guide", "material is '../guide'; allowed: an http(s) link or a relative path"),
        ("search_performed", "any", "touchpoints[1].events[1] is 'any', which is allowed only"),
        ("owner: shop", "ovner: shop", "touchpoints[1].ovner is not a key. Did you mean owner?"),
        ("kind: digital", "kind: analogue", "kind is 'analogue'; allowed: digital, physical"),
        ("controlled: true", "controlled: yes", "controlled is 'yes'; allowed: true, false"),
    ],
)
def test_a_touchpoint_is_complete_and_on_its_scales(old: str, new: str, complaint: str) -> None:
    assert read(touchpoint(old, old)).phases[0].touchpoints[0].id == "search"
    assert complaint in refused(touchpoint(old, new))


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("    touchpoints:" + TOUCHPOINT + TOUCHPOINT, "touchpoints[2].id is 'search', which is there twice"),
        ("    success: [bevissthet]", "success[1] is 'bevissthet'; allowed: a later phase (vurdering, kjop, bruk"),
        ("    success: [vurdring]", "success[1] is 'vurdring'; allowed: a later phase"),
        ("    success: [vurdring]", "Did you mean vurdering?"),
        ("    kpis: [{name: n, measure: conversion, target: 1.5}]", "kpis[1].target is 1.5; allowed: 0 to 1"),
        ("    feeling: {text: bad, level: -3}", "phases[1].feeling.level is -3; allowed: -2 to 2"),
        ("    improvements: [{id: a, text: t, touchpoint: nowhere}]", "touchpoint is 'nowhere'; allowed: a touchpoint"),
        ("    improvements: [{id: a, text: t}, {id: a, text: u}]", "improvements[2].id is 'a', which is there twice"),
        ("    improvements: [{id: a, text: t, state: done}]", "state is 'done'; allowed: measured, proposed, running"),
    ],
)
def test_what_a_phase_refers_to_is_there(lines: str, complaint: str) -> None:
    assert complaint in refused(in_phase(lines))


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("zones: {red: [{measure: conversion}]}", "zones.red[1] says both or neither; allowed: one of below, above"),
        ("zones: {red: [{measure: conversion, below: 20}]}", "zones.red[1].below is 20; allowed: 0 to 1"),
        ("zones: {green: [{measure: nps, above: 101}]}", "zones.green[1].above is 101; allowed: -100 to 100"),
        ("caps: [{most: 0, within: 1d}]", "caps[1].most is 0; allowed: 1 to 25"),
        ("review: 1h", "review is '1h'; allowed: 1d to 400d"),
        (
            "channels: [" + 2 * "{channel: a, goal: g, measure: reach, target: 1}," + "]",
            "channels[2].channel is 'a', which is there twice",
        ),
    ],
)
def test_figures_of_the_whole_model_lie_on_their_scales(lines: str, complaint: str) -> None:
    assert complaint in refused(YAML + lines)


def test_time_leads_into_a_phase_from_a_type_and_for_a_while() -> None:
    yaml = YAML.replace("    enter:\n", "    enter:\n      - after: {event: EVENT, wait: WAIT}\n", 1)
    assert "after.event[1] is 'any'" in refused(yaml.replace("EVENT", "any").replace("WAIT", "1d"))
    assert "after.wait is '0'; allowed: 1m to 400d" in refused(yaml.replace("EVENT", "ad_viewed").replace("WAIT", "0"))


@pytest.mark.parametrize(
    ("yaml", "what"),
    [
        (with_rule("emit: trigger, when: [page_viewed], again: 40d"), "again of mine"),
        (
            with_where("{not: {count: {events: [page_viewed], at_least: 1, within: 40d}}}"),
            "a count's window in rule mine",
        ),
        (YAML + "caps: [{most: 1, within: 40d}]", "within of a cap"),
    ],
)
def test_no_model_waits_or_counts_for_longer_than_state_is_kept(yaml: str, what: str, tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(yaml, encoding="utf-8")
    assert load_all([str(file)], 41 * DAY)
    with pytest.raises(ModelError, match=f"{what} is 40d; it must be shorter than TRACKER_STATE_TTL"):
        load_all([str(file)], 40 * DAY)


def test_models_that_fit_no_record_are_refused(tmp_path: Path) -> None:
    rules = "".join(f"  - {{id: r{number}, when: [page_viewed], wait: 1h}}\n" for number in range(3500))
    file = tmp_path / "shop.yaml"
    file.write_text(YAML.replace("rules:\n", f"rules:\n{rules}", 1), encoding="utf-8")
    with pytest.raises(ModelError, match=r"they say [\d,]+ bytes; allowed: 800,000"):
        load_all([str(file)], 400 * DAY)


def test_quiet_hours_are_those_of_the_models_zone_unless_they_name_another() -> None:
    stockholm = YAML.replace("zone: Europe/Oslo", "zone: Europe/Stockholm")
    for given, zone in (("", "Europe/Stockholm"), (", zone: Asia/Tokyo", "Asia/Tokyo")):
        model = read(f"{stockholm}quiet_hours: {{start: 22:00, end: 8:00{given}}}\n")
        assert model.quiet_hours is not None
        assert model.quiet_hours.zone == zone


def test_texts_may_go_without_a_gloss() -> None:
    phase = read(in_phase("    thoughts: [a plain one, {text: ett, gloss: one}]")).phases[0]
    assert [(text.text, text.gloss) for text in phase.thoughts] == [("a plain one", ""), ("ett", "one")]
    assert read(YAML).phases[0].thoughts == ()
