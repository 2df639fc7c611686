"""Every word of a model is read: descriptions and diffs tell all of it, drawings what the engine acts on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest
from click.testing import CliRunner

from tracker.cli import main
from tracker.domain.conditions import Condition, Count, Property, Range, Since
from tracker.domain.model import HOUR, Entry, Model, Rule
from tracker.domain.texts import Feeling, Kpi, Text, Zones
from tracker.journeys import words
from tracker.journeys.describe import markdown, plain
from tracker.journeys.diff import changes, sentence
from tracker.journeys.draw import diagram, text
from tracker.journeys.loader import builtin, load, parse

SHOP = Path(__file__).with_name("shop.yaml").read_text(encoding="utf-8")
LEFT_OUT = """
id: left-out
version: 1
language: en
name: What no built-in model says
buyer: account
conversion: [order_completed]
phases:
  - id: buy
    name: buy
    gloss: buy
    stage: purchase
    enter:
      - events: [any]
        where: {property: {name: size, at_least: 1, at_most: 3}}
      - events: [product_added]
        where: {count: {events: [page_viewed], at_least: 1, at_most: 9, during: journey}}
rules:
  - id: cart
    when: [product_added]
    unless: [cart_emptied]
    key: cart
    wait: 1h
  - {id: birthday, emit: trigger, when: [identified], yearly: born, hour: 10}
