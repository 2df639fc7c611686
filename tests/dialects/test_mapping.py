from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jmespath
import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from tracker.cli import main
from tracker.domain.events import Consent, Event
from tracker.errors import BadEvent, MappingError, SettingError
from tracker.settings import Settings
from tracker.wire.dialects import DIALECTS
from tracker.wire.dialects.dialect import Dialect
from tracker.wire.dialects.mapping import TOP, MappedDialect, compile_mapping
from tracker.wire.dialects.paths import compile_path
from tracker.wire.dialects.rules import COMMON, KINDS
from tracker.wire.reading import reader_of
from tracker.wire.topics import Topics
from tracker.wiring.dialects import Dialects
from tracker.wiring.mappings import load_mapping

DOCS = Path(__file__).parents[2] / "docs"
KASSE = DOCS / "examples" / "kasse.yaml"
RECORDS = DOCS / "examples" / "kasse.json"
NOW = 1_700_000_000_000
PLAIN = {"name": "till", "type": "kind", "ts": "at", "customer_id": "who"}


def mapped(**more: Any) -> MappedDialect:
    return compile_mapping(PLAIN | more)


def events(dialect: Dialect, **fields: Any) -> list[Event]:
    return dialect.events(json.dumps({"kind": "seen", "at": NOW, "who": 7} | fields).encode(), NOW + 1)


def event(dialect: Dialect, **fields: Any) -> Event:
    (found,) = events(dialect, **fields)
    return found


def refused(dialect: Dialect, **fields: Any) -> BadEvent:
    with pytest.raises(BadEvent) as caught:
        events(dialect, **fields)
    return caught.value


def test_the_example_of_the_page_is_the_file_and_gives_what_the_page_shows() -> None:
    page = (DOCS / "mapping.md").read_text(encoding="utf-8")
    assert re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) == [KASSE.read_text(encoding="utf-8")]
    record, shown = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL))
    assert record in json.loads(RECORDS.read_text(encoding="utf-8"))
    dialect, slips = load_mapping(KASSE)
    (found,) = dialect.events(json.dumps(record).encode(), NOW)
    assert (msgspec.to_builtins(found), slips) == (shown, [])


def test_every_key_is_documented_and_no_other_is() -> None:
    page = (DOCS / "mapping.md").read_text(encoding="utf-8")
    documented = [
        re.findall(r"^\| `(\w+)` \|", part.split("\n## ")[0], re.MULTILINE)
        for part in (page.split("\n## Keys\n")[1], page.split("\n## Values\n")[1])
    ]
    options = {option for kind in KINDS.values() for option in kind}
    assert [sorted(keys) for keys in documented] == [sorted(TOP), sorted({*COMMON, *options, "type"})]


def test_a_path_alone_is_enough_and_ids_may_be_numbers() -> None:
    found = event(mapped(cart_id="cart.no", device="client.device"), cart={"no": 12}, client={"device": "mobile"})
    assert (found.type, found.ts, found.customer_id, found.cart_id) == ("seen", NOW, "7", "12")
    assert (found.device, found.flags) == ("mobile", None)


def test_a_path_that_finds_nothing_gives_nothing() -> None:
    found = event(mapped(cart_id="cart.no", value="sum", items={"each": "lines", "product_id": "no"}), cart="none")
    assert (found.cart_id, found.value, found.items) == (None, None, None)


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=4),
    st.recursive(
        st.none() | st.integers() | st.text("ab"),
        lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | st.lists(inner, max_size=2),
        max_leaves=8,
    ),
)
def test_the_short_cut_for_dotted_names_finds_what_the_library_finds(names: list[str], value: Any) -> None:
    path = ".".join(names)
    assert compile_path(path)(value) == jmespath.search(path, value)


def test_a_name_may_have_letters_beyond_ascii_and_any_other_stands_in_quotes() -> None:
    dialect = mapped(order_id="kjøp.løpenr", cart_id='"cart-no"')
    found = event(dialect, kjøp={"løpenr": 5}, **{"cart-no": "c"})
    assert (found.order_id, found.cart_id) == ("5", "c")


def test_a_function_that_cannot_take_its_value_is_the_records_fault() -> None:
    assert refused(mapped(value="sum(lines[].price)"), lines=[{"price": "9"}]).reason == "wrong_type"


