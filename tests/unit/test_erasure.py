"""Erasure, over one partition of the log as a worker folds it."""

from __future__ import annotations

import msgspec
import pytest

from tests.properties.log import TOPICS, Worker
from tests.unit.told import HOUR, START, Told, erased_too, event, grant, past_of, read, refuse
from tracker.domain.claims import decode_claims
from tracker.domain.erasure import mark_of_person
from tracker.domain.events import Consent
from tracker.wire.control import Absorb, Claim, Entombed, Erase, Merge, control_headers, decode_control

DAY = 24 * HOUR


def traces(worker: Worker, *ids: bytes) -> list[str]:
    """Where an id still is: in states, their keys, timers and counters."""
    found = [f"state {person}" for person, state in worker.states.items() if any(i in state for i in ids)]
    kept = [*worker.states, *worker.timers, *worker.counters]
    return found + [name for name in kept if any(i in name.encode() for i in ids)]


def said_after(worker: Worker, number: int) -> list[tuple[str, bytes, bytes]]:
    return worker.said[number:]


def test_an_erased_person_leaves_nothing_but_a_tombstone_without_their_id() -> None:
    log = Told()
    log.kari("e1", "product_added", 10)
    log.kari("e2", "page_viewed", 10.1)
    log.time(10.2)
    log.erase(11)
    log.time(20)
    worker = read(log)
    assert traces(worker, b"kari") == []
    assert (worker.states, worker.timers) == ({}, {})
    assert len(worker.erased) == 1
    assert all(b"kari" not in mark for mark in worker.erased)
    assert not [topic for topic, _, _ in worker.said if topic == TOPICS.dropoffs], "no drop-off comes of it"


def test_the_map_forgets_where_the_erased_stood_and_keeps_what_they_did() -> None:
    log = Told()
    log.kari("e1", "order_completed", 9, order_id="O1", value=100.0, currency="NOK")
    log.kari("e2", "product_added", 10)
    log.time(10.2)
    log.erase(11)
    counted = read(log).counted()
    assert not [name for name in counted if name.startswith("in:")]
    assert (counted["orders"], counted["revenue:NOK"], counted["removed:erased"]) == (1, 1_000_000, 1)
    assert [name for name in counted if name.startswith("entered:")]


def test_what_is_older_than_the_erasure_is_refused_whatever_it_is() -> None:
    log = Told()
    log.kari("e1", "product_added", 10)
    log.time(10.2)
    log.erase(11)
    before = read(log)
    number = len(before.said)
    log.kari("e2", "product_viewed", 10.5)
    log.kari("e3", "order_completed", 10.6, order_id="O1", value=1.0)
    log.kari("e4", "page_viewed", 10.7, consent=Consent(marketing=True, analytics=True))
    log.kari("e5", "page_viewed", 2)
    log.kari("e6", "page_viewed", 11)
    log.control(Absorb("i", "a:other", START + 10 * HOUR, b"whatever"), "c:kari")
    log.control(Merge("c:somebody", START + 10 * HOUR), "c:kari")
    log.time(30)
    after = read(log)
    assert (after.states, after.timers) == ({}, {})
    told = [(key, b'"member":"c:kari"' in value) for _, key, value in said_after(after, number)]
    # what the event named, the visitor whose past it would have been, and who would have been linked
    assert told == [(b"order:O1", True), (b"a:other", False), (b"c:somebody", True)]


