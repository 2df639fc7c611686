"""Who is who: an anonymous person's past joins the customer's, nothing is lost and nothing new is armed."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import msgspec

from tracker.domain import feelings, journeys, remembered, sessions, triggers
from tracker.domain.events import Item
from tracker.domain.fold import add_tracks
from tracker.domain.lineup import Lineup
from tracker.domain.orders import earn, fill, give_back, take_early
from tracker.domain.outputs import DropOff, Happening, LastEvent, Merged, Ordered, Output
from tracker.domain.rules import about
from tracker.domain.said import end_dropoffs
from tracker.domain.state import (
    MAX_CART_LINES,
    MAX_CONVERTED,
    MAX_DROPOFFS,
    MAX_IDS,
    MAX_ORDERS,
    MAX_SAID_TRIGGERS,
    Armed,
    Facts,
    Journey,
    Order,
    Said,
    Session,
    State,
    Track,
)
from tracker.domain.table import Course, Table
from tracker.domain.units import MONEY, NEVER

T = TypeVar("T")


MAX_RECENT_BYTES = 400_000
"""Recent events that travel with a merged person's past, so that it fits a record; more of them are forwarded."""


class Legacy(msgspec.Struct, array_like=True):
    """A merged person's past: facts of all that is older than the allowed lateness, the events since then (encoded,
    sorted), and what was said."""

    facts: Facts
    said: Said
    lineup: Lineup
    """What the places in facts and sayings stand for: the customer's partition may have other models in force."""
    recent: list[bytes] = []
    accounts: list[tuple[int, str]] = []
    """See `State.accounts`."""
    joins: bool = False
    """Whether it is that of an account's new member."""


encode_legacy = msgspec.msgpack.Encoder().encode
decode_legacy = msgspec.msgpack.Decoder(Legacy).decode


class Past(NamedTuple):
    """The ids of the orders and drop-offs that one of two persons had before they were merged."""

    orders: set[str]
    dropoffs: set[str]


def past(facts: Facts, said: Said) -> Past:
    """Those of one person."""
    return Past({order.id for order in facts.orders}, {dropoff.id for dropoff in said.dropoffs})


def leave_merged(facts: Facts, kept: Facts, ts: int, table: Table) -> tuple[list[Happening], Merged]:
    """The anonymous journeys that do not go along in `kept` end with `merged` and leave the counters: the events
    that made them are forwarded and make the customer's."""
    out: list[Happening] = []
    merged = Merged([], [])
    taken = {journey.id for track in kept.tracks for journey in track.converted}
    for track, course in zip(facts.tracks, table.courses, strict=False):
        model, names = course.model.id, course.phase_ids
        ended = [journey for journey in track.converted if journey.id not in taken]
        for journey in [*ended, track.journey] if track.journey is not None else ended:
            merged.entries.extend((model, names[phase], at) for phase, at in journey.entries)
        for journey in ended:
            journeys.end(facts, journey, ts, course, out, "merged")
            if journey.converted_at is not None:
                merged.converted.append((model, journey.converted_at))
        journeys.leave(facts, track, ts, course, out, "merged")
    return out, merged


def fitting(recent: list[bytes]) -> int:
    """How many of the recent events (encoded) travel with a past; the others are forwarded."""
    size = 0
    for place, raw in enumerate(recent):
        size += len(raw)
        if size > MAX_RECENT_BYTES:
            return place
    return len(recent)


def is_empty(facts: Facts, said: Said) -> bool:
    """Whether there is nothing to take over."""
    kept = facts.last_id or facts.consent_marketing or facts.consent_analytics or facts.order_ids or facts.anonymous_ids
    return not (kept or said != Said())