@pytest.mark.parametrize(
    ("rule", "given_", "expected"),
    [
        ("t", 1_700_000_000, NOW),
        ("t", "2023-11-14T22:13:20Z", NOW),
        ({"path": "t", "zone": "Europe/Oslo"}, "2023-11-14 23:13:20", NOW),
        ({"path": "t", "format": "%d.%m.%Y kl. %H.%M.%S", "zone": "Europe/Oslo"}, "14.11.2023 kl. 23.13.20", NOW),
        ({"path": "t", "format": "%Y%m%d%H%M%S%z"}, "20231114221320+0000", NOW),
        ({"path": "t", "unit": "s"}, 1_700_000_000.25, NOW + 250),
        ({"path": "t", "unit": "us"}, "1700000000000000", NOW),
        ({"path": "t", "unit": "ns"}, 1_700_000_000_000_000_999, NOW),
    ],
)
def test_times_are_read_by_unit_format_and_zone(rule: Any, given_: Any, expected: int) -> None:
    assert event(mapped(ts=rule), t=given_).ts == expected


def test_an_event_without_a_time_has_its_records_and_says_so() -> None:
    found = event(mapped(), at=None)
    assert (found.ts, found.flags) == (NOW + 1, ["ts_missing"])


@pytest.mark.parametrize(
    ("rule", "given_", "expected"),
    [
        ("n", "899.50", 899.5),
        ({"path": "n", "divide": 100}, 89950, 899.5),
        ({"path": "n", "decimal": ","}, "1 798,50", 1798.5),
        ({"path": "n", "decimal": ","}, "1.798,50", 1798.5),
        ({"path": "n", "default": 0}, None, 0),
        ({"path": "n", "default": 0}, "", 0),
        ({"constant": 5}, 7, 5),
    ],
)
def test_numbers_are_read_as_shops_write_them(rule: Any, given_: Any, expected: float) -> None:
    assert event(mapped(value=rule), n=given_).value == expected


def test_words_are_translated_and_others_stay_or_become_what_else_says() -> None:
    known = {"W": "web", "1": "store", "true": "app"}
    kept = mapped(channel={"path": "c", "values": known})
    assert [event(kept, c=given_).channel for given_ in ("W", 1, True, "X")] == ["web", "store", "app", "X"]
    other = mapped(channel={"path": "c", "values": known, "else": "other"})
    assert [event(other, c=given_).channel for given_ in ("X", None)] == ["other", None]
    nothing = mapped(channel={"path": "c", "values": known, "else": None})
    assert event(nothing, c="X").channel is None


def test_consent_is_true_or_false_or_refused() -> None:
    dialect = mapped(consent={"marketing": "m", "analytics": {"path": "a", "values": {"J": True, "N": False}}})
    consent = event(dialect, m=1, a="N").consent
    assert consent is not None
    assert (consent.marketing, consent.analytics) == (True, False)
    assert event(dialect).consent is None
    dialect = mapped(consent={"marketing": "m", "tcf": "t", "gcs": "g"})
    assert event(dialect, m=True, g="G101", t="not one").consent == Consent(marketing=False, analytics=True)
    assert event(dialect, t="COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA").consent == Consent(False, False)
    assert refused(dialect, m="perhaps").detail.startswith("marketing (m) is 'perhaps'; allowed: true, false")


@pytest.mark.parametrize(
    ("otherwise", "expected"), [("snake", "quiz_started"), ("skip", None), ("page_viewed", "page_viewed")]
)
def test_a_name_that_is_not_translated_becomes_what_else_says(otherwise: str, expected: str | None) -> None:
    dialect = mapped(type={"path": "kind", "values": {"seen": "product_viewed"}, "else": otherwise})
    assert event(dialect).type == "product_viewed"
    assert [found.type for found in events(dialect, kind="Quiz Started")] == ([] if expected is None else [expected])


def test_a_name_that_is_not_translated_can_be_refused() -> None:
    dialect = mapped(type={"path": "kind", "values": {"seen": "product_viewed"}, "else": "refuse"})
    assert refused(dialect, kind="x").detail == "type (kind) is 'x'; allowed: seen"
    assert refused(dialect, kind=None).reason == "missing_type"


