from __future__ import annotations

from importlib import resources
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from tracker.domain.model import DAY, HOUR, FoldSettings, Model
from tracker.domain.table import Way, compile_table
from tracker.errors import ModelError
from tracker.journeys.draw import diagram, svg, text
from tracker.journeys.loader import builtin, from_text, load, load_all, parse, to_text

YAML = resources.files("tracker.journeys").joinpath("nettbutikk-5.yaml").read_text(encoding="utf-8")


@pytest.fixture
def model() -> Model:
    return load("nettbutikk-5", pytest.fail)


def changed(old: str, new: str) -> str:
    assert old in YAML
    return YAML.replace(old, new, 1)


def line_of(part: str, yaml: str) -> int:
    return yaml[: yaml.index(part)].count("\n") + 1


def test_the_default_model_has_the_five_phases_and_their_order(model: Model) -> None:
    assert [(phase.name, phase.stage) for phase in model.phases] == [
        ("bevissthet", "before"),
        ("vurdering", "before"),
        ("kjøp", "purchase"),
        ("bruk", "after"),
        ("lojalitet", "after"),
    ]
    assert all(phase.gloss and phase.actions and phase.goals and phase.questions for phase in model.phases)


def test_the_default_model_has_the_three_drop_off_rules(model: Model) -> None:
    assert [(rule.id, rule.cart, rule.wait, rule.significance) for rule in model.rules if rule.emit == "drop_off"] == [
        ("browse_abandoned", "empty", HOUR, 1),
        ("cart_abandoned", "filled", 4 * HOUR, 2),
        ("checkout_abandoned", "any", 4 * HOUR, 3),
    ]
    assert (model.journey_timeout, model.cart_ttl, model.recovery_window) == (30 * DAY, 30 * DAY, 30 * DAY)


def test_the_engine_enters_each_phase_by_what_the_model_says(model: Model) -> None:
    table = compile_table(model, FoldSettings())
    assert table.rule_of("page_viewed").steps[0].before == 0
    assert table.rule_of("something_of_the_shops_own").steps[0].before == 0
    assert table.rule_of("ad_viewed").steps[0].before == -1
    assert table.rule_of("size_guide_viewed").steps[0].before == 1
    assert table.rule_of("product_added").steps[0].before == 2
    assert table.rule_of("order_delivered").steps[0].after == (Way(3),)
    assert table.rule_of("order_completed").steps[0].after == (Way(4, orders=2),)
    assert table.rule_of("product_reviewed").steps[0].after == (Way(4),)


@pytest.mark.parametrize("name", builtin())
def test_every_built_in_model_is_valid_and_named_after_its_id(name: str) -> None:
    assert load(name, pytest.fail).id == name
    assert load_all([name], 400 * DAY)[0].id == name


@pytest.mark.parametrize("name", builtin())
def test_the_text_for_the_log_gives_the_same_model_back(name: str) -> None:
    model = load(name)
    assert from_text(to_text(model)) == model
    assert to_text(from_text(to_text(model))) == to_text(model)


