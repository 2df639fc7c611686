"""Drop-off rules: what arms one, when it fires, what is said, and how an order ends what was said."""

from __future__ import annotations

from typing import Any

from tracker.domain import cart, segments
from tracker.domain.events import Event
from tracker.domain.ids import derive
from tracker.domain.limits import LONGEST_DEFERRAL, after_quiet, capped_until, note_sent
from tracker.domain.model import Rule
from tracker.domain.outputs import DropOff, Fired, Happening, LastEvent, Ordered
from tracker.domain.predicates import Moment
from tracker.domain.state import Armed, Facts, Journey, SaidDropOff, Sent
from tracker.domain.table import AFTER_PURCHASE, CART_CHANGED, Table, TypeRule
from tracker.domain.units import NEVER


def arm(facts: Facts, event: Event, rule: TypeRule, table: Table, cart_changed: bool) -> None:
    """Arm the most significant rule that this event may arm; a lesser one than the armed does nothing."""
    rules = table.model.rules
    best = -1
    filled = bool(facts.cart)
    for index in rule.arms + table.cart_rules if cart_changed else rule.arms:
        spec = rules[index]
        if (spec.cart == "empty" and filled) or (spec.cart == "filled" and not filled):
            continue
        where = table.where[index]
        if where is not None and not where.holds(Moment(facts, present(facts), event, event.ts)):
            continue
        if best < 0 or spec.significance > rules[best].significance:
            best = index
    if best < 0:
        return
    armed = facts.armed
    if armed is not None and rules[armed.rule].significance > rules[best].significance:
        return
    if not rule.after_purchase and forbidden(facts, event, rule, browsing=rules[best].cart == "empty"):
        return
    session = facts.session
    facts.armed = Armed(
        rule=best,
        at=event.ts,
        due=event.ts + rules[best].wait,
        event_id=event.event_id,
        session_id=session.id if session else None,
        names=names_of(event),
        failed=rule.payment_failed,
        added_at=facts.added_at,
    )


def present(facts: Facts) -> Journey | None:
    """The first model's journey that rules and segments ask about: the one before purchase, else the last converted."""
    track = facts.tracks[0]
    return track.journey or (track.converted[-1] if track.converted else None)


def take_back(facts: Facts, event: Event, rule: TypeRule, table: Table) -> None:
    """The event is one of those that the armed rule waited for in vain: of the same cart or order, if the rule goes
    by that and both name one."""
    armed = facts.armed
    if armed is None or armed.rule not in rule.disarms:
        return
    key = table.model.rules[armed.rule].key
    order, cart, _ = armed.names
    mine, its = (order, event.order_id) if key == "order" else (cart, event.cart_id) if key == "cart" else (None, None)
    if mine is None or its is None or mine == its:
        facts.armed = None


def forbidden(facts: Facts, event: Event, rule: TypeRule, browsing: bool) -> bool:
    """Whether a completed order says that this event is no sign of falling away."""
    names = names_of(event)
    if names != NO_NAMES and any(same_names(names, order.names) for order in facts.orders):
        return True
    session = facts.session
    if session is None or session.id != facts.order_session:
        return False
    return browsing or (rule.checkout and names == NO_NAMES and facts.added_at == NEVER)


def disarm_cart(facts: Facts, table: Table) -> None:
    """The cart was emptied: cart, checkout and payment rules have nothing left to remind of."""
    if facts.armed is not None and table.model.rules[facts.armed.rule].cart != "empty":
        facts.armed = None


def fires_at(facts: Facts, table: Table) -> int | None:
    """When the armed rule fires if nothing more happens: due, but never within the gap of the last active event,
    when the caps let it through, and after quiet hours."""
    armed = facts.armed
    if armed is None:
        return None
    at = max(armed.due, facts.active_at + table.gap)
    if table.model.caps:
        at = max(at, capped_until(facts, table))
    quiet = table.model.quiet_hours
    return at if quiet is None else after_quiet(at, quiet)