def test_an_id_comes_from_the_content_whatever_the_order_of_its_fields() -> None:
    dialect = mapped()
    (one,) = dialect.events(b'{"kind": "seen", "who": 1, "more": {"a": 1, "b": 2}}', NOW)
    (same,) = dialect.events(b'{"more": {"b": 2, "a": 1}, "who": 1, "kind": "seen"}', NOW + 5)
    (other,) = dialect.events(b'{"more": {"b": 2, "a": 2}, "who": 1, "kind": "seen"}', NOW)
    assert one.event_id == same.event_id != other.event_id


def test_an_id_can_come_from_part_of_the_content() -> None:
    dialect = mapped(event_id={"content": "[kind, order]"})
    assert event(dialect, order=1, seen=1).event_id == event(dialect, order=1, seen=2).event_id
    assert event(dialect, order=1).event_id != event(dialect, order=2).event_id
    assert refused(mapped(event_id="no")).detail == "event_id (no) is missing"


def test_a_record_may_hold_several_events() -> None:
    dialect = mapped(each="events", customer_id={"path": "user.id", "from": "record"})
    found = events(dialect, user={"id": 9}, events=[{"kind": "a", "at": NOW}, {"kind": "b", "at": NOW}])
    assert [(one.type, one.customer_id) for one in found] == [("a", "9"), ("b", "9")]
    assert len({one.event_id for one in found}) == 2
    assert refused(dialect, events=None).detail == "each (events) is None; allowed: a list"


def test_a_record_may_be_a_list() -> None:
    found = mapped(each="@").events(b'[{"kind": "a", "who": "c"}, {"kind": "b", "who": "c"}]', NOW)
    assert [one.type for one in found] == ["a", "b"]
    with pytest.raises(BadEvent, match="wrong_type"):
        mapped().events(b"[]", NOW)


def test_lines_become_items_and_may_look_further_out() -> None:
    rules = {"each": "lines", "product_id": "no", "price": {"path": "p", "divide": 100}, "quantity": "n"}
    dialect = mapped(items=rules | {"category": {"path": "shelf", "from": "event"}})
    (item,) = event(dialect, shelf="shoes", lines=[{"no": 1, "p": 9990, "n": "2"}]).items or []
    assert (item.product_id, item.price, item.quantity, item.category) == ("1", 99.9, 2, "shoes")
    assert event(dialect, lines=[]).items == []
    assert refused(dialect, lines=[{"no": 1}, {}]).detail == "product_id (no) is missing in line 2 of each (lines)"
    assert refused(dialect, lines=[{"no": 1, "n": 1.5}]).reason == "bad_number"


def test_without_lines_the_event_itself_is_the_line() -> None:
    dialect = mapped(items={"product_id": "sku", "name": "title"})
    (item,) = event(dialect, sku="s", title="Shoes").items or []
    assert (item.product_id, item.name) == ("s", "Shoes")
    assert event(dialect).items is None


def test_properties_are_an_object_or_named_one_by_one() -> None:
    assert event(mapped(properties="extra"), extra={"a": [1]}).properties == {"a": [1]}
    assert event(mapped(properties="extra")).properties is None
    assert refused(mapped(properties="extra"), extra=[1]).reason == "wrong_type"
    named = mapped(properties={"step": {"path": "s", "type": "whole"}, "at": {"path": "t", "type": "time"}, "x": "x"})
    assert event(named, s="2", t="2023-11-14T22:13:20Z").properties == {"step": 2, "at": NOW}


def test_the_first_case_that_holds_decides_and_the_rest_stands_above() -> None:
    cases = [
        {"when": "sum > `100`", "type": {"constant": "order_completed"}, "value": "sum"},
        {"when": "sum", "type": {"constant": "order_updated"}},
    ]
    dialect = mapped(cases=cases, channel={"constant": "till"})
    assert [event(dialect, sum=given_).type for given_ in (500, 5, None)] == [
        "order_completed",
        "order_updated",
        "seen",
    ]
    assert (event(dialect, sum=500).value, event(dialect, sum=5).channel) == (500, "till")