@pytest.mark.parametrize(
    ("old", "new", "at", "complaint"),
    [
        ("wait: 1h", "wait: 60", "wait: 60", "rules[1].wait is '60'; allowed: numbers with units"),
        ("wait: 1h", "wait: 1m", "wait: 1m", "rules[1].wait is '1m'; allowed: 5m to 182d"),
        ("cart: empty", "kart: empty", "kart:", "rules[1].kart is not a key. Did you mean cart? Allowed: id"),
        ("cart: empty", "cart: tom", "cart: tom", "rules[1].cart is 'tom'; allowed: any, empty, filled"),
        ("id: bruk", "id: kjop", "id: kjop\n    name: bruk", "phases[4].id is 'kjop', which is there twice"),
        ("id: bruk", "id: Bruk", "id: Bruk", "phases[4].id is 'Bruk'; allowed: small letters"),
        ("stage: purchase", "stage: after", "phases:", "allowed: any number of before, one purchase"),
        ("stage: purchase", "stage: during", "stage: during", "is 'during'; allowed: after, before, purchase"),
        ("[order_delivered,", "[any,", "[any,", "'any', which is allowed only in the entries of phases up to"),
        (
            "[order_delivered,",
            "[first_identified,",
            "[first_identified,",
            "which is allowed only in a trigger's `when`",
        ),
        ("[order_delivered,", "[Order,", "[Order,", "is 'Order'; allowed: small letters, digits and _"),
        ("significance: 2", "significance: 2\n    wait: 5h", "wait: 5h", "rules[2].wait is there twice"),
        ("significance: 2", "significance: high", "significance: high", "is 'high'; allowed: a whole number"),
        ("version: 1", "version: [1]", "version: [1]", "version is a list; allowed: a number"),
        ("language: nb", "language:", "language:", "language is empty; allowed: a text"),
        ("zone: Europe/Oslo", "zone: Oslo", "zone: Oslo", "zone is 'Oslo'; allowed: an IANA time zone"),
        ("zone: Europe/Oslo", "zone: localtime", "zone: localtime", "zone is 'localtime'; allowed: an IANA time zone"),
        ("gloss: awareness", 'gloss: "a\\x1b[31m"', 'gloss: "a', "gloss has the character '\\x1b'; allowed: what can"),
        ("gloss: awareness", 'gloss: "\\ud800"', 'gloss: "', "gloss has the character '\\ud800'; allowed: what can"),
        ("gloss: awareness", "gloss: \0", "gloss: \0", "not YAML: the character '\\x00'"),
        ("version: 1", "[version]: 1", "[version]: 1", "a key of a list is not a key. Allowed: id, version"),
        ("version: 1", f"version: {'9' * 99}", "version: 9", f"version is '{'9' * 80}'…; allowed: a whole number"),
        ("conversion: [", "conversion: [page_viewed, ", "conversion:", "conversion[1] is 'page_viewed'; allowed:"),
        ("    name: vurdering\n", "", "- id: vurdering", "phases[2]: name is missing"),
        ("phases:", "quiet_hours: {start: 24:00, end: 8:00}\nphases:", "quiet", "allowed: a time of the day"),
        ("phases:", "fases: 1\nphases:", "fases", "fases is not a key. Did you mean phases?"),
        ("phases:", "phases: {a: [}\nx:", "phases: {a: [}", "not YAML"),
        ("when: [product_viewed]", "when: []", "when: []", "rules[1].when is empty"),
        ("journey_timeout: 30d", "journey_timeout: 30", "journey_timeout", "is '30'; allowed: numbers with units"),
    ],
)
def test_an_error_names_file_line_key_value_and_what_is_allowed(old: str, new: str, at: str, complaint: str) -> None:
    yaml = changed(old, new)
    with pytest.raises(ModelError) as caught:
        parse(yaml, "shop.yaml")
    assert complaint in str(caught.value)
    assert str(caught.value).startswith(f"shop.yaml:{line_of(at, yaml)}: ")


def test_a_type_outside_the_table_is_allowed_but_warned_about() -> None:
    warnings: list[str] = []
    yaml = changed("[order_delivered,", "[order_deliverd, fitting_room_booked,")
    model = parse(yaml.replace("reopen:", "reopen:\n  - order_deliverd"), "shop.yaml", warnings.append)
    line = line_of("[order_deliverd", yaml)
    assert "fitting_room_booked" in model.phases[3].enter[0].events
    assert warnings == [
        f"shop.yaml:{line}: order_deliverd is not a canonical event type. Did you mean order_delivered?",
        f"shop.yaml:{line}: fitting_room_booked is not a canonical event type.",
    ]


def test_any_type_converts_a_part_of_the_journey_but_only_orders_the_whole() -> None:
    yaml = changed("conversion: [", "conversion: [support_resolved, ")
    with pytest.raises(ModelError, match=r"conversion\[1\] is 'support_resolved'; allowed: order_completed"):
        parse(yaml, "shop.yaml")
    part = parse(yaml.replace("version: 1", "version: 1\npart: true", 1), "shop.yaml")
    assert part.conversion[0] == "support_resolved"


def test_words_that_yaml_takes_for_something_else_stay_what_they_look_like() -> None:
    yaml = changed("language: nb", "language: no").replace(
        "phases:", "quiet_hours: {start: 22:00, end: 8:00}\nphases:", 1
    )
    model = parse(yaml, "shop.yaml")
    assert model.language == "no"
    assert model.quiet_hours is not None
    assert (model.quiet_hours.start, model.quiet_hours.end) == (22 * 60, 8 * 60)


