from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.domain.events import Event, Item
from tracker.domain.model import FoldSettings
from tracker.errors import BadEvent
from tracker.wire import bounds
from tracker.wire.control import (
    CONTROL_HEADER,
    Absorb,
    Config,
    Control,
    Merge,
    Passed,
    Progress,
    WatermarkMarks,
    control_headers,
    control_kind,
    decode_control,
    encode_control,
    source_name,
)
from tracker.wire.deadletters import PREFIX_BYTES, Origin, read_letter, write_letter
from tracker.wire.decode import REASONS, decode_canonical, decode_event, encode_event, read_event

BASE: dict[str, Any] = {"event_id": "e1", "type": "page_viewed", "ts": 1_700_000_000_000, "anonymous_id": "v1"}


def record(**changes: Any) -> bytes:
    """A canonical event with changes; a change to ... leaves the field out."""
    return json.dumps({k: v for k, v in (BASE | changes).items() if v is not ...}).encode()


def refused(value: bytes | None) -> BadEvent:
    with pytest.raises(BadEvent) as caught:
        decode_event(value)
    assert caught.value.reason in REASONS
    return caught.value


def test_a_canonical_record_is_taken_as_it_is() -> None:
    value = record(items=[{"product_id": "p", "quantity": 2, "price": 9.5}], currency="NOK", unheard_of={"a": 1})
    event, person, canonical = read_event(value)
    assert event.items == [Item("p", quantity=2, price=9.5)]
    assert person == "a:v1"
    assert canonical is value


@pytest.mark.parametrize("more", [{}, {"ts": "2023-11-14T22:13:20Z"}], ids=["as it is", "mended"])
def test_sums_in_nok_and_in_small_letters_are_sums_of_one_currency(more: dict[str, Any]) -> None:
    event, _, value = read_event(record(currency="nok", **more))
    assert event.currency == "NOK"
    assert decode_canonical(value) == event


@pytest.mark.parametrize("ts", [1_700_000_000, 1_700_000_000_000_000, 1_700_000_000_000_000_000])
def test_a_time_in_another_unit_is_taken_for_what_it_is_and_flagged(ts: int) -> None:
    event, _, value = read_event(record(ts=ts))
    assert (event.ts, event.flags) == (1_700_000_000_000, ["ts_rescaled"])
    assert decode_canonical(value) == event


@pytest.mark.parametrize("ts", [..., None, ""])
def test_an_event_without_a_time_is_as_of_its_record_and_flagged(ts: object) -> None:
    event, _, value = read_event(record(ts=ts), stamp=1_700_000_000_007)
    assert (event.ts, event.flags) == (1_700_000_000_007, ["ts_missing"])
    assert decode_canonical(value) == event


def test_an_unknown_type_is_accepted() -> None:
    assert decode_event(record(type="lamp_rubbed")).type == "lamp_rubbed"


def test_an_event_comes_back_from_its_canonical_json() -> None:
    event = Event("e", "order_completed", 1_700_000_000_123, "c1", "v1", items=[Item("p", price=1.5)], value=1.5)
    assert decode_event(encode_event(event)) == event


@pytest.mark.parametrize(
    ("given", "ms"),
    [
        ("2023-11-14T22:13:20Z", 1_700_000_000_000),
        ("2023-11-14T22:13:20.1239Z", 1_700_000_000_123),
        ("2023-11-14t23:13:20+01:00", 1_700_000_000_000),
        ("2023-11-14 22:13:20z", 1_700_000_000_000),
        (1_700_000_000_000.0, 1_700_000_000_000),
    ],
)
def test_a_time_may_be_rfc_3339(given: object, ms: int) -> None:
    event, _, canonical = read_event(record(ts=given))
    assert event.ts == ms
    assert json.loads(canonical)["ts"] == ms


def test_ids_may_be_numbers_and_null_means_not_given() -> None:
    value = record(
        event_id=17,
        customer_id=4711,
        anonymous_id=None,
        items=[{"product_id": 5, "sku": 6, "name": None, "quantity": None}, {"product_id": "q", "quantity": 2.0}],
    )
    event, person, canonical = read_event(value)
    assert (event.event_id, person) == ("17", "c:4711")
    assert event.items == [Item("5", "6"), Item("q", quantity=2)]
    assert decode_event(canonical) == event