def test_where_only_cases_have_types_any_other_event_is_left_out() -> None:
    plain = {key: given_ for key, given_ in PLAIN.items() if key != "type"}
    dialect = compile_mapping(plain | {"cases": [{"when": "kind == 'sold'", "type": {"constant": "order_completed"}}]})
    assert [events(dialect, kind="sold")[0].type, events(dialect)] == ["order_completed", []]


def test_records_that_are_not_taken_are_left_out() -> None:
    dialect = mapped(take="kind != 'heartbeat' && who")
    assert (events(dialect, kind="heartbeat"), events(dialect, who=None), len(events(dialect))) == ([], [], 1)


@pytest.mark.parametrize(
    ("recognise", "record", "expected"),
    [
        ({"system": "till"}, {"system": "till"}, True),
        ({"system": "till"}, {"system": "other"}, False),
        ({"system": "till"}, {}, False),
        ({"system": None, "version": [2, "3"]}, {"system": [1], "version": 3}, True),
        ({"system": None, "version": [2, "3"]}, {"system": 1, "version": 4}, False),
        (None, {"system": "till"}, False),
    ],
)
def test_records_are_recognised_by_fields_and_what_stands_there(
    recognise: Any, record: dict[str, Any], expected: bool
) -> None:
    dialect = mapped(**({} if recognise is None else {"recognise": recognise}))
    fields = msgspec.json.decode(json.dumps(record).encode(), type=dict[str, msgspec.Raw])
    assert dialect.recognises(fields) is expected


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("name: Till\ntype: k\ncustomer_id: w", "1: name is 'Till'; required: small letters, digits, _ and -"),
        ("name: t\ncustomer_id: w", "1: type is missing"),
        ("name: t\ntype: 7\ncustomer_id: w", "2: type is 7; allowed: a path, or keys and values"),
        ("name: t\ntype: k\ncustomer_id:", "3: customer_id is None; allowed: a path, or keys and values"),
        ("name: t\ntype: k", "1: customer_id or anonymous_id is missing: whose the event is"),
        ("name: t\ntype: k\ncustomer: w", "3: customer is not a key. Did you mean customer_id? Allowed: name, "),
        ("name: t\ntype: k\ncustomer_id: order-no", "3: customer_id is 'order-no': Bad jmespath expression"),
        ("name: t\ntype: k\ncustomer_id: w\nvalue: plus(a)", "4: value is 'plus(a)': plus() is no function of JMES"),
        ("name: t\ntype: k\ncustomer_id: w\nvalue: length()", "4: value is 'length()': length() has 0 arguments; it"),
        ("name: t\ntype: k\ncustomer_id: w\nvalue: {path: a, divide: 0}", "4: value.divide is 0; allowed: a number"),
        (
            "name: t\ntype: k\ncustomer_id: w\nvalue: {default: 0}",
            "4: value: allowed: a path, or keys with one of path",
        ),
        ("name: t\ntype: k\ncustomer_id: w\nvalue: {path: a, default: x}", "4: value.default does not fit: default"),
        ("name: t\ntype: k\ncustomer_id: w\nvalue: {constant: 1, else: 2}", "4: value.else is not allowed beside con"),
        ("name: t\ntype: k\ncustomer_id: w\nvalue: {path: a, else: 2}", "4: value.else is for what values does not"),
        ("name: t\ntype: k\ncustomer_id: w\nvalue: {path: a, unit: s}", "4: value.unit is not a key."),
        ("name: t\ntype: k\ncustomer_id: w\nvalue: {path: a, from: line}", "4: value.from is 'line'; allowed: record"),
        ("name: t\ntype: k\ncustomer_id: w\nts: {path: a, zone: Oslo}", "4: ts.zone is 'Oslo'; allowed: UTC or the"),
        ("name: t\ntype: k\ncustomer_id: w\nts: {path: a, format: '%d.%m.%Y'}", "4: ts.format is '%d.%m.%Y' without"),
        ("name: t\ntype: k\ncustomer_id: w\nts: {path: a, unit: h}", "4: ts.unit is 'h'; allowed: s, ms, us, ns"),
        ("name: t\ntype: {path: k, values: {a: A b}}\ncustomer_id: w", "2: type.values.a is 'A b'; allowed: an event"),
        ("name: t\ntype: {path: k, else: Drop}\ncustomer_id: w", "2: type.else is 'Drop'; allowed: an event type (sm"),
        ("name: t\ntype: k\ncustomer_id: w\nitems:\n  price: p", "4: items: product_id is missing"),
        ("name: t\ntype: k\ncustomer_id: w\nconsent: {sms: p}", "4: consent.sms is not a key. Allowed: marketing, a"),
        ("name: t\ntype: k\ncustomer_id: w\ncases:\n  - type: x", "5: cases[1]: when is missing"),
        ("name: t\ntype: k\ncustomer_id: w\ncases: {when: x}", "4: cases is {'when': 'x'}; allowed: a list"),
        ("name: t\ntype: k\ncustomer_id: w\nrecognise: {}", "4: recognise is empty"),
        ("name: t\ntype: k\ntype: l\ncustomer_id: w", "3: type is there twice"),
        ("name: t\nproperties: {a: {path: b, type: date}}\ntype: k\ncustomer_id: w", "2: properties.a.type is 'date';"),
        ("name: [", "1: not YAML"),
        ("- name", "1: the mapping is ['name']; allowed: keys and values"),
    ],
)
def test_what_is_wrong_with_a_mapping_is_said_with_its_line(tmp_path: Path, yaml: str, message: str) -> None:
    file = tmp_path / "till.yaml"
    file.write_text(yaml, encoding="utf-8")
    with pytest.raises(MappingError) as caught:
        load_mapping(file)
    assert str(caught.value).removeprefix(f"{file}:").startswith(message)


