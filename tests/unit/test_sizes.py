"""However large events are, a person's state, an output and a dead letter are bounded."""

from __future__ import annotations

import pytest

from tests.properties.runner import Person
from tracker.domain.events import EVENT_TYPES, PASSIVE_TYPES, Consent, Event, Item
from tracker.domain.outputs import Bound, SessionClosed
from tracker.domain.state import MAX_KEPT_BYTES, MAX_WAITING, encode_state
from tracker.errors import BadEvent
from tracker.stream.fit import OVERHEAD, shorten, size
from tracker.stream.ports import OutRecord
from tracker.wire.bounds import MAX_EVENT_BYTES
from tracker.wire.control import FORWARD_HEADERS
from tracker.wire.deadletters import MAX_LETTER_BYTES, Origin, read_letter, write_letter
from tracker.wire.decode import decode_canonical, encode_event

NOON = 1_772_400_000_000
MINUTE = 60_000


def large(number: int, ts: int, kind: str = "product_added") -> Event:
    """An event nearly as large as one may be; always the same products, so that the cart stays small."""
    items = [Item(product_id=f"p{n}", quantity=1, price=1.0, name="n" * 1000) for n in range(200)]
    return Event(event_id=f"e{number}", type=kind, ts=ts, customer_id="p", items=items)


def bounds(person: Person) -> list[str]:
    return [output.name for output in person.out if isinstance(output, Bound)]


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "backwards"])
def test_recent_events_are_bounded_by_their_bytes_too(order: int) -> None:
    person = Person(name="c:p")
    person.time(NOON - MINUTE)
    most = 0
    for number in range(60):
        person.take(large(number, NOON + order * number * 1000))
        most = max(most, len(encode_state(person.state)))
    assert MAX_KEPT_BYTES / 2 < most < 2 * MAX_KEPT_BYTES
    assert "recent_events" in bounds(person)


def test_waiting_events_are_bounded_by_their_bytes_too() -> None:
    person = Person(name="c:p")
    person.time(NOON)
    person.take(large(0, NOON))
    most = 0
    for number in range(1, 100):  # each behind the deadline of the first
        person.take(large(number, NOON + 300 * MINUTE + number))
        most = max(most, len(encode_state(person.state)))
    assert len(person.state.waiting) < MAX_WAITING / 10
    assert MAX_KEPT_BYTES / 2 < most < 3 * MAX_KEPT_BYTES
    assert "waiting_forced" in bounds(person)


def test_small_events_are_bounded_by_their_number_alone() -> None:
    person = Person(name="c:p")
    person.time(NOON)
    for number in range(MAX_WAITING + 1):
        ts = NOON if number == 0 else NOON + 300 * MINUTE + number
        person.take(Event(event_id=f"e{number}", type="page_viewed", ts=ts, customer_id="p"))
    assert not bounds(person)
    assert len(person.state.waiting) == MAX_WAITING


def test_an_event_that_grew_by_being_written_again_loses_what_no_fold_reads() -> None:
    numbers = b",".join([b"1e15"] * 50_000)
    raw = b'{"event_id":"e","type":"page_viewed","ts":%d,"customer_id":"p","properties":{"n":[%b]}}' % (NOON, numbers)
    assert len(raw) < MAX_EVENT_BYTES
    record = OutRecord("journey.events", 0, b"c:p", encode_event(decode_canonical(raw)), FORWARD_HEADERS, NOON)
    assert size(record) > 900 * 1024
    shorter = shorten(record)
    assert size(shorter) < OVERHEAD + 1000
    assert decode_canonical(shorter.value) == Event(event_id="e", type="page_viewed", ts=NOON, customer_id="p")


def test_a_letter_is_bounded_by_its_headers_too() -> None:
    many = [("h", b"")] * 300_000
    letter = write_letter(Origin("shop.clicks", 0, 1, 2), b"k", b"{", many, BadEvent("not_json", "no"))
    assert size(OutRecord("letters", 0, letter.key, letter.value, letter.headers, 0)) < MAX_LETTER_BYTES
    assert read_letter(*letter).pointer


def test_a_journey_can_meet_every_type_that_there_is() -> None:
    person = Person(name="c:p", restarts=True)
    types = [*EVENT_TYPES, *sorted(PASSIVE_TYPES - set(EVENT_TYPES))]
    person.live([Event(f"e{place}", kind, NOON + place, customer_id="p") for place, kind in enumerate(types)])
    assert len(EVENT_TYPES) <= 64, "each is a bit of an integer that MessagePack can hold"


def test_news_of_a_customer_brings_consent_and_is_no_activity() -> None:
    person = Person(name="c:p", restarts=True)
    person.live([Event("e", "customer_updated", NOON, customer_id="p", consent=Consent(marketing=False))])
    assert person.state.facts.consent_marketing == (NOON, "e", False)
    assert not person.said(SessionClosed)
