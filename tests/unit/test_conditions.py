"""Conditions, kind by kind at their boundaries, and what entries, rules and segments make of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.properties.runner import Person, merged
from tests.properties.strategies import DAY, HOUR, MINUTE, START
from tracker.domain import rules, segments
from tracker.domain.conditions import Condition
from tracker.domain.events import Event, Item
from tracker.domain.model import After, Entry, FoldSettings, Rule, Segment
from tracker.domain.outputs import DropOff, Transition
from tracker.domain.predicates import Moment
from tracker.domain.step import advance
from tracker.domain.table import Table, compile_table
from tracker.domain.texts import Text
from tracker.journeys.loader import load

SHOES = [Item("shoes", price=50.0)]
MODEL = load("nettbutikk-5")


def event(number: int, at: int, type_: str, who: str = "c:p", **fields: Any) -> Event:
    """Event `number`, so many ms after the start."""
    person = {"customer_id": who[2:]} if who.startswith("c:") else {"anonymous_id": who[2:]}
    return Event(f"e{number}", type_, START + at, **{**person, **fields})


def events(*made: tuple[int, str] | tuple[int, str, dict[str, Any]]) -> list[Event]:
    return [event(place, at, kind, **(more[0] if more else {})) for place, (at, kind, *more) in enumerate(made)]


def condition(said: dict[str, Any]) -> Condition:
    """As it stands in a model, durations in ms."""
    return msgspec.convert(said, Condition)


def segment(name: str, said: dict[str, Any]) -> Segment:
    return Segment(id=name, name=Text(text=name), where=condition(said))


def changed(**fields: Any) -> Table:
    """The default model with other fields."""
    return compile_table(msgspec.structs.replace(MODEL, **fields), FoldSettings())


def phase_with(place: int, *entries: Entry) -> Table:
    """The default model with other ways into one phase."""
    phases = list(MODEL.phases)
    phases[place] = msgspec.structs.replace(phases[place], enter=entries)
    return changed(phases=tuple(phases))


def after(person: Person, made: list[Event]) -> Person:
    for one in made:
        person.time(one.ts)
        person.take(one)
    return person


def moves(person: Person) -> list[tuple[str | None, str, int]]:
    return [(move.to_phase, move.direction, move.at - START) for move in person.said(Transition)]


VIEW = "product_viewed"
ORDER = "order_completed"
NEWS = "newsletter_subscribed"
KINDS: list[tuple[str, dict[str, Any], list[Event], int, bool]] = [
    ("nothing is asked", {}, events((0, VIEW)), 0, True),
    ("all", {"all": [{"customer": True}, {"cart": "empty"}]}, events((0, VIEW)), 0, True),
    ("all but one", {"all": [{"customer": True}, {"cart": "filled"}]}, events((0, VIEW)), 0, False),
    ("one of any", {"any": [{"customer": False}, {"cart": "empty"}]}, events((0, VIEW)), 0, True),
    ("none of any", {"any": [{"customer": False}, {"cart": "filled"}]}, events((0, VIEW)), 0, False),
    ("not", {"not": {"customer": False}}, events((0, VIEW)), 0, True),
    ("two keys", {"customer": True, "cart": "filled"}, events((0, VIEW)), 0, False),
    ("the present event counts", {"count": {"events": [VIEW], "at_least": 1}}, events((0, VIEW)), 0, True),
    ("one too few", {"count": {"events": [VIEW], "at_least": 2}}, events((0, VIEW), (1, "page_viewed")), 0, False),
    ("types add up", {"count": {"events": [VIEW, "own"], "at_least": 2}}, events((0, VIEW), (1, "own")), 0, True),
    ("none at most", {"count": {"events": ["own"], "at_most": 0}}, events((0, VIEW)), 0, True),
    ("one too many", {"count": {"events": [VIEW], "at_most": 1}}, events((0, VIEW), (1, VIEW)), 0, False),
    (
        "the last ms of a window",
        {"count": {"events": [VIEW], "at_least": 1, "within": HOUR}}, events((0, VIEW)), HOUR - 1, True,
    ),
    (
        "a window just over",
        {"count": {"events": [VIEW], "at_least": 1, "within": HOUR}}, events((0, VIEW)), HOUR, False,
    ),
    (
        "at most one in a window after three before",
        {"count": {"events": [VIEW], "at_most": 1, "within": HOUR}},
        events((0, VIEW), (1, VIEW), (2, VIEW), (HOUR + 2, VIEW)), 0, True,
    ),
    (
        "at most one in a window that has two of three",
        {"count": {"events": [VIEW], "at_most": 1, "within": HOUR}},
        events((0, VIEW), (1, VIEW), (HOUR, VIEW)), 0, False,
    ),
    (
        "three in a window, whatever came before",
        {"count": {"events": [VIEW], "at_least": 3, "within": HOUR}},
        events((0, VIEW), (DAY, VIEW), (DAY + 1, VIEW), (DAY + 2, VIEW)), 0, True,
    ),
    (
        "a window takes no session's end",
        {"count": {"events": [VIEW], "at_least": 2, "within": DAY}}, events((0, VIEW), (HOUR, VIEW)), 0, True,
    ),
    (
        "a session's count ends with it",
        {"count": {"events": [VIEW], "at_least": 2, "during": "session"}},
        events((0, VIEW), (30 * MINUTE, VIEW)), 0, False,
    ),
    (
        "a session's count while it lasts",
        {"count": {"events": [VIEW], "at_least": 2, "during": "session"}},
        events((0, VIEW), (30 * MINUTE - 1, VIEW)), 0, True,
    ),
    (
        "outside a session there is nothing in it",
        {"count": {"events": ["order_shipped"], "at_most": 0, "during": "session"}},
        events((0, "order_shipped")), 0, True,
    ),
    (
        "passive events count in a session",
        {"count": {"events": ["email_opened"], "at_least": 1, "during": "session"}},
        events((0, VIEW), (1, "email_opened")), 0, True,
    ),
    (
        "a journey's count goes on over sessions",
        {"count": {"events": [VIEW], "at_least": 2, "during": "journey"}}, events((0, VIEW), (DAY, VIEW)), 0, True,
    ),
    (
        "the next journey counts anew",
        {"count": {"events": [VIEW], "at_least": 2, "during": "journey"}},
        events((0, VIEW), (31 * DAY, VIEW)), 0, False,
    ),
    (
        "a copy of an order counts once",
        {"count": {"events": [ORDER], "at_least": 2}},
        events((0, ORDER, {"order_id": "o"}), (1, ORDER, {"order_id": "o"})), 0, False,
    ),
    ("orders at least", {"orders": {"at_least": 1}}, events((0, ORDER)), 0, True),
    ("orders at most", {"orders": {"at_most": 0}}, events((0, ORDER)), 0, False),
    (
        "a cancelled order is none",
        {"orders": {"at_most": 0}}, events((0, ORDER, {"order_id": "o"}), (1, "order_cancelled", {"order_id": "o"})),
        0, True,
    ),
    ("first seen just now", {"since": {"what": "first_seen", "at_most": 0}}, events((0, VIEW)), 0, True),
    ("first seen long ago", {"since": {"what": "first_seen", "at_most": DAY}}, events((0, VIEW)), DAY + 1, False),
    (
        "first seen by what was done to them",
        {"since": {"what": "first_seen", "at_least": HOUR}}, events((0, "email_opened"), (HOUR, VIEW)), 0, True,
    ),
    ("active for the first time", {"since": {"what": "last_active", "at_least": 0}}, events((0, VIEW)), 0, False),
    (
        "active again",
        {"since": {"what": "last_active", "at_least": DAY}}, events((0, VIEW), (DAY, VIEW)), 0, True,
    ),
    (
        "active again too soon",
        {"since": {"what": "last_active", "at_least": DAY}}, events((0, VIEW), (DAY - 1, VIEW)), 0, False,
    ),
    (
        "a mail that was opened is no activity",
        {"since": {"what": "last_active", "at_least": DAY}}, events((0, VIEW), (DAY, "email_opened")), 0, True,
    ),
    ("time without an event", {"since": {"what": "last_active", "at_least": DAY}}, events((0, VIEW)), DAY, True),
    ("a first order follows none", {"since": {"what": "last_order", "at_most": DAY}}, events((0, ORDER)), 0, False),
    (
        "a second order follows one",
        {"since": {"what": "last_order", "at_most": DAY}}, events((0, ORDER), (DAY, ORDER)), 0, True,
    ),
    (
        "of two orders a cancelled one is passed over",
        {"since": {"what": "last_order", "at_least": DAY}},
        events((0, ORDER), (1, ORDER, {"order_id": "o"}), (2, "order_cancelled", {"order_id": "o"})), DAY - 2, True,
    ),
    ("no order, no time since", {"not": {"since": {"what": "last_order"}}}, events((0, VIEW)), 0, True),
    ("delivered just now", {"since": {"what": "delivery", "at_most": 0}}, events((0, "order_delivered")), 0, True),
    ("never delivered", {"since": {"what": "delivery", "at_least": 0}}, events((0, ORDER)), 0, False),
    (
        "a text",
        {"property": {"name": "p", "one_of": ["x", "y"]}}, events((0, VIEW, {"properties": {"p": "y"}})), 0, True,
    ),
    (
        "another text",
        {"property": {"name": "p", "one_of": ["x", "y"]}}, events((0, VIEW, {"properties": {"p": "z"}})), 0, False,
    ),
    (
        "true is a text",
        {"property": {"name": "p", "one_of": ["true"]}}, events((0, VIEW, {"properties": {"p": True}})), 0, True,
    ),
    (
        "a number at the bound",
        {"property": {"name": "p", "at_most": 6}}, events((0, VIEW, {"properties": {"p": 6}})), 0, True,
    ),
    (
        "a number past the bound",
        {"property": {"name": "p", "at_most": 6}}, events((0, VIEW, {"properties": {"p": 6.1}})), 0, False,
    ),
    (
        "a text is no number",
        {"property": {"name": "p", "at_most": 6}}, events((0, VIEW, {"properties": {"p": "6"}})), 0, False,
    ),
    (
        "true is no number",
        {"property": {"name": "p", "at_most": 6}}, events((0, VIEW, {"properties": {"p": True}})), 0, False,
    ),
    ("no properties", {"property": {"name": "p", "one_of": ["x"]}}, events((0, VIEW)), 0, False),
    (
        "properties of an event that is past",
        {"property": {"name": "p", "one_of": ["x"]}}, events((0, VIEW, {"properties": {"p": "x"}})), 1, False,
    ),
    ("a segment that an event names", {"segment": ["vip"]}, events((0, VIEW, {"segments": ["vip"]})), 0, True),
    ("a segment that was derived", {"segment": ["first"]}, events((0, VIEW)), 0, True),
    ("another segment", {"segment": ["last"]}, events((0, VIEW, {"segments": ["vip"]})), 0, False),
    ("the session's channel", {"channel": ["ad"]}, events((0, VIEW, {"channel": "ad"}), (1, VIEW)), 0, True),
    (
        "a later channel of the session",
        {"channel": ["mail"]}, events((0, VIEW, {"channel": "ad"}), (1, VIEW, {"channel": "mail"})), 0, False,
    ),
    ("the journey's channel", {"channel": ["ad"]}, events((0, VIEW, {"channel": "ad"}), (DAY, VIEW)), 0, True),
    ("the device", {"device": ["mobile"]}, events((0, VIEW, {"device": "mobile"})), DAY, True),
    ("no device", {"device": ["mobile"]}, events((0, VIEW)), 0, False),
    ("met by the journey", {"met": ["own", VIEW]}, events((0, VIEW), (DAY, "page_viewed")), 0, True),
    ("a shop's own type met", {"met": ["own"]}, events((0, "own"), (DAY, "page_viewed")), 0, True),
    ("met by an earlier journey", {"met": [VIEW]}, events((0, VIEW), (31 * DAY, "page_viewed")), 0, False),
    ("the order itself is met", {"met": [ORDER]}, events((0, ORDER)), 0, True),
    ("a filled cart", {"cart": "filled"}, events((0, "product_added", {"items": SHOES})), 30 * DAY - 1, True),
    ("an expired cart", {"cart": "filled"}, events((0, "product_added", {"items": SHOES})), 30 * DAY, False),
    ("no customer", {"customer": False}, [event(0, 0, VIEW, "a:v")], 0, True),
]  # fmt: skip


@pytest.mark.parametrize(("said", "made", "later", "held"), [row[1:] for row in KINDS], ids=[row[0] for row in KINDS])
def test_a_condition_holds(said: dict[str, Any], made: list[Event], later: int, held: bool) -> None:
    first = segment("first", {"orders": {"at_most": 0}})
    table = changed(segments=(first, segment("asked", said), segment("last", {"customer": True})))
    person = after(Person(table=table, name="c:p" if made[0].customer_id else "a:v"), made)
    now = made[-1].ts + later
    person.time(now)
    moment = Moment(person.state.facts, rules.present(person.state.facts), made[-1] if later == 0 else None, now)
    assert dict(table.segments)["asked"].holds(moment) is held


def test_windows_keep_no_more_times_than_they_can_tell_apart() -> None:
    said = {"count": {"events": [VIEW], "at_least": 3, "at_most": 4, "within": DAY}}
    person = Person(table=changed(segments=(segment("asked", said),)))
    for number in range(40):
        after(person, [event(number, number * MINUTE, VIEW)])
    past = person.state.facts.past
    assert past is not None
    assert past.times == {VIEW: [START + minute * MINUTE for minute in range(35, 40)]}
    after(person, [event(41, 2 * DAY, VIEW)])
    assert past.times == {VIEW: [START + 2 * DAY]}


def test_a_model_that_asks_for_nothing_remembers_nothing() -> None:
    person = after(Person(), events((0, VIEW), (1, ORDER), (2, "order_delivered")))
    facts = person.state.facts
    assert facts.past is None
    assert (facts.session and facts.session.counts, facts.tracks[0].converted[0].counts) == (None, None)


def test_an_entry_asks_before_it_lets_in() -> None:
    table = phase_with(1, Entry((VIEW,), where=condition({"count": {"events": [VIEW], "at_least": 2}})))
    person = after(Person(table=table), events((0, VIEW), (1, VIEW)))
    assert moves(person) == [("bevissthet", "enter", 0), ("vurdering", "forward", 1)]


def test_the_furthest_entry_whose_condition_holds_is_taken() -> None:
    table = phase_with(2, Entry((VIEW,), where=condition({"property": {"name": "p", "one_of": ["x"]}})))
    person = after(Person(table=table), events((0, VIEW, {"properties": {"p": "x", "other": "y"}})))
    assert moves(person) == [("kjop", "enter", 0)]
    person = after(Person(table=table), events((0, VIEW)))
    assert moves(person) == [("vurdering", "enter", 0)]


def test_an_event_whose_condition_does_not_hold_opens_no_journey() -> None:
    table = phase_with(0, Entry((VIEW,), where=condition({"orders": {"at_least": 1}})))
    person = after(Person(table=table), events((0, "page_viewed"), (1, NEWS)))
    assert (moves(person), person.state.facts.tracks[0].journey, person.state.facts.tracks[0].journeys) == ([], None, 0)


def test_after_the_purchase_the_journey_of_the_order_is_asked() -> None:
    said = {"count": {"events": ["product_used"], "at_least": 2, "during": "journey"}}
    table = phase_with(3, Entry(("product_used",), where=condition(said)))
    made = events(
        (0, ORDER, {"order_id": "o1"}), (1, ORDER, {"order_id": "o2"}),
        (2, "product_used", {"order_id": "o1"}), (3, "product_used", {"order_id": "o2"}),
        (4, "product_used", {"order_id": "o1"}),
    )  # fmt: skip
    person = after(Person(table=table), made)
    used = [move for move in person.said(Transition) if move.to_phase == "bruk"]
    assert [(move.order_id, move.event_id) for move in used] == [("o1", "e4")]


def test_only_properties_that_something_asks_for_are_kept() -> None:
    table = phase_with(2, Entry((VIEW,), where=condition({"property": {"name": "p", "one_of": ["x"]}})))
    person = after(Person(table=table), events((0, VIEW, {"properties": {"p": "z", "q": "long text"}})))
    assert b"long text" not in person.state.tail
    assert b"\xa1z" in person.state.tail
    assert table.kept(event(1, 0, "page_viewed", properties={"p": "x"})) is None


def test_any_activity_that_an_entry_asks_keeps_its_properties_types_of_the_shop_included() -> None:
    table = phase_with(2, Entry(("any",), where=condition({"property": {"name": "p", "one_of": ["x"]}})))
    person = after(Person(table=table), events((0, "shop_own_type", {"properties": {"p": "x"}})))
    assert moves(person) == [("kjop", "enter", 0)]


# Time alone


def timed(place: int, type_: str, wait: int, **asked: Any) -> Table:
    kept = MODEL.phases[place].enter
    return phase_with(place, *kept, Entry(after=After(event=type_, wait=wait), **asked))


def test_time_alone_leads_on_before_the_purchase() -> None:
    person = Person(table=timed(1, NEWS, DAY))
    after(person, events((0, NEWS), (HOUR, NEWS)))
    person.time(START + DAY)
    assert moves(person) == [("bevissthet", "enter", 0), ("vurdering", "forward", DAY)]
    move = person.said(Transition)[-1]
    assert (move.event_id, move.event_type, move.session_id, move.dwell_ms) == (None, None, None, DAY)


def test_time_alone_leads_on_in_the_middle_of_a_session_and_events_wait_for_it() -> None:
    person = Person(table=timed(1, NEWS, 10 * MINUTE))
    person.time(START)
    person.take(event(0, 0, NEWS))
    person.take(event(1, 10 * MINUTE, "product_added", items=SHOES))
    assert moves(person) == [("bevissthet", "enter", 0)]
    person.time(START + 10 * MINUTE)
    assert moves(person)[1:] == [("vurdering", "forward", 10 * MINUTE), ("kjop", "forward", 10 * MINUTE)]


def test_time_alone_leads_the_journey_of_its_order_on() -> None:
    person = Person(table=timed(4, "order_delivered", 7 * DAY))
    made = events(
        (0, ORDER, {"order_id": "o1"}), (1, ORDER, {"order_id": "o2"}),
        (HOUR, "order_delivered", {"order_id": "o1"}), (2 * HOUR, "order_delivered", {"order_id": "o1"}),
    )  # fmt: skip
    after(person, made)
    person.time(START + 8 * DAY)
    loyal = [move for move in person.said(Transition) if move.to_phase == "lojalitet" and move.event_id is None]
    assert [(move.order_id, move.at - START) for move in loyal] == [("o1", HOUR + 7 * DAY)]


def test_an_order_starts_the_clock_of_phases_after_it() -> None:
    person = after(Person(table=timed(3, ORDER, 14 * DAY)), events((0, ORDER)))
    person.time(START + 14 * DAY)
    assert moves(person)[-1] == ("bruk", "forward", 14 * DAY)


def test_a_phase_reached_by_an_event_is_not_entered_by_time() -> None:
    person = after(Person(table=timed(1, NEWS, DAY)), events((0, NEWS), (1, VIEW)))
    person.time(START + 2 * DAY)
    assert moves(person) == [("bevissthet", "enter", 0), ("vurdering", "forward", 1)]


def test_a_purchase_ends_what_time_would_have_done_before_it() -> None:
    person = after(Person(table=timed(1, NEWS, DAY)), events((0, NEWS), (1, ORDER)))
    person.time(START + 2 * DAY)
    assert [to for to, _, _ in moves(person)] == ["bevissthet", "kjop"]


@pytest.mark.parametrize(("orders", "entered"), [(0, True), (1, False)])
def test_what_an_entry_asks_is_judged_when_time_leads_on(orders: int, entered: bool) -> None:
    person = after(Person(table=timed(1, NEWS, DAY, orders=orders)), events((0, NEWS)))
    person.time(START + 2 * DAY)
    assert (("vurdering", "forward", DAY) in moves(person)) is entered


def test_an_earlier_start_that_comes_late_moves_nothing_twice() -> None:
    person = Person(table=timed(1, NEWS, 20 * MINUTE))
    after(person, [event(1, 10 * MINUTE, NEWS)])
    person.time(START + 40 * MINUTE)
    person.take(event(0, 0, NEWS))
    person.time(START + 2 * HOUR)
    ids = [move.id for move in person.said(Transition)]
    assert [to for to, _, _ in moves(person)].count("vurdering") == 1
    assert len(ids) == len(set(ids))


def test_time_leads_on_for_the_customer_whom_a_visitor_turns_out_to_be() -> None:
    table = timed(1, NEWS, 7 * DAY)
    visitor, customer = Person(table=table, name="a:v"), Person(table=table)
    after(visitor, [event(0, 0, NEWS, "a:v")])
    after(customer, [event(1, HOUR, "page_viewed")])
    for who in (visitor, customer):
        who.time(START + DAY)
    merged(visitor, customer, START + DAY)
    customer.time(START + 8 * DAY)
    assert moves(customer)[-1] == ("vurdering", "forward", 7 * DAY)


# Rules


def ruled(**fields: Any) -> Table:
    """The default model with one drop-off rule, for carts."""
    spec: dict[str, Any] = {"when": ("cart_changed",), "cart": "filled", "wait": 4 * HOUR, **fields}
    return changed(rules=(Rule(id="cart_abandoned", **spec),))


def dropped(table: Table, made: list[Event]) -> list[int]:
    """When a drop-off was said, ms after the start."""
    person = after(Person(table=table), made)
    person.time(START + 60 * DAY)
    return [drop.detected_at - START for drop in person.said(DropOff)]


FILLED = events((0, "product_added", {"items": SHOES, "cart_id": "a", "properties": {"p": "x"}}))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"property": {"name": "p", "one_of": ["x"]}}, [4 * HOUR]),
        ({"property": {"name": "p", "one_of": ["y"]}}, []),
        ({"orders": {"at_least": 1}}, []),
    ],
)
def test_a_rule_is_armed_where_its_condition_holds(said: dict[str, Any], expected: list[int]) -> None:
    assert dropped(ruled(where=condition(said)), FILLED) == expected


def test_what_must_hold_when_a_rule_fires_is_judged_then() -> None:
    seldom = condition({"count": {"events": ["page_viewed"], "at_most": 0, "within": 5 * HOUR}})
    assert dropped(ruled(only_if=seldom), FILLED) == [4 * HOUR]
    assert dropped(ruled(only_if=seldom), [*FILLED, event(9, HOUR, "page_viewed")]) == []


@pytest.mark.parametrize(
    ("key", "cart_id", "expected"),
    [("person", "b", []), ("cart", "a", []), ("cart", None, []), ("cart", "b", [4 * HOUR])],
)
def test_an_event_of_the_same_key_takes_a_drop_off_back(key: str, cart_id: str | None, expected: list[int]) -> None:
    taken_back = [*FILLED, event(9, MINUTE, "coupon_applied", cart_id=cart_id)]
    assert dropped(ruled(unless=("coupon_applied",), key=key), taken_back) == expected


# Segments


def test_segments_go_out_with_journeys_and_drop_offs() -> None:
    news = segment("new", {"orders": {"at_most": 0}})
    active = segment("active", {"count": {"events": ["product_added"], "at_least": 1, "within": DAY}})
    late = segment("at_rest", {"since": {"what": "last_active", "at_least": 4 * HOUR}})
    both = segment("both", {"all": [{"segment": ["new"]}, {"segment": ["private"]}]})
    person = Person(table=changed(segments=(news, active, late, both)))
    made = events((0, "page_viewed"), (1, "product_added", {"items": SHOES, "segments": ["private"]}))
    after(person, made)
    person.time(START + 2 * DAY)
    assert [move.segments for move in person.said(Transition)] == [["new"], ["new"]]
    assert [drop.segments for drop in person.said(DropOff)] == [["private", "new", "active", "at_rest", "both"]]


def test_what_an_event_last_said_of_the_person_makes_a_segment() -> None:
    abroad = segment("abroad", {"known": {"name": "country", "one_of": ["SE", "DK"]}})
    grown = segment("grown", {"known": {"name": "age", "at_least": 18}})
    person = Person(table=changed(segments=(abroad, grown)))
    made = events(
        (0, "page_viewed", {"properties": {"country": "SE", "age": 17, "other": 1}}),
        (1, "product_added", {"items": SHOES, "properties": {"age": 18}}),
        (2, "email_opened", {"properties": {"country": ["NO"], "age": None}}),
    )
    after(person, made)
    person.time(START + 2 * DAY)
    assert [move.segments for move in person.said(Transition)] == [["abroad"], ["abroad"]]
    assert [drop.segments for drop in person.said(DropOff)] == [["abroad", "grown"]]
    after(person, events((2 * DAY, "identified", {"properties": {"country": "NO" * 65}})))
    after(person, [event(9, 2 * DAY + 1, "identified", properties={"country": "NO"})])
    assert person.state.facts.past is not None
    assert person.state.facts.past.known == {"country": (START + 2 * DAY + 1, "NO"), "age": (START + 1, 18)}


def test_a_segment_is_said_once_though_events_name_it_too() -> None:
    person = Person(table=changed(segments=(segment("new", {"customer": True}),)))
    after(person, events((0, "page_viewed", {"segments": ["new"]})))
    assert [move.segments for move in person.said(Transition)] == [["new"]]


def test_segments_are_those_of_the_first_model_on_every_models_journeys() -> None:
    met = segment("met", {"count": {"events": [VIEW], "at_least": 2, "during": "journey"}})
    first = msgspec.structs.replace(MODEL, segments=(met,))
    late = msgspec.structs.replace(
        MODEL.phases[0], enter=(Entry((VIEW,), where=condition({"orders": {"at_least": 1}})),)
    )
    second = msgspec.structs.replace(MODEL, id="second", phases=(late, MODEL.phases[2]))
    person = Person(table=compile_table(first, FoldSettings(), second))
    after(person, events((0, VIEW), (1, VIEW), (2, "product_added", {"items": SHOES})))
    said = [move.segments for move in person.said(Transition) if move.model == "second"]
    assert said == [["met"]]


# Merges and long silence

REMEMBERS = (
    segment("twice", {"count": {"events": [VIEW], "at_least": 2, "at_most": 2, "within": 30 * DAY}}),
    segment("ever", {"count": {"events": [VIEW], "at_least": 2, "at_most": 2}}),
    segment("journey", {"count": {"events": [VIEW], "at_least": 2, "at_most": 2, "during": "journey"}}),
    segment("known", {"since": {"what": "first_seen", "at_least": 2 * DAY}}),
    segment("delivered", {"since": {"what": "delivery", "at_most": 2 * DAY}}),
    segment("at_home", {"known": {"name": "country", "one_of": ["NO"]}}),
)


@pytest.mark.parametrize("first", ["a:v", "c:p"])
def test_times_and_counts_of_two_who_are_one_are_joined(first: str) -> None:
    table = changed(segments=REMEMBERS)
    visitor, customer = Person(table=table, name="a:v"), Person(table=table)
    earlier, later = (visitor, customer) if first == "a:v" else (customer, visitor)
    abroad, at_home = {"country": "SE"}, {"country": "NO"}
    seen = event(0, 0, VIEW, earlier.name, properties=abroad)
    after(earlier, [seen, event(1, 1, "order_delivered", earlier.name)])
    after(later, [event(2, DAY, VIEW, later.name, properties=at_home)])
    for who in (visitor, customer):
        who.time(START + 2 * DAY)
    merged(visitor, customer, START + 2 * DAY)
    facts, now = customer.state.facts, START + 2 * DAY
    assert segments.of(facts, rules.present(facts), None, now, table) == [made.id for made in REMEMBERS]


def test_numbers_and_dates_outlive_a_long_silence() -> None:
    lasting = (
        segment("ever", {"count": {"events": [VIEW], "at_least": 1}}),
        segment("known", {"since": {"what": "first_seen", "at_least": 400 * DAY}}),
        segment("delivered", {"since": {"what": "delivery"}}),
        segment("lapsed", {"since": {"what": "last_order", "at_least": 400 * DAY}}),
        segment("at_home", {"known": {"name": "country", "one_of": ["NO"]}}),
    )
    table = changed(segments=lasting)
    made = events((0, VIEW, {"properties": {"country": "NO"}}), (1, ORDER), (2, "order_delivered"))
    person = after(Person(table=table), made)
    now = START + 401 * DAY
    person.time(now)
    assert person.state.expired
    assert advance(person.state, now, now, table, [])
    assert segments.of(person.state.facts, None, None, now, table) == [made.id for made in lasting]