def test_a_type_that_nobody_knows_is_pointed_out() -> None:
    dialect = mapped(type={"path": "kind", "values": {"seen": "product_seen", "sold": "order_completed"}})
    assert dialect.unknown == [(("type", "values", "seen"), "product_seen")]


def read(settings: Settings, topic: str, **fields: Any) -> str:
    """The dialect in which a record of the topic is read."""
    reader = Dialects(settings, Topics("", settings.raw_topics)).reader(topic)
    record = type("Record", (), {"value": json.dumps(fields).encode(), "headers": ()})()
    return reader(record, NOW).dialect


def test_a_topic_is_read_with_the_mapping_that_a_setting_names(tmp_path: Path) -> None:
    settings = Settings(raw_topics=("shop.kasse",), dialects=(f"shop.kasse={KASSE}",))
    fields = {"hendelse": "vist", "løpenummer": 1, "tid": "02.03.2026 10:10:00", "nettleser": "v"}
    assert read(settings, "shop.kasse", **fields) == "kasse"


def test_a_topic_with_several_dialects_is_read_in_the_one_that_recognises_the_record(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("name: other\nrecognise: {other: 1}\ntype: other\ncustomer_id: who", encoding="utf-8")
    named = (f"shop.kasse={KASSE}", f"shop.kasse={other}", "shop.kasse=auto")
    settings = Settings(raw_topics=("shop.kasse",), dialects=named)
    fields = {"hendelse": "vist", "løpenummer": 1, "tid": "02.03.2026 10:10:00", "nettleser": "v", "who": "c"}
    assert read(settings, "shop.kasse", system="kasse", **fields) == "kasse"
    assert read(settings, "shop.kasse", other=1, **fields) == "other"
    assert read(settings, "shop.kasse", event_id="e", type="page_viewed", ts=NOW, customer_id="c") == "canonical"
    with pytest.raises(BadEvent):
        read(settings, "shop.kasse", **fields)


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ("shop.till=nobodys", "TRACKER_DIALECTS: 'nobodys' is no dialect; allowed: auto, canonical"),
        ("shop.other=auto", "TRACKER_DIALECTS has 'shop.other=auto': 'shop.other' is not in TRACKER_RAW_TOPICS"),
        ("shop.till=none.yaml", "none.yaml: cannot be read"),
        ("shop.till={taken}", "name is 'canonical', which is another dialect's"),
        ("shop.till={taken},shop.till={silent}", "name is 'canonical'"),
        ("shop.till=auto,shop.till={silent}", "shop.till has several dialects, and silent has no recognise to tell"),
    ],
)
def test_what_is_wrong_with_the_setting_is_said(tmp_path: Path, given_: str, message: str) -> None:
    files = {name: tmp_path / f"{name}.yaml" for name in ("taken", "silent")}
    files["taken"].write_text("name: canonical\ntype: k\ncustomer_id: w", encoding="utf-8")
    files["silent"].write_text("name: silent\ntype: k\ncustomer_id: w", encoding="utf-8")
    named = tuple(given_.format(**files).split(","))
    settings = Settings(raw_topics=("shop.till",), dialects=named)
    with pytest.raises(SettingError, match=re.escape(message)):
        Dialects(settings, Topics("", settings.raw_topics))