def fire(facts: Facts, at: int, table: Table, out: list[Happening]) -> None:
    """The armed rule's time has come: judge cart and consent as they are now, and say it or withhold it."""
    armed = facts.armed
    if armed is None:
        return
    facts.armed = None
    spec = table.model.rules[armed.rule]
    cart.expire(facts, at, table)
    if (spec.cart == "empty" and facts.cart) or (spec.cart == "filled" and not facts.cart):
        return
    only_if = table.only_if[armed.rule]
    if only_if is not None and not only_if.holds(Moment(facts, present(facts), None, at)):
        return
    if facts.cart and spec.cart != "empty":
        version = cart.version(facts)
        if any(known == version and significance >= spec.significance for known, significance in facts.dropped):
            return
        facts.dropped = [*facts.dropped[-19:], (version, spec.significance)]
    consent = facts.consent_marketing
    allowed = table.settings.consent_default if consent is None else consent[2]
    message = DropOff(
        id=derive(facts.person, spec.id, armed.event_id, armed.at),
        kind="dropped_off",
        reason="payment_failed" if armed.failed else spec.id,
        armed_at=armed.at,
        due_at=armed.due,
        detected_at=at,
        cart=cart.described(facts),
        session_id=facts.session.id if facts.session else facts.previous_session_id,
        **about(facts, None, at, table),
    )
    why = None if allowed and at - armed.due <= LONGEST_DEFERRAL else "deferred_too_long" if allowed else "consent"
    if why is None and table.model.caps:
        note_sent(facts, Sent(at, spec.id), table, out)
    out.append(Fired(message, armed.rule, armed.names, armed.session_id, armed.event_id, armed.added_at, why))


def about(facts: Facts, event: Event | None, now: int, table: Table) -> dict[str, Any]:
    """The fields that every message on the drop-off topic says of the person, as they are `now`; `event` is the one
    that brings it about, if any does."""
    journey = facts.tracks[0].journey
    consent = {}
    if facts.consent_marketing is not None:
        consent["marketing"] = facts.consent_marketing[2]
    if facts.consent_analytics is not None:
        consent["analytics"] = facts.consent_analytics[2]
    return {
        "person_id": facts.person,
        "customer_id": facts.customer_id,
        "anonymous_ids": facts.anonymous_ids,
        "model": table.model.id,
        "journey_id": journey.id if journey else None,
        "phase": table.courses[0].phase_ids[journey.path[-1]] if journey and journey.path else None,
        "last_event": LastEvent(facts.active_id, facts.active_type, facts.active_at),
        "last_activity_at": facts.active_at,
        "channels": list(journey.channels) if journey else [],
        "campaign": journey.campaign if journey else None,
        "segments": segments.of(facts, present(facts), event, now, table),
        "consent": consent,
    }


def ended_by(dropoff: SaidDropOff, ordered: Ordered, table: Table) -> str | None:
    """How an order ends a drop-off that was said: `cancelled`, `recovered` or not at all."""
    ts = ordered.ts
    if ts >= dropoff.detected_at:
        return "recovered" if ts - dropoff.detected_at <= table.model.recovery_window else None
    if ts >= dropoff.armed_at:
        return "cancelled"
    if dropoff.rule >= 0 and is_after_purchase(table.model.rules[dropoff.rule]):
        return None
    if same_names(dropoff.names, ordered.names):
        return "cancelled"
    if dropoff.rule < 0:
        return None  # a rule that the model has no longer
    spec = table.model.rules[dropoff.rule]
    same_session = dropoff.session_id is not None and dropoff.session_id == ordered.session_id
    if not same_session:
        return None
    without_ids = CART_CHANGED not in spec.when and dropoff.names == NO_NAMES
    return "cancelled" if spec.cart == "empty" or (without_ids and dropoff.added_at <= ts) else None


def is_after_purchase(spec: Rule) -> bool:
    """Whether only what speaks of something bought arms the rule: it may well name a completed order."""
    return AFTER_PURCHASE.issuperset(spec.when)


Names = tuple[str | None, str | None, str | None]
NO_NAMES: Names = (None, None, None)


def names_of(event: Event) -> Names:
    """The order, cart and checkout ids by which an event can belong to an order."""
    return (event.order_id, event.cart_id, event.checkout_id)


def same_names(one: Names, other: Names) -> bool:
    """Whether two events share an order, cart or checkout id."""
    return any(a is not None and a == b for a, b in zip(one, other, strict=True))
