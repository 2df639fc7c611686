"""The fold: one event, or one deadline, changes a person's facts and reports what happened.

Events come in (ts, event_id) order and every deadline before an event has fired: `step` sees to both. At equal
times the session ends first, then drop-offs fire, then triggers, then time alone leads journeys on or ends them, then
events are folded.
"""

from __future__ import annotations

from tracker.domain import cart, feelings, journeys, orders, remembered, rules, segments, sessions, triggers
from tracker.domain.events import Event, is_identity
from tracker.domain.notices import NOTICE, hear
from tracker.domain.outputs import Happening
from tracker.domain.state import MAX_IDS, MAX_SEGMENTS, Facts, Track
from tracker.domain.table import Cart, Table, TypeRule
from tracker.domain.units import FAR, NEVER


def fold_event(facts: Facts, event: Event, table: Table, out: list[Happening]) -> None:
    """Take one event into the facts."""
    ts = event.ts
    rule = table.types.get(event.type) or table.other
    if ts >= facts.last:
        facts.last = ts
        facts.last_id = event.event_id
    if event.flags is not None and NOTICE in event.flags:
        hear(facts, event, rule, table, out)
        return
    first = False
    if event.customer_id is not None or event.segments is not None or event.consent is not None:
        first = _describe(facts, event, ts)
    if event.properties is not None and table.memory.known:
        remembered.know(facts, ts, event.properties, table.memory.known)
    session = facts.session
    active = rule.active
    last_active = facts.active_at
    new_order = again = False
    tally = None
    plain = rule.plain
    cart_id = facts.cart_id if first or not plain else None
    if not plain:
        tally = rule.tally
        if rule.orders:
            new_order = not orders.known(facts, event)
            if not new_order:
                again = True
                active = False
                tally = None
                orders.complete(facts, event)
    new_session = False
    if active:
        if session is None or ts - session.last >= table.gap or ts - session.start >= table.cap:
            sessions.close(facts, table, out)
            session = facts.session = sessions.open_session(event)
            new_session = True
        elif ts > session.last:
            session.last = ts
        session.events += 1
        if rule.page:
            session.pages += 1
        sessions.describe(session, event)
        if ts >= last_active:
            facts.active_at = ts
            facts.active_id = event.event_id
            facts.active_type = event.type
        session_id: str | None = session.id
    else:
        session_id = session.id if session is not None and ts - session.last < table.gap else None
    if tally is not None:
        remembered.note(facts, event, tally, last_active, session_id is not None)

    changed = added = emptied = False
    if rule.cart:
        cart.expire(facts, ts, table)
        changed, added, emptied = cart.apply(facts, event, rule.cart)
        if rule.cart is Cart.ADD and event.items:
            facts.added_at = ts
        if emptied:
            rules.disarm_cart(facts, table)

    courses, ways, order_id, tracks = table.courses, rule.steps, event.order_id, facts.tracks
    if len(tracks) < len(courses):
        add_tracks(facts, table)
    if new_order:
        facts.order_count += 1  # models that it does not convert ask for the orders with it; it is counted below
    for place, track in enumerate(tracks):
        steps = ways[place]
        course = courses[place]
        journey = track.journey
        converts = steps.converts and not again
        if journey is None:
            if active and not converts and journeys.opens(facts, track, steps, added):
                journey = journeys.try_to_open(facts, track, event, steps, course, table)
            if journey is None:
                if track.converted and not (converts or again):
                    journeys.meet(facts, track, event, steps, course)
                continue
        else:
            journey.met |= rule.bit
            if steps.counted and not again:
                remembered.note_on(journey, event)
        if order_id is not None and track.converted and not (converts or again):
            journeys.meet_by_order(track, order_id, steps)
        if active:
            journey.last_active = ts
            if session is not None and (new_session or not journey.channels):
                journeys.note_channel(journey, session.channel)
        if not converts:
            current = journey.path[-1] if journey.path else -1
            phase = steps.before if not steps.conditional else journeys.target(facts, journey, event, steps)
            if phase > current and (active or current >= 0):
                journeys.advance(facts, journey, phase, ts, event, course, out, session_id)
            elif current >= 0 and (steps.back_from | (course.back_on_emptied if emptied else 0)) >> current & 1:
                journeys.step_back(facts, journey, event, course, out, session_id)
    if new_order:
        facts.order_count -= 1
    if not plain:
        _apply_special(facts, event, rule, table, out, session_id, new_order, changed)
    if (first or not plain) and (
        rule.triggers or rule.takes_back or (changed and table.cart_triggers) or (first and table.first_triggers)
    ):
        triggers.take(facts, event, rule, table, out, changed, first, cart_id, again)
    if new_session and session is not None:
        session.phase_at_start = sessions.phase(facts, table)


def _apply_special(
    facts: Facts,
    event: Event,
    rule: TypeRule,
    table: Table,
    out: list[Happening],
    session_id: str | None,
    new_order: bool,
    changed: bool,
) -> None:
    order_id = event.order_id
    began: list[str] | None = None
    if new_order:
        if any(track.journey is None for track in facts.tracks):  # what a journey begins with is not yet the order
            began = segments.of(facts, rules.present(facts), event, event.ts, table)
        order_id = _complete_order(facts, event, table, out, session_id)
    if rule.refund:
        orders.refund(facts, event)
    if rule.travels:
        _travel(facts, event, rule, table, out, session_id, order_id, began, rule.orders and not new_order)
    if rule.scores:
        feelings.feel(facts, event, rule, table, out)
    if rule.disarms:
        rules.take_back(facts, event, rule, table)
    if rule.arms or changed:
        if not rule.cart:
            cart.expire(facts, event.ts, table)
        rules.arm(facts, event, rule, table, changed)