@pytest.mark.parametrize(
    ("yaml", "complaint"),
    [
        ("- a list", "shop.yaml:1: the file is a list; allowed: keys and values (id, version"),
        ("version: 1", "shop.yaml:1: the file: id is missing"),
        ("id: a\nextends: nettbutikk-5\nextends: klage", "shop.yaml:3: extends is there twice"),
        ("id: a\n? [b]\n: 1\nextends: klage", "shop.yaml:2: a key of a list is not a key"),
        (f"a: {'[' * 5000}{']' * 5000}", "shop.yaml:1: the file is nested too deep"),
    ],
)
def test_a_file_that_is_no_model_at_all_is_named(yaml: str, complaint: str) -> None:
    with pytest.raises(ModelError) as caught:
        parse(yaml, "shop.yaml")
    assert str(caught.value).startswith(complaint)


def test_a_few_lines_of_aliases_cannot_keep_the_reader_busy() -> None:
    bomb = "".join(f"  - &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 8))
    yaml = changed("method:\n", f"method:\n  - &a0 {{text: a, gloss: b}}\n{bomb}")
    with pytest.raises(ModelError, match="allowed"):
        parse(yaml, "shop.yaml")
    nested = "{customer: true}"
    conditions = f"  - {{id: a, when: [page_viewed], wait: 1h, where: &c0 {nested}}}\n" + "".join(
        f"  - {{id: a{n}, when: [page_viewed], wait: 1h, where: &c{n} {{any: [{', '.join([f'*c{n - 1}'] * 9)}]}}}}\n"
        for n in range(1, 9)
    )
    with pytest.raises(ModelError, match="one value too many; allowed: 200,000 in all"):
        parse(changed("rules:\n", f"rules:\n{conditions}"), "shop.yaml")


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("# nothing\n")
    with pytest.raises(ModelError, match=r"empty.yaml:1: the file is empty"):
        load(str(file))


def test_a_model_that_is_neither_built_in_nor_a_file_is_named_with_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"'nettbutik-5' is neither .* Did you mean nettbutikk-5\?"):
        load("nettbutik-5")


def test_a_model_may_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(changed("id: nettbutikk-5", "id: min-butikk"), encoding="utf-8")
    assert load(str(file)).id == "min-butikk"


def test_a_model_that_waits_as_long_as_state_is_kept_is_refused() -> None:
    with pytest.raises(ModelError, match="win_back is 90d; it must be shorter than TRACKER_STATE_TTL"):
        load_all(["nettbutikk-5"], 90 * DAY)


def test_two_models_with_one_id_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "copy.yaml"
    file.write_text(YAML, encoding="utf-8")
    with pytest.raises(ModelError, match="two models have the id nettbutikk-5"):
        load_all(["nettbutikk-5", str(file)], 400 * DAY)


def test_the_drawing_shows_every_phase_what_leads_into_it_and_every_rule(model: Model) -> None:
    drawn = text(diagram(model))
    for part in ("bevissthet", "any other activity", "size_guide_viewed", "order number 2 or later", "cart_emptied"):
        assert part in drawn
    for rule in model.rules:
        assert rule.id in drawn
    assert max(map(len, drawn.splitlines())) <= 110


