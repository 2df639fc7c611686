"""Orders, refunds and consent count however late they come; everything else past the lateness changes nothing."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle.naive import fold
from tests.properties.runner import Person
from tests.properties.strategies import DAY, HOUR, Arrival, delayed, scripts
from tracker.domain.events import Event
from tracker.domain.outputs import DropOff, LateEvent

ORDERS = frozenset({"order_completed", "trial_started", "contract_signed"})
REFUNDS = frozenset({"order_refunded", "order_cancelled"})
VERY_LATE = (0, 0, 30_000, HOUR, 2 * HOUR, 5 * HOUR, 3 * DAY, 35 * DAY)


@st.composite
def tardy(draw: st.DrawFn) -> list[Arrival]:
    """Events as late as can be behind a watermark that follows at once. Each order has an id of its own."""
    events = [_own_order(event) for event in draw(scripts(longest=10))]
    return [Arrival(event, at) for at, event in delayed(draw, events, VERY_LATE)]


def _own_order(event: Event) -> Event:
    if event.type in ORDERS:
        return msgspec.structs.replace(
            event, order_id=f"O{int(event.event_id[1:]) % 4}x{event.event_id}", currency="NOK"
        )
    return event


@given(arrivals=tardy())
def test_orders_refunds_and_consent_are_never_too_late(arrivals: list[Arrival]) -> None:
    person = Person().log(arrivals)
    facts, expected = person.state.facts, fold([a.event for a in arrivals], person.watermark)
    assert facts.order_count == expected.order_count
    assert {c: amount for c, amount in facts.revenue.items() if amount} == expected.revenue
    assert (None if facts.consent_marketing is None else facts.consent_marketing[2]) == expected.consent


@given(arrivals=tardy())
def test_no_drop_off_stands_that_an_order_disarmed(arrivals: list[Arrival]) -> None:
    person = Person().log(arrivals)
    said = person.said(DropOff)
    ended = {end.dropoff_id for end in said if end.kind != "dropped_off"}
    orders = [arrival.event.ts for arrival in arrivals if arrival.event.type in ORDERS]
    for drop in said:
        if drop.kind == "dropped_off" and drop.id not in ended:
            assert not [ts for ts in orders if drop.armed_at < ts < drop.detected_at]
    recovered = [end.last_event.event_id for end in said if end.kind == "recovered"]
    assert len(set(recovered)) == len(recovered)
    for end in said:
        if end.kind == "recovered":
            assert 0 <= end.last_event.ts - end.detected_at <= 30 * DAY
        if end.kind == "cancelled":
            assert end.last_event.ts < end.detected_at


@given(arrivals=tardy())
def test_an_event_past_the_lateness_is_reported_and_changes_no_session(arrivals: list[Arrival]) -> None:
    person = Person().log(arrivals)
    late = {said.event.event_id for said in person.said(LateEvent)}
    for arrival, outcome in zip(arrivals, person.outcomes, strict=True):
        event = arrival.event
        past = (arrival.watermark or 0) - HOUR > event.ts
        assert (event.event_id in late) == (past and event.type not in ORDERS | REFUNDS)
        assert (outcome == "late") == (event.event_id in late)