def _travel(
    facts: Facts,
    event: Event,
    rule: TypeRule,
    table: Table,
    out: list[Happening],
    session_id: str | None,
    order_id: str | None,
    began: list[str] | None,
    again: bool,
) -> None:
    for track, course, steps in zip(facts.tracks, table.courses, rule.steps, strict=True):
        converts = steps.converts and not again
        if converts:
            journeys.convert(facts, track, order_id, event, steps, course, table, out, session_id, began)
        elif steps.leads and track.journey is not None:
            journeys.lead(track.journey, steps.leads, event.ts)
        if steps.follows and not again:
            journeys.follow(facts, track, event, steps, course, out, session_id, converts)
        elif steps.touches and not (converts or again):
            journeys.meet(facts, track, event, steps, course)


def add_tracks(facts: Facts, table: Table) -> None:
    """As many tracks as there are models."""
    facts.tracks += [Track() for _ in range(len(table.courses) - len(facts.tracks))]


def _complete_order(facts: Facts, event: Event, table: Table, out: list[Happening], session_id: str | None) -> str:
    order = orders.count(facts, event, table, session_id, out)
    facts.armed = None
    facts.dropped = []
    cart.expire(facts, event.ts, table)
    cart.take_out(facts, event)
    facts.order_session = session_id
    facts.added_at = NEVER
    if facts.session is not None and facts.session.id == session_id:
        facts.session.ordered = True
    return order.id


def _describe(facts: Facts, event: Event, ts: int) -> bool:
    """Take in what the event says of the person. Answers whether it is the first to name the customer."""
    first = False
    customer, anonymous, consent = event.customer_id, event.anonymous_id, event.consent
    if customer is not None:
        person = facts.person
        if facts.customer_id is None and person.startswith("c:"):
            facts.customer_id = person[2:]
            first = True
        if (
            anonymous is not None
            and anonymous not in facts.anonymous_ids
            and person.startswith("c:")
            and is_identity(anonymous)
        ):
            facts.anonymous_ids = [*facts.anonymous_ids, anonymous][-MAX_IDS:]
    if event.segments is not None and event.segments != facts.segments:
        facts.segments = event.segments[:MAX_SEGMENTS]
    if consent is not None:
        event_id = event.event_id
        marketing, analytics = consent.marketing, consent.analytics
        if marketing is not None and _is_later(ts, event_id, facts.consent_marketing):
            facts.consent_marketing = (ts, event_id, marketing)
        if analytics is not None and _is_later(ts, event_id, facts.consent_analytics):
            facts.consent_analytics = (ts, event_id, analytics)
    return first


def _is_later(ts: int, event_id: str, known: tuple[int, str, bool] | None) -> bool:
    """Whether a statement is to be kept: one of an event that is left out is known all the same, and may be later."""
    return known is None or ts > known[0] or (ts == known[0] and event_id >= known[1])


def next_deadline(facts: Facts, table: Table) -> int:
    """When time alone next changes these facts, FAR if it never does."""
    due = FAR
    session = facts.session
    if session is not None:
        due = session.last + table.gap
    if facts.armed is not None:
        at = rules.fires_at(facts, table)
        if at is not None and at < due:
            due = at
    tracks = facts.tracks
    if tracks:
        journey = tracks[0].journey  # one model is the rule, and this runs several times for each event
        if journey is not None:
            at = journey.last_active + table.timeout
            if at < due:
                due = at
        if len(tracks) > 1:
            due = min(due, _others_leave(facts, table))
    if table.timed:
        due = min(due, journeys.leads_at(facts))
    wakes = facts.wakes
    return due if wakes is None or due < wakes else wakes


def _others_leave(facts: Facts, table: Table) -> int:
    """When the first journey of the other models leaves, FAR if none does."""
    pairs = zip(facts.tracks[1:], table.courses[1:], strict=False)
    return min((t.journey.last_active + c.timeout for t, c in pairs if t.journey is not None), default=FAR)


def blocks_from(facts: Facts, table: Table, watermark: int) -> int:
    """From this time on events have to wait: the next deadline, or the session's cap while it is ahead."""
    due = next_deadline(facts, table)
    session = facts.session
    if session is not None:
        cap = session.start + table.cap
        if watermark < cap < due:
            return cap
    return due


def fire_deadlines(facts: Facts, at: int, table: Table, out: list[Happening]) -> None:
    """Do everything that is due at `at` (the next deadline): session end, then drop-offs, then triggers, then what
    time leads on, then leaving."""
    facts.fired = at
    session = facts.session
    if session is not None and session.last + table.gap <= at:
        sessions.close(facts, table, out)
    fires = rules.fires_at(facts, table)
    if fires is not None and fires <= at:
        rules.fire(facts, fires, table, out)
        if facts.pending and table.model.caps:
            facts.wakes = triggers.next_due(facts, table)
    while (wakes := facts.wakes) is not None and wakes <= at:
        triggers.fire(facts, wakes, table, out)
    for track, course in zip(facts.tracks, table.courses, strict=False):
        if course.timed:
            journeys.lead_on(facts, track, at, course, out)
        if track.journey is not None and track.journey.last_active + course.timeout <= at:
            journeys.leave(facts, track, at, course, out)