def test_the_svg_is_well_formed_stands_alone_and_says_the_same(model: Model) -> None:
    document = svg(diagram(model))
    root = ET.fromstring(document)
    words = " ".join(element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text"))
    for phase in model.phases:
        assert phase.name in words
    assert "href" not in document
    assert "<script" not in document


def test_names_in_a_drawing_are_escaped(model: Model) -> None:
    document = svg(diagram(parse(changed("gloss: awareness", "gloss: a < b & c"), "shop.yaml")))
    assert "a &lt; b &amp; c" in document
    ET.fromstring(document)


def test_long_names_stay_within_the_drawing() -> None:
    yaml = changed("name: bevissthet", f"name: {'a very long name ' * 9}").replace("awareness", "x" * 300, 1)
    drawn = diagram(parse(yaml.replace("gloss: use\n", 'gloss: "in\\nuse"\n', 1), "shop.yaml"))
    assert max(map(len, text(drawn).splitlines())) <= 140
    assert "in use" in text(drawn)
    right = [
        int(rect.get("x", 0)) + int(rect.get("width", 0)) for rect in ET.fromstring(svg(drawn)).iter() if rect.get("rx")
    ]
    assert 0 < max(right) <= 760 - 100


def test_a_long_title_takes_two_lines() -> None:
    firms = ET.fromstring(svg(diagram(load("nettbutikk-5-bedrift"))))
    titles = [element for element in firms.iter() if element.get("class") == "title"]
    assert [element.text for element in titles] == [
        "Nettbutikk i fem faser, for bedriftskunder", "(nettbutikk-5-bedrift, version 1)",
    ]  # fmt: skip
    assert [element.get("y") for element in titles] == ["32", "56"]


def test_a_part_is_drawn_as_begun_by_what_enters_it() -> None:
    assert "next journey by what enters a phase" in text(diagram(load("klage")))


def variant(tmp_path: Path, yaml: str, base: str = YAML) -> str:
    """The path of a model beside base.yaml."""
    (tmp_path / "base.yaml").write_text(base.replace("{}", tmp_path.name), encoding="utf-8")
    (tmp_path / "variant.yaml").write_text(yaml, encoding="utf-8")
    return str(tmp_path / "variant.yaml")


@pytest.mark.parametrize("base", ["nettbutikk-5", "base.yaml"])
def test_a_variant_takes_over_what_it_does_not_give_itself(model: Model, tmp_path: Path, base: str) -> None:
    path = variant(tmp_path, f"id: mine\nextends: {base}\nrules: []\njourney_timeout: 180d\n")
    assert load(path, pytest.fail) == msgspec.structs.replace(model, id="mine", rules=(), journey_timeout=180 * DAY)


def test_a_base_is_looked_for_beside_the_file_that_names_it(model: Model, tmp_path: Path) -> None:
    (tmp_path / "shops").mkdir()
    path = variant(tmp_path / "shops", "id: mine\nextends: base.yaml\n", "id: base\nextends: ../top.yaml\n")
    (tmp_path / "top.yaml").write_text(YAML, encoding="utf-8")
    assert load(path, pytest.fail) == msgspec.structs.replace(model, id="mine")


def test_variants_of_variants_take_over_in_turn(model: Model, tmp_path: Path) -> None:
    path = variant(tmp_path, "id: mine\nextends: base.yaml\n", "id: base\nextends: nettbutikk-5\nversion: 7\n")
    assert load(path, pytest.fail) == msgspec.structs.replace(model, id="mine", version=7)


@pytest.mark.parametrize(
    ("yaml", "base", "complaint"),
    [
        ("id: mine\nextends: nettbutik-5", YAML, "variant.yaml:2: extends is 'nettbutik-5', neither"),
        ("id: mine\nextends: nettbutik-5", YAML, "Did you mean nettbutikk-5?"),
        ("id: mine\nextends:", YAML, "variant.yaml:2: extends is empty; allowed: the id or path of a model"),
        ("extends: base.yaml", YAML, "variant.yaml:1: extends is 'base.yaml': a model needs an id of its own"),
        ("id: mine\nextends: base.yaml", "- 1", "variant.yaml:2: extends is 'base.yaml', which is a list"),
        ("id: mine\nextends: base.yaml", "id: base\nextends: variant.yaml", "base.yaml:2: extends is 'variant.yaml'"),
        ("id: mine\nextends: base.yaml", YAML.replace("wait: 1h", "wait: 1x"), "rules[1].wait is '1x'"),
        ("id: mine\nextends: base.yaml", "id: base\nextends: ../{}/base.yaml", "base.yaml:2: extends is '../"),
        ("id: mine\nextends: base.yaml\nzone: Oslo", YAML, "variant.yaml:3: zone is 'Oslo'"),
        ("id: mine\nextend: base.yaml", YAML, "extend is not a key. Did you mean extends?"),
    ],
)
def test_an_error_in_a_variant_or_its_base_is_named_with_the_file_in_which_it_stands(
    tmp_path: Path, yaml: str, base: str, complaint: str
) -> None:
    path = variant(tmp_path, yaml, base)
    with pytest.raises(ModelError) as caught:
        load(path)
    assert complaint in str(caught.value)
    wrong = "base.yaml" if "rules[1]" in complaint or complaint.startswith("base.yaml") else "variant.yaml"
    assert str(caught.value).startswith(str(tmp_path / wrong))