def call(*args: str) -> Result:
    return CliRunner().invoke(main, ["dialects", *args])


def test_check_shows_what_samples_become() -> None:
    result = call("check", str(KASSE), str(RECORDS))
    assert result.exit_code == 0, result.stderr
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["type"] for one in found] == ["product_viewed", "order_completed", "order_refunded"]
    assert "Read: 4 kasse. Events: 3. Left out: 1. Refused: 0." in result.stderr


def test_check_names_what_is_wrong_with_a_mapping_and_what_may_be_a_slip(tmp_path: Path) -> None:
    file = tmp_path / "till.yaml"
    file.write_text("name: till\ntype: {constant: order_complete}\ncustomer_id: w\n", encoding="utf-8")
    result = call("check", str(file))
    assert (result.exit_code, result.stdout) == (
        0,
        f"{file} is valid: dialect till; recognised only where TRACKER_DIALECTS names it.\n",
    )
    assert result.stderr == f"Warning: {file}:2: type.constant is order_complete, which is not a canonical event type\n"
    file.write_text("name: till\ncustomer_id: w\n", encoding="utf-8")
    assert (call("check", str(file)).exit_code, call("check", str(file)).stderr) == (
        2,
        f"Error: {file}:1: type is missing\n",
    )


def test_read_says_which_records_are_refused_and_why(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    good = {"event_id": "e", "type": "page_viewed", "ts": NOW, "customer_id": "c"}
    file.write_text(json.dumps(good) + "\n\n{}\nno JSON\n", encoding="utf-8")
    result = call("read", str(file))
    assert result.exit_code == 1
    assert json.loads(result.stdout) == good
    first, second, summary = result.stderr.splitlines()
    assert first.startswith(f"{file}:3: missing_id: ")
    assert second.startswith(f"{file}:4: not_json: ")
    assert summary == "Read: 1 canonical. Events: 1. Left out: 0. Refused: 2."


def test_read_refuses_what_is_no_file_or_header(tmp_path: Path) -> None:
    assert "cannot be read" in call("read", str(tmp_path / "none.jsonl")).stderr
    wrong = call("read", str(RECORDS), "--header", "X-Shopify-Topic")
    assert (wrong.exit_code, wrong.stderr.startswith("Error: --header is 'X-Shopify-Topic'; allowed: NAME=VALUE")) == (
        2,
        True,
    )


def test_a_mapping_is_a_dialect_by_its_reader() -> None:
    reader = reader_of(load_mapping(KASSE)[0])
    record = type("Record", (), {"value": RECORDS.read_bytes()[1:].split(b"},\n  {")[0] + b"}", "headers": ()})()
    assert reader(record, NOW).dialect == "kasse"


def test_list_names_every_dialect_with_what_is_read() -> None:
    listed = json.loads(call("list", "--json").stdout)
    assert [one["dialect"] for one in listed] == ["canonical", *(dialect.name for dialect in DIALECTS)]
    assert all(one["reads"].endswith(".") for one in listed)
    assert len({one["reads"] for one in listed}) == len(listed)
    assert "Shopify's webhooks" in call("list").stdout


def test_headers_can_be_given_to_samples(tmp_path: Path) -> None:
    file = tmp_path / "order.json"
    file.write_text('{"id": 5}', encoding="utf-8")
    result = call("read", str(file), "--header", "X-Shopify-Topic=orders/delete")
    assert json.loads(result.stdout)["type"] == "order_cancelled"
    assert "Read: 1 shopify. Events: 1." in result.stderr
