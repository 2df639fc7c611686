"""However late an order comes to light, no journey converts twice in words, nor more journeys than there are orders."""

from __future__ import annotations

from collections import Counter
from itertools import repeat

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from tests.oracle.naive import fold
from tests.properties.log import TOPICS, Log, Worker, send_on
from tests.properties.runner import END_OF_TIME, Person, table
from tests.properties.strategies import (
    CARTS,
    HOUR,
    MINUTE,
    ORDERS,
    SHORT_STEPS,
    START,
    Arrival,
    as_person,
    event,
    honest,
    scripts,
)
from tracker.domain.events import Event
from tracker.domain.model import FoldSettings
from tracker.domain.outputs import Transition
from tracker.wire.control import Merge

TWO_ORDERS = [Event(f"e{n}", "order_completed", START + n * 2 * HOUR, "p", order_id=f"O{n}") for n in range(2)]
"""Two orders of one customer, hours apart."""


@example([Arrival(order, None) for order in reversed(TWO_ORDERS)])
@given(honest(scripts(kinds=("page_viewed", "product_viewed", "product_added", *ORDERS))))
def test_in_a_backlog_of_any_order_as_many_journeys_convert_as_there_are_orders(arrivals: list[Arrival]) -> None:
    person = Person().log(arrivals)
    converted = [move.journey_id for move in person.said(Transition) if move.direction == "converted"]
    assert len(set(converted)) == len(converted)
    expected = fold([arrival.event for arrival in arrivals], person.watermark)
    assert len(converted) == sum(journey.converted for journey in expected.journeys)


@st.composite
def histories(draw: st.DrawFn, lateness: int) -> tuple[Log, dict[str, set[str]]]:
    """A visitor and a customer who are one, in a log that comes in any order: orders with copies from either side, runs
    of page views so long that the base moves, records that come again, the merge anywhere, and time that follows at any
    honest distance or now and then overtakes what is still to come. With the ids of the orders on each side."""
    ts = START
    script: list[Event] = []
    for number in range(draw(st.integers(2, 10))):
        ts += draw(st.sampled_from((*SHORT_STEPS, 30 * MINUTE, HOUR, 2 * HOUR, 5 * HOUR)))
        who = draw(st.sampled_from(("a:v", "c:p")))
        made = as_person(draw(event(number, ts, ("page_viewed", "product_viewed", *CARTS, *ORDERS, *ORDERS))), who)
        if made.type in ORDERS and draw(st.booleans()):
            made = msgspec.structs.replace(made, order_id=f"own{number}")
        script.append(made)
        if made.type in ORDERS and draw(st.booleans()):
            script.append(as_person(msgspec.structs.replace(made, event_id=f"copy{number}", ts=ts + 350), "c:p"))
        for view in range(draw(st.sampled_from((0, 0, 0, 20, 40)))):
            ts += 1000
            script.append(as_person(Event(f"view{number}.{view}", "page_viewed", ts), who))
    records = sorted((e.ts + draw(st.sampled_from((0, 0, 1000, lateness, 5 * HOUR))), e.event_id, e) for e in script)
    log, worker = Log(), Worker(compile=lambda _: table(settings=FoldSettings(allowed_lateness=lateness)))
    log.watermark(START - HOUR)
    merged = draw(st.integers(0, len(records) - 1))
    orders: dict[str, set[str]] = {"a:v": set(), "c:p": set()}
    for place, (_, _, made) in enumerate(records):
        key = "c:p" if made.customer_id else "a:v"
        if made.type in ORDERS:
            orders[key].add(made.order_id or made.event_id)
        if place == merged:
            log.control(Merge("c:p", made.ts), "a:v")
        log.event(made, key)
        if draw(st.sampled_from((False, False, True))):
            copy = draw(st.sampled_from(log.records))  # also of a mark of time, a merge, or an event sent on
            log.add(copy.key, copy.value, copy.headers)
        behind = draw(st.sampled_from((None, 0, 30_000, HOUR)))
        if behind is not None:
            overtakes = draw(st.sampled_from((False, False, False, True)))
            reached = made.ts if overtakes else min(e.ts for _, _, e in records[place:])
            log.watermark(reached - behind)
        if draw(st.booleans()):
            send_on(log, worker)
    log.watermark(ts + END_OF_TIME)
    send_on(log, worker)
    return log, orders


@given(data=st.data(), lateness=st.sampled_from((0, 10 * MINUTE, HOUR)))
def test_around_a_merge_each_journey_converts_once_and_no_more_of_them_than_orders(
    data: st.DataObject, lateness: int
) -> None:
    log, orders = data.draw(histories(lateness))
    worker = Worker(cache=0, compile=lambda _: table(settings=FoldSettings(allowed_lateness=lateness)))
    worker.read(log, crashes=repeat(True))
    moves = {"a:v": list[Transition](), "c:p": list[Transition]()}
    for topic, key, value in worker.said:
        if topic == TOPICS.transitions:
            moves[key.decode()].append(msgspec.json.decode(value, type=Transition))
    every = [*moves["a:v"], *moves["c:p"]]
    assert max(Counter(move.id for move in every).values(), default=1) == 1
    converted = {
        key: [move.journey_id for move in said if move.direction == "converted"] for key, said in moves.items()
    }
    assert max(Counter([*converted["a:v"], *converted["c:p"]]).values(), default=1) == 1
    assert len(converted["a:v"]) <= len(orders["a:v"])
    assert len(converted["c:p"]) <= len(orders["a:v"] | orders["c:p"])
