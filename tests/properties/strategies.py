"""Small scripts of one person's events, made to hurt: few names, many ties, times at the rules' boundaries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from hypothesis import strategies as st

from tracker.domain.events import PASSIVE_TYPES, Consent, Event, Item

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
START = 1_700_000_000_000

STEPS = (
    0, 0, 0, 1, 10_000, 10_001, MINUTE, 10 * MINUTE,
    30 * MINUTE - 1, 30 * MINUTE, 30 * MINUTE + 1,
    HOUR - 1, HOUR, HOUR + 1,
    210 * MINUTE, 4 * HOUR - 1, 4 * HOUR, 4 * HOUR + 1, 270 * MINUTE,
    DAY, 30 * DAY - 1, 30 * DAY, 30 * DAY + 1, 30 * DAY + 4 * HOUR,
)  # fmt: skip
"""Waits between one event and the next, ms."""
SHORT_STEPS = tuple(step for step in STEPS if step <= 10 * MINUTE)

VIEWS = ("page_viewed", "product_viewed", "search_performed", "ad_clicked", "newsletter_subscribed", "shop_own_type")
CARTS = ("product_added", "product_removed", "cart_updated", "cart_emptied")
CHECKOUTS = ("checkout_started", "checkout_step_completed", "payment_info_entered", "payment_failed")
ORDERS = ("order_completed", "order_completed", "trial_started", "contract_signed")
AFTERS = ("order_delivered", "product_used", "product_reviewed", "order_refunded", "order_cancelled", "email_opened")
SCORED = ("survey_answered", "survey_answered", "product_reviewed", "complaint_made")

assert {"order_delivered", "order_refunded", "order_cancelled", "email_opened", "contract_signed"} <= PASSIVE_TYPES

_items = st.lists(
    st.builds(
        Item,
        product_id=st.sampled_from("AB"),
        quantity=st.sampled_from((1, 1, 2)),
        price=st.sampled_from((None, 9.99, 100.0)),
    ),
    max_size=2,
)
_maybe_items = st.one_of(_items, _items, _items, st.none())
_score = st.sampled_from((None, 0, 1, 1.0, 2, 4, 5, 5, 7, 8, 9, 10, 11, 4.5, "5", True))
_scores = st.fixed_dictionaries(
    {},
    optional={
        "nps": _score,
        "csat": _score,
        "rating": _score,
        "survey": st.sampled_from(("nps", "ces", "csat", "other")),
        "score": _score,
        "touchpoint": st.sampled_from(("levering", "omtale", "betaling", "none of these", 5)),
    },
)
_sometimes = st.sampled_from((False, False, True))


def types() -> st.SearchStrategy[str]:
    """Event types, the ones with rules of their own more often."""
    kinds = (VIEWS, CARTS, CARTS, CHECKOUTS, ORDERS, AFTERS, SCORED)
    return st.sampled_from(kinds).flatmap(st.sampled_from)


@st.composite
def event(draw: st.DrawFn, number: int, ts: int, kinds: tuple[str, ...] | None = None) -> Event:
    """One event of customer `p`; ids of orders, carts and checkouts come from two of each."""
    kind = draw(st.sampled_from(kinds) if kinds else types())
    fields: dict[str, Any] = {}
    if kind in CARTS or kind in CHECKOUTS or kind in ORDERS:
        fields["items"] = draw(_maybe_items)
        fields["cart_id"] = "cart1" if draw(_sometimes) else "cart2" if draw(_sometimes) else None
        fields["currency"] = draw(st.sampled_from((None, "NOK", "NOK", "SEK")))
    if kind in CHECKOUTS or kind in ORDERS:
        fields["checkout_id"] = "check1" if draw(_sometimes) else None
    if kind in ORDERS:
        fields["value"] = draw(st.sampled_from((None, 0.0, 499.9, 0.1)))
        fields["order_id"] = draw(st.sampled_from((None, "O1", "O1", "O2", "O3", f"O{number}")))
    if kind in CHECKOUTS or kind in AFTERS or kind in SCORED:
        fields["order_id"] = draw(st.sampled_from((None, None, "O1", "O2")))
    if kind in SCORED:
        fields["properties"] = draw(_scores)
    if kind == "payment_failed" and draw(_sometimes):
        fields["properties"] = {"reason": "renewal"}
    if kind in AFTERS or kind in SCORED:
        fields["items"] = draw(st.one_of(st.none(), _items))
        fields["value"] = draw(st.sampled_from((None, 0.1)))
    if kind == "page_viewed":
        fields["url"] = draw(st.sampled_from((None, "/a", "/b")))
    if draw(_sometimes) and draw(_sometimes):
        fields["consent"] = Consent(marketing=draw(st.sampled_from((None, True, False))))
    tie = draw(st.sampled_from("abc"))
    return Event(event_id=f"{tie}{number:03}", type=kind, ts=ts, customer_id="p", **fields)


def as_person(made: Event, person: str) -> Event:
    """The same event of another person, `c:` or `a:` and their id."""
    name = person[2:]
    if person.startswith("c:"):
        return msgspec.structs.replace(made, customer_id=name)
    return msgspec.structs.replace(made, customer_id=None, anonymous_id=name)


@st.composite
def scripts(
    draw: st.DrawFn,
    steps: tuple[int, ...] = STEPS,
    longest: int = 12,
    kinds: tuple[str, ...] | None = None,
) -> list[Event]:
    """A person's events in the order of their times (ties in any order of ids)."""
    ts = START
    events = []
    for number in range(draw(st.integers(1, longest))):
        ts += draw(st.sampled_from(steps))
        events.append(draw(event(number, ts, kinds)))
    return events