def combine(own: Facts, other: Facts, table: Table, out: list[Happening]) -> Facts:
    """The customer's older facts with those of the anonymous person: commutes with orders and with other merges."""
    anonymous = other.person[2:] if other.person.startswith("a:") else None
    own.anonymous_ids = _union(own.anonymous_ids, [anonymous] if anonymous else [], other.anonymous_ids)[:MAX_IDS]
    if other.previous_session_id and (own.previous_session_id is None or other.last > own.last):
        own.previous_session_id = other.previous_session_id
    if (other.last, other.last_id) > (own.last, own.last_id):
        own.last, own.last_id = other.last, other.last_id
    own.fired = max(own.fired, other.fired)
    if other.active_at > own.active_at:
        own.active_at, own.active_id, own.active_type = other.active_at, other.active_id, other.active_type
    _join_orders(own, other)
    _join_sessions(own, other, table, out)
    add_tracks(own, table)
    for mine, theirs, course in zip(own.tracks, other.tracks, table.courses, strict=False):
        _join_journeys(own, mine, theirs, course, out)
    _join_carts(own, other)
    own.armed = _stronger(own.armed, other.armed, own.orders, table)
    own.dropped = _union(own.dropped, other.dropped)
    own.consent_marketing = max(own.consent_marketing or UNSAID, other.consent_marketing or UNSAID)
    own.consent_analytics = max(own.consent_analytics or UNSAID, other.consent_analytics or UNSAID)
    if own.consent_marketing == UNSAID:
        own.consent_marketing = None
    if own.consent_analytics == UNSAID:
        own.consent_analytics = None
    own.segments = own.segments or other.segments
    own.currency = own.currency or other.currency
    remembered.join(own, other, table.memory)
    triggers.unite(own, other, table)
    return own


UNSAID = (NEVER, "", False)
"""Earlier than any statement of consent."""


def join_said(own: Said, other: Said) -> None:
    """Sent drop-offs and published sessions move along, so that they are ended or corrected by the customer's id; the
    orders of both withhold what only the two pasts together bring out."""
    own.ordered = max(own.ordered, other.ordered)
    known = {dropoff.id for dropoff in own.dropoffs}
    own.dropoffs = sorted(
        own.dropoffs + [dropoff for dropoff in other.dropoffs if dropoff.id not in known],
        key=lambda dropoff: (dropoff.detected_at, dropoff.id),
    )[-MAX_DROPOFFS:]
    ids = {session.id for session in own.sessions}
    own.sessions = own.sessions + [session for session in other.sessions if session.id not in ids]
    fired = {(said.rule, said.key, said.due) for said in own.triggers}
    own.triggers = [said for said in other.triggers if (said.rule, said.key, said.due) not in fired] + own.triggers
    own.triggers = own.triggers[-MAX_SAID_TRIGGERS:]
    own.moves = own.moves + other.moves
    own.entered = {**other.entered, **own.entered}


def end_absorbed(state: State, mine: Past, theirs: Past, table: Table, out: list[Output]) -> None:
    """An order that the customer had already placed ends the drop-offs that came with the absorbed past, and one of
    that past ends the customer's own. What lay in the same past had met before."""
    facts = state.facts
    for order in sorted(facts.orders, key=lambda order: (order.ts, order.id)):
        unmet: set[str] = set()
        if order.id not in theirs.orders:
            unmet |= theirs.dropoffs
        if order.id not in mine.orders:
            unmet |= mine.dropoffs
        if not unmet:
            continue
        fields = about(facts, None, order.ts, table)
        fields["last_event"] = LastEvent(facts.active_id, facts.active_type, facts.active_at)
        message = DropOff(
            id="", kind="recovered", reason="", armed_at=0, due_at=0, detected_at=0,
            session_id=order.session_id, **fields,
        )  # fmt: skip
        ordered = Ordered(
            order.id, order.ts, order.value / MONEY, order.currency, order.session_id, order.names, message
        )
        end_dropoffs(state.said, ordered, table, out, among=unmet)


def _join_orders(own: Facts, other: Facts) -> None:
    mine = {order.id: order for order in own.orders}
    theirs = []
    for order in other.orders:
        known = mine.get(order.id)
        if known is None:
            theirs.append(order)
            continue
        # Once for both; what only one of them heard was given back is given back.
        if not order.cancelled:
            other.order_count -= 1
        earn(other, order, order.refunded - order.value)
        fill(own, known, order.value, order.currency, order.names, order.products)
        if order.refunded > known.refunded or (order.cancelled and not known.cancelled):
            give_back(own, known, None if order.cancelled else order.refunded - known.refunded)
    latest = max([*own.orders, *theirs], key=lambda order: order.ts, default=None)
    if latest is not None and any(latest is order for order in theirs):
        own.order_session, own.added_at = other.order_session, other.added_at
    own.orders = sorted(own.orders + theirs, key=lambda order: (order.ts, order.id))[-MAX_ORDERS:]
    own.order_ids += other.order_ids
    own.order_count += other.order_count
    own.revenue = {
        currency: own.revenue.get(currency, 0) + other.revenue.get(currency, 0)
        for currency in dict.fromkeys([*own.revenue, *other.revenue])
    }
    own.early_refunds = _union(own.early_refunds, other.early_refunds)
    for order in own.orders:
        take_early(own, order)


