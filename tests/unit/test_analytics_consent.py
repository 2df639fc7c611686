"""Consent to analytics, over one partition of the log as a worker folds it."""

from __future__ import annotations

import msgspec

from tests.properties.log import CONFIG, TOPICS, Worker, send_on
from tests.properties.runner import table
from tests.unit.told import HOUR, START, Told, erased_too, grant, past_of, read, refuse
from tracker.domain.events import Consent
from tracker.domain.model import FoldSettings
from tracker.domain.state import State
from tracker.domain.table import compile_table
from tracker.wire.control import Absorb, Erase, Merge, control_headers


def kept(worker: Worker) -> State:
    (state,) = worker.people().values()
    return state


def test_of_who_refuses_analytics_only_the_refusal_is_kept() -> None:
    log = Told()
    log.kari("e1", "order_completed", 9, order_id="O1", value=100.0, currency="NOK")
    log.kari("e2", "product_added", 10)
    refuse(log, 10.5)
    log.kari("e3", "product_added", 11)
    log.time(30)
    worker = read(log)
    state = kept(worker)
    assert state.facts.consent_analytics == (START + round(10.5 * HOUR), "no", False)
    assert (state.facts.cart, state.facts.session, state.facts.orders, state.facts.last_id) == ([], None, [], "")
    assert (state.base, state.tail, state.waiting, state.ids) == (None, b"", [], b"")
    assert worker.timers == {}
    assert not [topic for topic, _, _ in worker.said if topic in {TOPICS.dropoffs, TOPICS.late}]
    counted = worker.counted()
    assert (counted["orders"], counted["revenue:NOK"], counted["removed:no_consent"]) == (1, 1_000_000, 1)
    assert not [name for name in counted if name.startswith("in:")]


def test_a_first_event_that_refuses_is_not_kept_either() -> None:
    log = Told()
    log.kari("e1", "product_added", 10, consent=Consent(marketing=True, analytics=False))
    log.time(30)
    worker = read(log)
    assert (kept(worker).facts.cart, worker.said) == ([], [])
    assert "removed:no_consent" not in worker.counted()


def test_a_grant_begins_anew_and_what_was_before_it_stays_out() -> None:
    log = Told()
    log.kari("e1", "product_added", 9)
    refuse(log, 10)
    grant(log, 12)
    log.kari("e2", "product_added", 11)
    log.kari("e3", "order_completed", 11.5, order_id="O1", value=1.0)
    log.kari("e4", "product_viewed", 12.1)
    log.time(12.2)
    worker = read(log)
    facts = kept(worker).facts
    assert (facts.cart, facts.order_count, facts.sessions) == ([], 0, 0)
    assert facts.session is not None
    assert facts.session.events == 2
    moves = [msgspec.json.decode(value) for topic, _, value in worker.said if topic == TOPICS.transitions]
    assert len({move["journey_id"] for move in moves}) == 2


def test_a_refusal_older_than_a_known_grant_changes_nothing() -> None:
    log = Told()
    grant(log, 10)
    log.kari("e1", "product_added", 10.1)
    refuse(log, 9.9)
    assert len(kept(read(log)).facts.cart) == 1


def test_a_refusal_of_messages_outlives_a_refusal_of_analytics() -> None:
    log = Told()
    log.kari("e1", "page_viewed", 9, consent=Consent(marketing=False))
    refuse(log, 10)
    grant(log, 11)
    log.kari("e2", "product_added", 11.1)
    log.time(30)
    worker = read(log)
    assert worker.counted()["withheld:consent"] == 1
    assert not [topic for topic, _, _ in worker.said if topic == TOPICS.dropoffs]


def test_a_later_word_on_marketing_that_was_left_out_is_not_undone_by_an_earlier_one_that_is_kept() -> None:
    log = Told()
    refuse(log, 10)
    log.kari("e1", "page_viewed", 12, consent=Consent(marketing=False))
    log.kari("e2", "product_added", 11, consent=Consent(marketing=True, analytics=True))
    log.time(30)
    worker = read(log)
    assert worker.counted()["withheld:consent"] == 1
    assert not [topic for topic, _, _ in worker.said if topic == TOPICS.dropoffs]


def test_a_grant_in_an_event_that_waits_outlives_an_older_refusal() -> None:
    log = Told()
    log.kari("e1", "product_added", 10)
    grant(log, 14)
    refuse(log, 13)
    assert [line.product_id for line in kept(read(log)).facts.cart] == ["dress"]