@pytest.mark.parametrize(
    ("value", "reason", "said"),
    [
        (None, "empty", "no value"),
        (b"", "empty", "no value"),
        (b"hello", "not_json", "b'hello'"),
        (b'{"event_id": "\xff"}', "not_json", "UTF-8"),
        (b"[1]", "wrong_type", "an array"),
        (b'"x"', "wrong_type", "a string"),
        (b"null", "wrong_type", "null"),
        (record(event_id=...), "missing_id", "event_id is missing"),
        (record(event_id=""), "missing_id", "event_id is empty"),
        (record(event_id=None), "missing_id", "event_id is missing"),
        (record(event_id=["x"]), "wrong_type", "$.event_id"),
        (record(event_id="x" * 129), "id_too_long", "129 characters"),
        (record(order_id="x" * 129), "id_too_long", "order_id"),
        (record(type=...), "missing_type", "type is missing"),
        (record(type=""), "missing_type", "type is empty"),
        (record(type="x" * 65), "text_too_long", "65 characters"),
        (record(ts=...), "missing_ts", "ts is missing"),
        (record(ts="yesterday"), "bad_ts", "'yesterday'"),
        (record(ts="2023-11-14T22:13:20"), "bad_ts", "with a zone"),
        (record(ts=True), "bad_ts", "True"),
        (record(ts={}), "bad_ts", "{}"),
        (record(ts=10**40), "bad_ts", "1990"),
        (record(ts=-1), "bad_ts", "1990"),
        (record(anonymous_id="guest"), "no_identity", "'guest'"),
        (record(anonymous_id=...), "no_identity", "None"),
        (record(value="12"), "wrong_type", "'12'"),
        (record(value=2e12), "bad_number", "value is"),
        (record().replace(b"{", b'{"value": 1e999, ', 1), "not_json", "out of range"),
        (record(currency="kroner"), "bad_currency", "'kroner'"),
        (record(items={"product_id": "p"}), "wrong_type", "$.items"),
        (record(items=[{"product_id": "p", "price": "free"}]), "wrong_type", "'free'"),
        (record(items=[{"quantity": 1}]), "wrong_type", "product_id"),
        (record(items=[{"product_id": ""}]), "missing_id", "items[0].product_id"),
        (record(items=[{"product_id": "p", "quantity": -1}]), "bad_number", "items[0].quantity"),
        (record(items=[{"product_id": "p"}] * 501), "list_too_long", "501"),
        (record(segments=["s"] * 101), "list_too_long", "101"),
        (record(segments=["s" * 257]), "text_too_long", "segments"),
        (record(url="u" * 8193), "text_too_long", "8193"),
        (record(campaign={"name": "n" * 257}), "text_too_long", "campaign"),
        (record(properties={"n": 2**70}), "bad_number", "64 bits"),
        (record(properties={"n": "x" * bounds.MAX_EVENT_BYTES}), "too_large", str(bounds.MAX_EVENT_BYTES)),
        (b"[" * 100_000, "too_deep", "allowed: 32"),
    ],
)
def test_a_refusal_names_the_reason_the_field_and_what_is_allowed(value: bytes | None, reason: str, said: str) -> None:
    error = refused(value)
    assert error.reason == reason
    assert said in error.detail
    assert "allowed" in error.detail or "required" in error.detail or "Expected" in error.detail


def test_the_bounds_themselves_are_allowed() -> None:
    decode_event(
        record(
            event_id="x" * 128,
            type="t" * 64,
            url="u" * 8192,
            segments=["s" * 256] * 100,
            items=[{"product_id": "p", "quantity": 1_000_000, "price": 1e12}] * 500,
            properties={"n": 2**63 - 1},
        )
    )
    for ts in (bounds.MIN_TS, bounds.MAX_TS - 1):
        assert decode_event(record(ts=ts)).ts == ts
    for ts in (bounds.MIN_TS - 1, bounds.MAX_TS):
        assert refused(record(ts=ts)).reason == "bad_ts"


def test_properties_may_be_nested_32_deep_and_no_deeper() -> None:
    def nested(depth: int) -> Any:
        return {} if depth == 1 else {"a": nested(depth - 1)}

    decode_event(record(properties=nested(32)))
    assert refused(record(properties=nested(33))).reason == "too_deep"
    assert refused(record(properties=nested(900))).reason == "too_deep"