def test_no_id_of_an_order_cart_or_checkout_keeps_who_was_erased() -> None:
    log = Told()
    log.control(Claim("c:kari", START + 10 * HOUR), "order:O1")
    log.control(Claim("c:kari", START + 10 * HOUR), "cart:C1")
    log.control(Claim("c:ola", START + 10 * HOUR), "cart:C1")
    log.kari("e1", "order_completed", 10, order_id="O1", cart_id="C1", value=1.0)
    log.erase(11)
    worker = read(log)
    forgets = [(key, value) for topic, key, value in worker.said if b"member" in value]
    assert sorted(key for key, _ in forgets) == [b"cart:C1", b"order:O1"]
    for key, value in forgets:
        log.add(key, value, [("tracker-control", b"erase")])
    log.control(Claim("c:kari", START + 10 * HOUR), "order:O1")
    log.control(Merge("c:kari", START + 10 * HOUR), "a:another")
    worker = read(log)
    assert traces(worker, b"kari") == []
    assert list(worker.states) == ["cart:C1"]
    assert decode_claims(worker.states["cart:C1"]).customers == ["", "c:ola"], "two customers named it: it binds nobody"


def test_a_cart_that_a_visitor_named_forgets_the_customer_whom_it_was_passed_on_to() -> None:
    log = Told()
    log.control(Claim("a:phone", START + 9 * HOUR), "cart:C1")
    log.visitor("e1", "product_added", 9, cart_id="C1")
    log.control(Merge("c:kari", START + 10 * HOUR), "a:phone")
    passed_on = [(key, value) for _, key, value in read(log).said if b"instead" in value]
    for key, value in passed_on:
        log.add(key, value, control_headers(Claim("", 0)))
    assert decode_claims(read(log).states["cart:C1"]).customers == ["c:kari"]
    log.erase(11)
    log.erase(11, key="a:phone", spread=False)
    for topic, key, value in read(log).said:
        if topic == TOPICS.events and b"member" in value:
            log.add(key, value, control_headers(Erase(0)))
    worker = read(log)
    assert traces(worker, b"kari", b"phone") == []
    assert worker.states == {}


def test_every_partition_hears_of_the_tombstone() -> None:
    log = Told()
    log.erase(11)
    worker = Worker(partitions=3).read(log)
    mark = mark_of_person(b"c:kari")
    entombed = [decode_control("entombed", value) for topic, _, value in worker.said if topic == TOPICS.events]
    assert entombed == [Entombed(mark, START + 11 * HOUR + 1)] * 2
    elsewhere = Told()
    elsewhere.control(entombed[0])
    elsewhere.control(Merge("c:kari", START + 10 * HOUR), "a:phone")
    elsewhere.control(Claim("c:kari", START + 10 * HOUR), "order:O1")
    assert read(elsewhere).states == {}


def test_who_shares_a_device_or_an_account_with_the_erased_keeps_no_id_of_theirs() -> None:
    log = Told()
    log.event(event("o1", "page_viewed", 9, customer_id="ola", anonymous_id="phone"), "c:ola")
    log.visitor("e1", "product_added", 9)
    log.control(Merge("c:kari", START + 10 * HOUR), "a:phone")
    log.control(Merge("c:ola", START + 10 * HOUR), "a:phone")
    log.erase(11, key="a:phone", spread=False)
    forgets = [(key, value) for topic, key, value in read(log).said if b"member" in value]
    assert sorted(key for key, _ in forgets) == [b"c:kari", b"c:ola"]
    for key, value in forgets:
        log.add(key, value, [("tracker-control", b"erase")])
    worker = read(log)
    assert traces(worker, b"phone") == []
    assert "c:ola" in worker.states


def test_a_restart_forgets_no_tombstone() -> None:
    log = Told()
    log.kari("e1", "product_added", 10)
    log.erase(11)
    worker = read(log)
    worker.start()
    later = Told()
    later.records = list(log.records)
    later.kari("e2", "product_added", 10.5)
    later.time(30)
    worker.handle(later.records[len(log.records) :], later.end)
    assert traces(worker, b"kari") == []


def test_who_comes_back_after_the_erasure_begins_anew_with_ids_never_used() -> None:
    log = Told()
    log.kari("e1", "product_added", 10)
    log.erase(11)
    log.kari("e2", "product_added", 12)
    log.time(20)
    worker = read(log)
    state = worker.people()["c:kari"]
    assert (state.facts.sessions, state.facts.order_count) == (1, 0)
    moves = [msgspec.json.decode(value) for topic, _, value in worker.said if topic == TOPICS.transitions]
    assert len({move["journey_id"] for move in moves}) == 2
    dropped = [msgspec.json.decode(value) for topic, _, value in worker.said if topic == TOPICS.dropoffs]
    assert [one["armed_at"] for one in dropped] == [START + 12 * HOUR]