def _join_sessions(own: Facts, other: Facts, table: Table, out: list[Happening]) -> None:
    own.sessions += other.sessions
    theirs = other.session
    if theirs is None:
        return
    mine = own.session
    if mine is None:
        own.session = theirs
        return
    first, last = sorted((mine, theirs), key=lambda session: (session.start, session.id))
    if last.start - first.last < table.gap:
        own.session = _unite(first, last)
    else:
        own.session = first
        sessions.close(own, table, out)
        own.session = last


def _unite(first: Session, last: Session) -> Session:
    return msgspec.structs.replace(
        first,
        last=max(first.last, last.last),
        events=first.events + last.events,
        pages=first.pages + last.pages,
        entry_url=first.entry_url or last.entry_url,
        exit_url=last.exit_url or first.exit_url,
        channel=first.channel or last.channel,
        device=first.device or last.device,
        campaign=first.campaign or last.campaign,
        ordered=first.ordered or last.ordered,
        counts=remembered.joined(first.counts, last.counts),
    )


def _join_journeys(own: Facts, mine: Track, theirs: Track, course: Course, out: list[Happening]) -> None:
    if theirs.converted and mine.journey is None and not mine.converted:
        mine.ordered_last = theirs.ordered_last
    converted = sorted(mine.converted + theirs.converted, key=lambda journey: (journey.opened_at, journey.id))
    mine.converted = converted[-MAX_CONVERTED:]
    other = theirs.journey
    if other is None or not other.path:
        return
    journey = mine.journey
    if journey is None:
        mine.journeys += 1
        number = mine.journeys
        journey = mine.journey = msgspec.structs.replace(
            other, id=journeys.journey_id(own.person, course, number), number=number, path=[], entries=[]
        )
    else:
        journey.met |= other.met
        journey.opened_at = min(journey.opened_at, other.opened_at)
        journey.last_active = max(journey.last_active, other.last_active)
        journey.channels = _union(other.channels, journey.channels)
        journey.counts = remembered.joined(journey.counts, other.counts)
        journey.leads = _earliest(journey.leads, other.leads)
        journey.feelings = feelings.joined(journey.feelings, other.feelings)
    _gain(own, journey, other, course, out)


def _gain(own: Facts, mine: Journey, theirs: Journey, course: Course, out: list[Happening]) -> None:
    """Phases that only the anonymous journey had entered are published `backfilled`; the furthest is current."""
    entered = dict(theirs.entries)
    for phase in sorted(set(theirs.path) - set(mine.path)):
        current = mine.path[-1] if mine.path else -1
        at = entered.get(phase, theirs.moved_at)
        gained = journeys.backfilled(own, mine, phase, at, course, moves=phase > current)
        if not mine.path:
            gained.direction = "enter"  # the customer had no journey: this begins one
        out.append(gained)
        mine.entries = [*mine.entries, (phase, at)]
        mine.path = sorted([*mine.path, phase])
        mine.moved_at = max(mine.moved_at, theirs.moved_at)
    entered = dict(mine.entries)
    mine.leads = [lead for lead in mine.leads if lead[1] > mine.path[-1] and lead[1] not in entered]


def _earliest(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> list[tuple[int, int]]:
    dues: dict[int, int] = {}
    for due, phase in (*one, *other):
        dues[phase] = min(due, dues.get(phase, due))
    return sorted((due, phase) for phase, due in dues.items())


def _join_carts(own: Facts, other: Facts) -> None:
    lines: dict[tuple[str, str | None], Item] = {}
    for line in [*own.cart, *other.cart]:
        known = lines.get((line.product_id, line.sku))
        if known is None or line.quantity > known.quantity:
            lines[(line.product_id, line.sku)] = line
    own.cart = list(lines.values())[:MAX_CART_LINES]
    own.cart_id = own.cart_id or other.cart_id
    own.cart_touched = max(own.cart_touched, other.cart_touched)


def _stronger(one: Armed | None, other: Armed | None, orders: list[Order], table: Table) -> Armed | None:
    last_order = max((order.ts for order in orders), default=None)
    rules = table.model.rules
    armed = [a for a in (one, other) if a is not None and (last_order is None or last_order < a.at)]
    return max(armed, key=lambda a: (rules[a.rule].significance, a.at, a.event_id), default=None)


def _union(*parts: list[T]) -> list[T]:
    return list(dict.fromkeys(entry for part in parts for entry in part))
