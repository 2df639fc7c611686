"""The fold: one event, or one deadline, changes a person's facts and reports what happened.

Events come in (ts, event_id) order and every deadline before an event has fired: `step` sees to both. At equal
times the session ends first, then drop-offs fire, then triggers, then time alone leads journeys on or ends them, then
events are folded.
"""

from __future__ import annotations

from tracker.domain import cart, journeys, orders, remembered, rules, sessions, triggers
from tracker.domain.events import Event, is_identity
from tracker.domain.outputs import Happening
from tracker.domain.state import MAX_IDS, MAX_SEGMENTS, Facts
from tracker.domain.table import Cart, Table, TypeRule
from tracker.domain.units import FAR, NEVER


def fold_event(facts: Facts, event: Event, table: Table, out: list[Happening]) -> None:
    """Take one event into the facts."""
    ts = event.ts
    rule = table.types.get(event.type) or table.other
    if ts >= facts.last:
        facts.last = ts
        facts.last_id = event.event_id
    nameless = facts.customer_id is None
    cart_id = facts.cart_id
    if event.customer_id is not None or event.segments is not None or event.consent is not None:
        _describe(facts, event)
    session = facts.session
    active = rule.active
    last_active = facts.active_at
    new_order = False
    tally = None
    if not rule.plain:
        tally = rule.tally
        if rule.converts:
            new_order = not orders.known(facts, event)
            if not new_order:
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

    journey = facts.journey
    if journey is None and active and not new_order and journeys.opens(facts, rule, added):
        journey = journeys.try_to_open(facts, event, rule, table)
    elif journey is not None:
        journey.met |= rule.bit
        if tally is not None and tally.journey:
            remembered.note_on(journey, event)
    if journey is not None:
        if active:
            journey.last_active = ts
            if session is not None and (new_session or not journey.channels):
                journeys.note_channel(journey, session.channel)
        if not new_order:
            current = journey.path[-1] if journey.path else -1
            phase = rule.before if not rule.conditional else journeys.target(facts, journey, event, rule)
            if phase > current and (active or current >= 0):
                journeys.advance(facts, journey, phase, ts, event, table, out, session_id)
            elif current >= 0 and (rule.back_from | (table.back_on_emptied if emptied else 0)) >> current & 1:
                journeys.step_back(facts, journey, event, table, out, session_id)
    if not rule.plain:
        _apply_special(facts, event, rule, table, out, session_id, new_order, changed)
    first = nameless and facts.customer_id is not None
    if (first or not rule.plain) and (
        rule.triggers or rule.takes_back or (changed and table.cart_triggers) or (first and table.first_triggers)
    ):
        copy = rule.converts and not new_order
        triggers.take(facts, event, rule, table, out, changed, first, cart_id, copy)
    if new_session and session is not None:
        session.phase_at_start = _phase(facts, table)


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
    if new_order:
        _complete_order(facts, event, rule, table, out, session_id)
    elif rule.leads and facts.journey is not None:
        journeys.lead(facts.journey, rule.leads, event.ts)
    if rule.refund:
        orders.refund(facts, event)
    if rule.follows and (new_order or not rule.converts):
        journeys.follow(facts, event, rule, table, out, session_id, new_order)
    if rule.disarms:
        rules.take_back(facts, event, rule, table)
    if rule.arms or changed:
        if not rule.cart:
            cart.expire(facts, event.ts, table)
        rules.arm(facts, event, rule, table, changed)


def _complete_order(
    facts: Facts, event: Event, rule: TypeRule, table: Table, out: list[Happening], session_id: str | None
) -> None:
    order = orders.count(facts, event, table, session_id, out)
    journeys.convert(facts, order, event, rule, table, out, session_id)
    facts.armed = None
    facts.dropped = []
    cart.expire(facts, event.ts, table)
    cart.take_out(facts, event)
    facts.order_session = session_id
    facts.added_at = NEVER
    if facts.session is not None and facts.session.id == session_id:
        facts.session.ordered = True


def _describe(facts: Facts, event: Event) -> None:
    if event.customer_id is not None and facts.customer_id is None and facts.person.startswith("c:"):
        facts.customer_id = facts.person[2:]
    anonymous = event.anonymous_id
    if (
        anonymous is not None
        and event.customer_id is not None
        and anonymous not in facts.anonymous_ids
        and facts.person.startswith("c:")
        and is_identity(anonymous)
    ):
        facts.anonymous_ids = [*facts.anonymous_ids, anonymous][-MAX_IDS:]
    if event.segments is not None and event.segments != facts.segments:
        facts.segments = event.segments[:MAX_SEGMENTS]
    consent = event.consent
    if consent is not None:
        if consent.marketing is not None:
            facts.consent_marketing = (event.ts, event.event_id, consent.marketing)
        if consent.analytics is not None:
            facts.consent_analytics = (event.ts, event.event_id, consent.analytics)


def _phase(facts: Facts, table: Table) -> str | None:
    journey = facts.journey or (facts.converted[-1] if facts.converted else None)
    return table.phase_ids[journey.path[-1]] if journey is not None and journey.path else None


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
    if facts.journey is not None:
        at = facts.journey.last_active + table.model.journey_timeout
        if at < due:
            due = at
    if table.timed:
        due = min(due, journeys.leads_at(facts))
    wakes = facts.wakes
    return due if wakes is None or due < wakes else wakes


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
    if table.timed:
        journeys.lead_on(facts, at, table, out)
    journey = facts.journey
    if journey is not None and journey.last_active + table.model.journey_timeout <= at:
        journeys.leave(facts, at, table, out)