def test_a_number_of_thousands_of_digits_is_refused_not_a_crash() -> None:
    digits = b"1" + b"0" * 6000
    for field in ("ts", "event_id", "value", "customer_id", "properties"):
        given = b'{"n": %s}' % digits if field == "properties" else digits
        refused(b'{"%s": %s, ' % (field.encode(), given) + record(**{field: ...})[1:])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=60)
    | st.dictionaries(st.sampled_from(Event.__struct_fields__), JSON, max_size=6).map(
        lambda changes: json.dumps(BASE | changes).encode()
    )
)
def test_whatever_arrives_is_an_event_that_can_be_written_again_or_a_named_refusal(value: bytes) -> None:
    try:
        event, person, canonical = read_event(value)
    except BadEvent as error:
        reason = error.reason
    else:
        reason = "empty"
        assert person[:2] in ("a:", "c:")
        assert decode_event(canonical) == event
        assert decode_event(encode_event(event)) == event
    assert reason in REASONS


@pytest.mark.parametrize(
    ("control", "kind"),
    [
        (WatermarkMarks({source_name("shop.clicks", 0): 1_700_000_000_000}), "watermark"),
        (Passed({0: (1, 2), 11: (3, 4)}), "passed"),
        (Config(("id: x",), FoldSettings(), 3, ("shop.clicks/0",)), "config"),
        (Merge("c:17", 5), "merge"),
        (Absorb("id", "a:v1", 5, b"\x00\xff"), "absorb"),
        (Progress(9), "progress"),
    ],
)
def test_control_records_come_back_from_their_bytes(control: Control, kind: str) -> None:
    headers = control_headers(control)
    assert control_kind([("x", b"y"), *headers]) == kind
    assert decode_control(kind, encode_control(control)) == control


def test_control_values_have_the_shape_that_the_contract_says() -> None:
    assert encode_control(WatermarkMarks({"shop.clicks/0": 17})) == b'{"sources":{"shop.clicks/0":17}}'
    assert encode_control(Passed({0: (1, 2)})) == b'{"partitions":{"0":[1,2]}}'
    assert encode_control(Merge("c:1", 5)) == b'{"customer":"c:1","ts":5}'
    assert control_headers(Progress(1)) == [(CONTROL_HEADER, b"progress")]


def test_an_event_is_no_control_record_and_a_malformed_one_is_refused() -> None:
    assert control_kind([("content-type", b"application/json")]) is None
    assert control_kind([(CONTROL_HEADER, None)]) == ""
    for kind, value in (
        ("watermark", b"{}"),
        ("absorb", b"{"),
        ("progress", None),
        ("progress", b'{"ts":-1}'),
        ("progress", b'{"ts":9223372036854775807}'),
        ("progress", b'{"ts":99999999999999999999}'),
        ("unknown", b"{}"),
        ("", b"{}"),
    ):
        with pytest.raises(BadEvent, match="bad_control"):
            decode_control(kind, value)


ORIGIN = Origin("shop.clicks", 3, 17, 1_700_000_000_000)
ERROR = BadEvent("bad_ts", "ts is 'i går'")


def test_a_dead_letter_gives_the_original_back() -> None:
    letter = write_letter(ORIGIN, b"k", b"\x00v", [("reason", b"theirs")], ERROR)
    assert dict(letter.headers)["reason"] == b"bad_ts"
    back = read_letter(*letter)
    assert (back.origin, back.key, back.value, list(back.headers)) == (ORIGIN, b"k", b"\x00v", [("reason", b"theirs")])
    assert (back.reason, back.size, back.pointer) == ("bad_ts", 2, False)
    assert back.detail == r"ts is 'i g\xe5r'"


def test_a_record_without_a_value_keeps_having_none() -> None:
    back = read_letter(*write_letter(ORIGIN, None, None, [], ERROR))
    assert (back.key, back.value, back.size) == (None, None, -1)


def test_a_record_too_large_for_the_topic_becomes_a_pointer_with_a_prefix() -> None:
    value = b"x" * 2_000_000
    back = read_letter(*write_letter(ORIGIN, b"k", value, [], ERROR))
    assert (back.pointer, back.size, back.value) == (True, 2_000_000, value[:PREFIX_BYTES])


def test_a_record_that_is_no_letter_is_refused() -> None:
    with pytest.raises(BadEvent, match="source-topic"):
        read_letter(b"k", b"v", [("reason", b"x")])