"""


TRIES = 8
"""A field may be without effect where another one is not given; so often another place in the model is tried."""


@pytest.fixture(scope="module")
def models() -> list[Model]:
    return [parse(LEFT_OUT, "left-out.yaml", pytest.fail), *map(load, builtin())]


def others(field: msgspec.structs.FieldInfo, value: Any) -> Iterator[Any]:
    """Another value of the field."""
    literal = next((kind for kind in (field.type, *get_args(field.type)) if get_origin(kind) is Literal), None)
    if literal is not None:
        yield from (other for other in get_args(literal) if other != value)
    elif isinstance(value, msgspec.Struct):
        yield from [None] if type(None) in get_args(field.type) else []
    elif field.name == "zone":
        yield "Europe/Lisbon"
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield value + (HOUR if isinstance(value, int) and value > 1000 else 1)
    elif isinstance(value, str):
        yield f"{value}x"
    elif isinstance(value, tuple) and value:
        yield value[1:] or (f"{value[0]}x",) if isinstance(value[0], str) else value[:-1]


def variants(value: msgspec.Struct, done: set[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], Any]]:
    """The struct with one field changed, its own or of a struct below; those that are `done` are left alone."""
    for field in msgspec.structs.fields(value):
        now = getattr(value, field.name)
        which = (type(value).__name__, field.name)
        if which not in done:
            for other in others(field, now):
                yield which, msgspec.structs.replace(value, **{field.name: other})
        items = enumerate(now) if isinstance(now, tuple) else [(-1, now)]
        for place, item in items:
            if isinstance(item, msgspec.Struct):
                for found, changed in variants(item, done):
                    whole = changed if place < 0 else (*now[:place], changed, *now[place + 1 :])
                    yield found, msgspec.structs.replace(value, **{field.name: whole})


def structs(cls: type, known: dict[str, type]) -> dict[str, type]:
    """The structs that a model is made of."""
    if cls.__name__ in known:
        return known
    known[cls.__name__] = cls
    for field in msgspec.inspect.type_info(cls).fields:  # type: ignore[attr-defined]
        below = [field.type]
        while below:
            one = below.pop()
            if isinstance(one, msgspec.inspect.StructType):
                structs(one.cls, known)
            elif isinstance(one, msgspec.inspect.VarTupleType):
                below.append(one.item_type)
            elif isinstance(one, msgspec.inspect.UnionType):
                below += one.types
    return known


@pytest.fixture(scope="module")
def told(models: list[Model]) -> dict[str, set[tuple[str, str]]]:
    """The fields whose change shows, in the description and among the differences."""
    shown: dict[str, set[tuple[str, str]]] = {"describe": set(), "diff": set()}
    tries: Counter[tuple[str, tuple[str, str]]] = Counter()
    done: set[tuple[str, str]] = set()
    for model in models:
        before = markdown(model)
        for which, changed in variants(model, done):
            if (
                which in done
                or tries[model.id, which] >= TRIES
                or not any(p.stage == "purchase" for p in changed.phases)
            ):
                continue
            tries[model.id, which] += 1
            if changes(model, changed):
                shown["diff"].add(which)
            if markdown(changed) != before:
                shown["describe"].add(which)
            done |= shown["diff"] & shown["describe"]
    return shown


@pytest.mark.parametrize("where", ["describe", "diff"])
def test_no_field_of_a_model_goes_unread(told: dict[str, set[tuple[str, str]]], where: str) -> None:
    fields = {
        (name, field.name)
        for name, cls in structs(Model, {}).items()
        for field in msgspec.structs.fields(cls)
        if field.type not in (Text, Feeling, Kpi, Zones)  # what these hold is changed itself
        and not (name == "Segment" and field.type is Condition)
    }
    assert {"Model", "Phase", "Rule", "Touchpoint", "Condition", "Count", "Threshold"} <= {name for name, _ in fields}
    assert fields - told[where] == set()


@pytest.mark.parametrize("name", builtin())
def test_a_description_names_all_there_is_and_keeps_to_its_width(name: str) -> None:
    model = load(name)
    for english in (False, True):
        page = markdown(model, english=english)
        flat = re.sub(r"\s+", " ", page)
        for phase in model.phases:
            assert f"`{phase.id}`" in page
            for one in (*phase.actions, *phase.questions, *phase.barriers, *(item.text for item in phase.improvements)):
                assert plain(one.text) in flat
            for touchpoint in phase.touchpoints:
                assert f"| `{touchpoint.id}` " in page
        for rule in model.rules:
            assert plain(f"{rule.id}: ") in page
        assert max(len(line) for line in page.splitlines() if not line.startswith("|")) <= 100
    if model.gloss:
        assert markdown(model).startswith(f"# {model.name} · *{model.gloss}*\n")
        assert markdown(model, english=True).startswith(f"# {model.gloss} · *{model.name}*\n")


@pytest.mark.parametrize("name", builtin())
def test_tables_of_a_description_have_equal_rows(name: str) -> None:
    for block in markdown(load(name)).split("\n\n"):
        rows = [line.replace(r"\|", "") for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1
        assert bool(rows) == ("|---|" in block)


def test_what_a_text_says_never_acts_as_markdown() -> None:
    assert plain("a | b *c* <b> [d](e) `f` order_completed _g_") == (
        r"a \| b \*c\* &lt;b> \[d\](e) \`f\` order_completed \_g\_"
    )
    assert plain("1. først") == r"1\. først"
    assert plain("- så") == r"\- så"


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (Condition(customer=True), "known by a customer id"),
        (Condition(orders=Range(at_least=1, at_most=1)), "1 order"),
        (Condition(orders=Range(at_least=2)), "2 or more orders"),
        (Condition(since=Since(what="last_order", at_most=90 * 24 * HOUR)), "at most 90d since the last order"),
        (Condition(count=Count(events=("a", "b"), at_least=3, within=HOUR)), "3 or more a or b within 1h"),
        (Condition(count=Count(events=("a",), at_most=2, during="session")), "at most 2 a in the session"),
        (Condition(property=Property(name="size", one_of=("S", "M"))), "size is S or M"),
        (Condition(cart="filled", device=("mobile",)), "device mobile and the cart is filled"),
        (
            Condition(any=(Condition(customer=True), Condition(cart="empty", met=("a",))), channel=("email",)),
            "(known by a customer id or (the journey met a and the cart is empty)) and channel email",
        ),
        (Condition(not_=Condition(segment=("vip",))), "not (in segment vip)"),
    ],
)
def test_conditions_read_as_sentences(condition: Condition, said: str) -> None:
    assert words.condition(condition) == said


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Rule(id="r", when=("a",), wait=HOUR, cart="empty"), "r: 1h after a while the cart is empty; significance 1"),
        (Rule(id="r", emit="trigger", when=("a",)), "r: at once on a"),
        (Rule(id="r", emit="trigger", when=("a",), at="ends", before=HOUR), "r: 1h before the ends of a"),
        (Rule(id="r", emit="trigger", when=("a",), at="ends"), "r: at the ends of a"),
        (Rule(id="r", emit="trigger", when=("a",), yearly="born"), "r: every year at 9:00 on the born of a"),
        (
            Rule(id="r", emit="trigger", when=("a",), wait=HOUR, unless=("b", "c"), key="order", times=1, service=True),
            "r: 1h after a; not after b or c of the same order; once for one person; a service message",
        ),
    ],
)
def test_rules_read_as_sentences(rule: Rule, said: str) -> None:
    assert words.rule(rule, rule.when) == said


def replaced(model: Model, place: int, **fields: Any) -> Model:
    phases = list(model.phases)
    phases[place] = msgspec.structs.replace(phases[place], **fields)
    return msgspec.structs.replace(model, phases=tuple(phases))


def test_a_diff_says_what_an_analyst_would_say() -> None:
    model = parse(SHOP, "shop.yaml", pytest.fail)
    rules = tuple(msgspec.structs.replace(r, wait=2 * HOUR) if r.id == "browse_abandoned" else r for r in model.rules)
    new = msgspec.structs.replace(model, version=2, rules=rules[:2], journey_timeout=60 * 24 * HOUR)
    new = replaced(new, 0, actions=(*model.phases[0].actions, Text("ny"), Text("nyere")), questions=())
    new = replaced(new, 3, id="i-bruk", enter=(*model.phases[3].enter, Entry(("return_requested",))))
    said = [(change.where, sentence(change)) for change in changes(model, new)]
    assert said == [
        ("model", "version: 1 → 2"),
        ("model", "journey_timeout: 30d → 60d"),
        ("phase i-bruk", "id: bruk → i-bruk"),
        ("phase bevissthet", "texts: 2 new, 3 gone (actions, questions)"),
        ("phase i-bruk", "entry added: return_requested"),
        (
            "rule checkout_abandoned",
            f"removed: {words.rule(model.rules[2], model.rules[2].when)}",
        ),
        ("rule browse_abandoned", "wait: 1h → 2h"),
    ]


def test_a_diff_names_phases_that_came_went_or_changed_places() -> None:
    model = parse(SHOP, "shop.yaml", pytest.fail)
    first, second, *rest = model.phases
    swapped = msgspec.structs.replace(model, phases=(second, first, *rest))
    assert [sentence(change) for change in changes(model, swapped)] == [
        "order: bevissthet, vurdering, kjop, bruk, lojalitet → vurdering, bevissthet, kjop, bruk, lojalitet"
    ]
    shorter = msgspec.structs.replace(model, phases=(first, *rest))
    assert [(c.where, sentence(c)) for c in changes(model, shorter)] == [("phase vurdering", "removed")]
    assert [(c.where, sentence(c)) for c in changes(shorter, model)] == [("phase vurdering", "added after bevissthet")]
    assert changes(model, model) == []


def test_the_diff_command_tells_by_its_exit_code_whether_models_differ() -> None:
    run = CliRunner().invoke
    same = run(main, ["models", "diff", "klage", "klage"])
    assert (same.exit_code, same.output) == (0, "")
    differ = run(main, ["models", "diff", "kundereise-5", "kundereise-7"])
    assert differ.exit_code == 1
    assert "phase beslutning\n  added after overveielse\n" in differ.output
    found = msgspec.json.decode(run(main, ["models", "diff", "klage", "kundresa-5", "--json"]).output)
    assert {"where": "model", "what": "language", "old": "nb", "new": "sv"} in found


def test_the_describe_command_speaks_the_models_language_or_english() -> None:
    run = CliRunner().invoke
    assert run(main, ["models", "describe", "klage"]).output == markdown(load("klage"))
    assert run(main, ["models", "describe", "klage", "--language", "en"]).output == markdown(
        load("klage"), english=True
    )
    wrong = run(main, ["models", "describe", "klage", "--language", "de"])
    assert wrong.exit_code != 0


def test_a_drawing_says_conditions_time_and_triggers() -> None:
    drawn = re.sub(r"[\s│]+", " ", text(diagram(load("kundereise-7"))))
    assert "payment_failed (if not (reason is renewal))" in drawn
    assert "7d after order_delivered" in drawn
    assert "delivery_delayed: 6h after the delivery_at of order_completed, order_shipped; not after" in drawn
    assert "any activity (if size is 1 to 3)" in text(diagram(parse(LEFT_OUT, "left-out.yaml", pytest.fail)))