def test_an_erasure_goes_on_to_every_id_that_is_linked() -> None:
    log = Told()
    log.visitor("e1", "product_added", 9)
    log.control(Merge("c:kari", START + 10 * HOUR), "a:phone")
    log.kari("e2", "identified", 10, anonymous_id="phone")
    log.kari("e3", "identified", 10.1, anonymous_id="laptop")
    log.control(Absorb("i", "a:tablet", START + 10 * HOUR, past_of("tablet")), "c:kari")
    log.erase(11)
    told = erased_too(read(log))
    assert told == {"a:phone": False, "a:laptop": False, "a:tablet": False}
    log = Told()
    log.visitor("e1", "product_added", 9)
    log.control(Merge("c:kari", START + 10 * HOUR), "a:phone")
    log.erase(11, key="a:phone")
    worker = read(log)
    assert erased_too(worker) == {"c:kari": True}, "a visitor's customer is erased with all their ids"
    assert traces(worker, b"phone", b"kari") == []


def test_a_device_of_two_customers_is_erased_alone() -> None:
    log = Told()
    log.visitor("e1", "product_added", 9)
    log.control(Merge("c:kari", START + 10 * HOUR), "a:phone")
    log.control(Merge("c:ola", START + 10 * HOUR), "a:phone")
    log.erase(11, key="a:phone")
    assert erased_too(read(log)) == {}


def test_an_erasure_that_is_sent_twice_does_nothing_more() -> None:
    log = Told()
    log.kari("e1", "product_added", 10, anonymous_id="phone")
    log.erase(11)
    once = read(log)
    log.erase(11)
    twice = read(log)
    assert (twice.states, twice.erased, twice.counted()) == (once.states, once.erased, once.counted())
    assert twice.said == once.said


def test_what_is_known_of_the_future_is_erased_too() -> None:
    """Under the event clock the erasure's own time may be behind the person's."""
    log = Told()
    log.kari("e1", "product_added", 40)
    log.erase(11)
    log.kari("e2", "product_added", 39)
    log.time(60)
    assert read(log).states == {}


def test_who_was_erased_is_linked_to_their_devices_again_when_they_come_back() -> None:
    log = Told()
    log.kari("e1", "page_viewed", 10, anonymous_id="phone")
    log.erase(11)
    number = len(read(log).said)
    log.kari("e2", "page_viewed", 12, anonymous_id="phone")
    log.kari("e3", "page_viewed", 12.1, anonymous_id="phone")
    links = [
        (key, decode_control("merge", value))
        for topic, key, value in said_after(read(log), number)
        if topic == TOPICS.events
    ]
    assert links == [(b"a:phone", Merge("c:kari", START + 12 * HOUR))]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_cuts_change_nothing(size: int) -> None:
    log = Told()
    log.kari("e1", "product_added", 9)
    refuse(log, 10)
    log.erase(10.5)
    grant(log, 12)
    log.kari("e2", "product_added", 12.1)
    log.time(12.2)
    log.erase(13)
    log.kari("e3", "product_added", 14)
    log.time(30)
    whole, cut = read(log), Worker().read(log, iter([size] * 100))
    assert (cut.people(), cut.counted(), cut.said) == (whole.people(), whole.counted(), whole.said)


def test_an_event_from_before_the_erasure_does_not_cut_a_link_made_since() -> None:
    log = Told()
    log.erase(11)
    log.kari("e1", "page_viewed", 12, anonymous_id="phone")
    log.kari("e2", "page_viewed", 10, anonymous_id="phone")
    assert not [value for _, _, value in read(log).said if b'"member"' in value]