@dataclass(frozen=True)
class Arrival:
    """An event, and the watermark that the log has reached when it comes in (None: no news of time)."""

    event: Event
    watermark: int | None

    def __repr__(self) -> str:
        """Short, for falsifying examples: seconds since the start, and only what the event says."""
        said = {name: getattr(self.event, name) for name in Event.__struct_fields__[5:]}
        words = " ".join(f"{name}={value}" for name, value in said.items() if value is not None)
        mark = "" if self.watermark is None else f"w{(self.watermark - START) / 1000:+} "
        return f"{mark}{self.event.event_id} {self.event.type} {(self.event.ts - START) / 1000:+} {words}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text("" if cycle else repr(self))


SMALL_DELAYS = (0, 0, 1, 10_000, 29_999)
BACKLOG = (0, 0, 1, 30_000, HOUR, 5 * HOUR, 31 * DAY)
LATE_DELAYS = (0, 0, 1, 30_000, 10 * MINUTE, 30 * MINUTE, HOUR - 1, HOUR)


def delayed(draw: st.DrawFn, events: list[Event], delays: tuple[int, ...]) -> list[tuple[int, Event]]:
    """(time of arrival, event), in the order of arrival."""
    arrivals = [(event.ts + draw(st.sampled_from(delays)), place) for place, event in enumerate(events)]
    return [(at, events[place]) for at, place in sorted(arrivals)]


@st.composite
def honest(
    draw: st.DrawFn, events: st.SearchStrategy[list[Event]], delays: tuple[int, ...] | None = None
) -> list[Arrival]:
    """Events out of order, but never behind the watermark: delayed by some of `delays` (None: in any order at all),
    while the watermark has reached at most the oldest that is still to come."""
    script = draw(events)
    order = draw(st.permutations(script)) if delays is None else [e for _, e in delayed(draw, script, delays)]
    arrivals = []
    for place, event in enumerate(order):
        reached = min(later.ts for later in order[place:]) - draw(st.sampled_from((0, 0, 1, 30_000, HOUR)))
        arrivals.append(Arrival(event, draw(st.sampled_from((reached, reached, None)))))
    return arrivals


@st.composite
def late(draw: st.DrawFn, events: st.SearchStrategy[list[Event]]) -> list[Arrival]:
    """Events up to exactly the allowed lateness (1 h) behind a watermark that follows at once."""
    arrivals = delayed(draw, draw(events), LATE_DELAYS)
    return [Arrival(event, at - draw(st.sampled_from((0, 0, 30_000)))) for at, event in arrivals]


VISITORS = ("a:v", "a:w", "a:x")


NAMES = ("order_id", "cart_id", "checkout_id")


@st.composite
def named(draw: st.DrawFn, number: int, ts: int, customers: tuple[str, ...]) -> Event:
    """An event of a visitor, a customer or both, which often names one of two orders, carts or checkouts."""
    made = as_person(draw(event(number, ts)), draw(st.sampled_from((*VISITORS, *VISITORS, *customers))))
    given_ids = {name: f"{name}{draw(st.integers(1, 2))}" for name in draw(st.sets(st.sampled_from(NAMES), max_size=2))}
    made = msgspec.structs.replace(made, order_id=None, cart_id=None, checkout_id=None)
    made = msgspec.structs.replace(made, **given_ids)
    if made.customer_id is not None and draw(st.sampled_from((True, False, False, False))):
        made.anonymous_id = draw(st.sampled_from(VISITORS))[2:]
    return made
