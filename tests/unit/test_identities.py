"""Ids that are made to agree, and ids that name nobody."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.raw import NOW, TOPICS, Raw, event
from tracker.domain.events import Event
from tracker.errors import SettingError
from tracker.metrics import Tally
from tracker.settings import load
from tracker.stream.canonical import Canonical
from tracker.stream.ports import OutRecord
from tracker.stream.sources import WallSource
from tracker.wire.control import Claim, control_kind, decode_control
from tracker.wire.decode import decode_canonical
from tracker.wire.identities import Identities
from tracker.wire.reading import AUTO, reader_of

UUID = "0e984725-c51c-4bf4-9960-e1c80e27aba0"


def taken(identities: Identities, **fields: Any) -> list[OutRecord]:
    counts = {TOPICS.events: 4, TOPICS.dead_letters: 1}
    maker = Canonical(TOPICS, counts, reader_of(AUTO), Tally(), 1_000_000, wall=True, identities=identities)
    return maker.take([Raw(event(**fields))], WallSource(0), NOW)[0]


def read(identities: Identities, **fields: Any) -> tuple[bytes | None, Event]:
    record = taken(identities, **fields)[0]
    return record.key, decode_canonical(record.value)


@pytest.mark.parametrize(
    ("steps", "given", "written"),
    [
        ("as-is", " Kari ", " Kari "),
        ("trim", " Kari ", "Kari"),
        ("lower", "Kari@Shop.NO", "kari@shop.no"),
        ("number", "0042", "42"),
        ("number", "42.0", "42"),
        ("number", "+42", "42"),
        ("number", "42.5", "42.5"),
        ("number", "00a", "00a"),
        ("uuid", UUID.upper(), UUID),
        ("uuid", UUID.replace("-", ""), UUID),
        ("uuid", f"{{{UUID}}}", UUID),
        ("uuid", f"urn:uuid:{UUID}", UUID),
        ("uuid", "Kari", "Kari"),
        ("trim,lower,number,uuid", " KARI ", "kari"),
    ],
)
def test_customer_ids_are_written_as_the_setting_says(steps: str, given: str, written: str) -> None:
    key, found = read(Identities(steps.split(",")), customer_id=given)
    assert (key, found.customer_id) == (f"c:{written}".encode(), written)


def test_a_number_and_its_text_are_one_customer() -> None:
    assert read(Identities(), customer_id=42)[0] == read(Identities(), customer_id="42")[0] == b"c:42"


def test_links_name_the_customer_as_events_do() -> None:
    records = taken(Identities(["lower"]), customer_id="KARI", order_id="O1")
    assert [control_kind(record.headers) for record in records] == [None, "merge", "claim"]
    assert records[2].key == b"order:O1"
    assert decode_control("claim", records[2].value) == Claim("c:kari", NOW)


def test_blocked_ids_are_left_out_wherever_they_stand() -> None:
    rules = Identities(blocked=["Kiosk-1"])
    key, found = read(rules, customer_id="kari", anonymous_id=" kiosk-1", order_id="KIOSK-1", account_id="kiosk-1")
    assert (key, found.anonymous_id, found.order_id, found.account_id) == (b"c:kari", None, None, None)
    assert len(taken(rules, customer_id="kari", anonymous_id="kiosk-1", order_id="kiosk-1")) == 1, "no link either"
    assert read(rules, customer_id="kiosk-1", anonymous_id="v")[0] == b"a:v"


def test_an_event_with_nobody_left_is_a_dead_letter() -> None:
    (letter,) = taken(Identities(blocked=["kiosk-1"]), anonymous_id="kiosk-1")
    assert (letter.topic, dict(letter.headers)["reason"]) == (TOPICS.dead_letters, b"no_identity")


@pytest.mark.parametrize("placeholder", ["", "0", "null", " None ", "undefined"])
def test_placeholders_are_no_orders_carts_or_checkouts(placeholder: str) -> None:
    records = taken(Identities(), order_id=placeholder, cart_id=placeholder, checkout_id=placeholder)
    found = decode_canonical(records[0].value)
    assert (len(records), found.order_id, found.cart_id, found.checkout_id) == (1, None, None, None)


def test_what_is_claimed_every_minute_is_said_once_a_day() -> None:
    counts = {TOPICS.events: 4, TOPICS.dead_letters: 1}
    maker = Canonical(TOPICS, counts, reader_of(AUTO), Tally(), 1_000_000, wall=False)
    claims = [
        record
        for minute in range(2 * 24 * 60)
        for record in maker.take([Raw(event(NOW + minute * 60_000, cart_id="K"))], WallSource(0), NOW)[0]
        if control_kind(record.headers) == "claim"
    ]
    assert len(claims) == 2


@pytest.mark.parametrize(("given", "named"), [("upper", "upper"), ("as-is,lower", "as-is")])
def test_a_wrong_way_to_write_customer_ids_is_named(given: str, named: str) -> None:
    with pytest.raises(SettingError, match=rf"(?i)customer.ids.*{named}"):
        load({"customer_ids": given})