def asking() -> Worker:
    """Of a shop where analytics has to be consented to."""
    model = table().model
    return Worker(compile=lambda _: compile_table(model, FoldSettings(analytics_default=False)))


def test_of_a_visitor_without_consent_the_refusal_of_messages_becomes_the_customers() -> None:
    log = Told()
    log.visitor("e1", "page_viewed", 10, consent=Consent(marketing=False))
    log.control(Merge("c:kari", START + 11 * HOUR), "a:phone")
    ((key, absorb),) = [(key, value) for topic, key, value in read(log, asking()).said if topic == TOPICS.events]
    log.add(key, absorb, control_headers(Absorb("", "", 0, b"")))
    log.kari("k1", "product_added", 12, consent=Consent(analytics=True))
    log.time(30)
    assert read(log, asking()).counted()["withheld:consent"] == 1


def test_an_erasure_finds_the_devices_of_who_never_consented() -> None:
    log = Told()
    log.kari("e1", "page_viewed", 10, anonymous_id="phone")
    log.erase(11)
    assert erased_too(read(log, asking())) == {"a:phone": False}


def test_an_erasure_reaches_as_far_as_the_last_statement_of_consent() -> None:
    log = Told()
    refuse(log, 12)
    log.erase(11)
    log.kari("e1", "product_added", 11.5)
    assert read(log).states == {}


def test_a_visitors_refusal_becomes_the_customers_and_a_later_grant_opens_both() -> None:
    log = Told()
    log.visitor("e1", "page_viewed", 10, consent=Consent(analytics=False))
    log.control(Merge("c:kari", START + 11 * HOUR), "a:phone")
    worker = read(log)
    ((key, absorb),) = [(key, value) for topic, key, value in worker.said if topic == TOPICS.events]
    assert key == b"c:kari"
    log = Told()
    log.kari("k1", "product_added", 9.9)
    log.add(key, absorb, [("tracker-control", b"absorb")])
    log.kari("k2", "product_added", 11)
    state = kept(read(log))
    assert (state.facts.cart, state.facts.consent_analytics) == ([], (START + 10 * HOUR, "e1", False))
    grant(log, 12)
    log.kari("k3", "product_added", 12.1)
    assert len(kept(read(log)).facts.cart) == 1


def test_a_past_from_before_the_refusal_is_not_taken_in() -> None:
    log = Told()
    refuse(log, 12)
    log.control(Absorb("i", "a:phone", START + 13 * HOUR, past_of("phone")), "c:kari")
    state = kept(read(log))
    assert (state.facts.last_id, state.tail, state.absorbed) == ("", b"", ["a:phone"])


def test_with_unknown_consent_denied_nothing_is_kept_until_it_is_given() -> None:
    settings = FoldSettings(analytics_default=False)
    log = Told()
    log.kari("e1", "product_added", 10)
    log.time(10.1)
    model = table().model
    worker = read(log, Worker(config=CONFIG, compile=lambda _: compile_table(model, settings)))
    assert (worker.states, worker.said) == ({}, [])
    assert worker.counted() == {}
    log.kari("e2", "page_viewed", 10.2, consent=Consent(analytics=True))
    log.kari("e3", "product_added", 10.3)
    log.kari("e4", "product_added", 10.15)
    state = kept(read(log, Worker(config=CONFIG, compile=lambda _: compile_table(model, settings))))
    assert [line.quantity for line in state.facts.cart] == [1]


def test_what_is_left_out_changes_nothing_wherever_a_batch_ends() -> None:
    log = Told()
    log.kari("e1", "page_viewed", 10, anonymous_id="phone")
    log.control(Erase(START + 11 * HOUR, member="a:phone"), "c:kari")
    log.kari("e2", "page_viewed", 12)
    whole = asking().read(log, iter([100]))
    assert whole.people() == read(log, asking()).people()


def test_a_visitors_past_that_is_not_taken_in_leaves_the_map_as_a_refusal_does() -> None:
    log, worker = Told(), Worker()
    log.visitor("e1", "order_completed", 9, order_id="O1", value=100.0, currency="NOK")
    refuse(log, 10)
    log.time(12)
    log.control(Merge("c:kari", START + 12 * HOUR), "a:phone")
    send_on(log, worker)
    counted = worker.counted()
    assert (counted["orders"], counted["revenue:NOK"], counted["removed:no_consent"]) == (1, 1_000_000, 1)
    assert not [name for name in counted if name.startswith("in:")]
    assert [name for name in counted if name.startswith("entered:")]
