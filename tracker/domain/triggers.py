"""Triggers: what arms one, what takes it back, and when it fires. Any number wait for a person, one per rule and key.

Where the design leaves room:

- An event first takes back what it is in the `unless` of, then arms: one in both begins the wait again.
- An event belongs to the cart or order it names; one that names none to the person's cart, or to the order that it
  would move the journey of (see `journeys.owner`).
- The second copy of an order takes nothing back and arms only what its time is asked for (`at`, `yearly`): it may be
  the copy that knows it. Events that lack that property neither arm nor restart the wait.
- A moment that has passed when an event names it fires at once, if it is not too long ago to be sent at all.
- What comes every year and waits for that very day already is left as it is; it arms itself again when it fires.
- What must hold when it fires (`only_if`, `cart`) and does not ends it without a word; missing consent, or caps and
  quiet hours that hold it back for over seven days, end it withheld and counted. `again` may hold it for longer.
- Messages about something bought (`service`) neither wait for caps and quiet hours nor count in caps.
"""

from __future__ import annotations

from calendar import isleap
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from tracker.domain import cart, journeys
from tracker.domain.events import Event
from tracker.domain.ids import derive
from tracker.domain.limits import LONGEST_DEFERRAL, after_quiet, capped_until, note_sent
from tracker.domain.model import Rule
from tracker.domain.orders import order_key
from tracker.domain.outputs import Bound, Happening, Trigger, TriggerFired
from tracker.domain.predicates import Moment
from tracker.domain.rules import about, forbidden, present
from tracker.domain.state import MAX_PENDING, Facts, Order, Pending, Sent
from tracker.domain.table import Table, TriggerRule, TypeRule
from tracker.domain.units import FAR, MONEY

FURTHEST = 10 * 366 * 86_400_000
"""A moment that an event names is believed within so many ms of the event."""
MAX_TEXT = 512
"""Characters of a text that a trigger carries along."""


def take(
    facts: Facts,
    event: Event,
    rule: TypeRule,
    table: Table,
    out: list[Happening],
    changed: bool,
    first: bool,
    cart_id: str | None,
    copy: bool,
) -> None:
    """Let an event that is folded already take back and arm triggers. `changed`: it changed the cart, which had
    `cart_id` before; `first`: nobody had named the customer before; `copy`: its order was counted before."""
    before = facts.pending
    if not copy:
        for trigger in rule.takes_back:
            _take_back(facts, trigger.spec, _key(trigger.spec, facts, event, rule, cart_id))
    arming = list(rule.triggers)
    if changed:
        arming += table.cart_triggers
    if first:
        arming += table.first_triggers
    for trigger in arming:
        if not copy or trigger.spec.at or trigger.spec.yearly:
            _arm(facts, event, rule, trigger, table, _key(trigger.spec, facts, event, rule, cart_id))
    if facts.pending is before:
        return
    if len(facts.pending) > MAX_PENDING:
        furthest = max(facts.pending, key=_order)
        facts.pending = [pending for pending in facts.pending if pending is not furthest]
        out.append(Bound("pending_triggers"))
    facts.wakes = next_due(facts, table)


def take_back_late(facts: Facts, event: Event, rule: TypeRule, table: Table) -> None:
    """An order, refund or cancellation older than the allowed lateness takes back what had been armed by then."""
    for trigger in rule.takes_back:
        key = _key(trigger.spec, facts, event, rule, None)
        facts.pending = [
            pending
            for pending in facts.pending
            if pending.rule != trigger.spec.id or pending.key != key or pending.at > event.ts
        ]
    facts.wakes = next_due(facts, table)


def next_due(facts: Facts, table: Table) -> int | None:
    """When the first trigger that waits fires, None if none does."""
    soonest = FAR
    for pending in facts.pending:
        soonest = min(soonest, _fires_at(facts, pending, table))
    return None if soonest == FAR else soonest


def fire(facts: Facts, at: int, table: Table, out: list[Happening]) -> None:
    """The time of the first trigger has come: judge it by how things are now. Of several the earliest due is first."""
    ripe = [pending for pending in facts.pending if _fires_at(facts, pending, table) <= at]
    pending = min(ripe, key=_order)
    facts.pending = [other for other in facts.pending if other is not pending]
    trigger = table.triggers.get(pending.rule)
    if trigger is not None:
        spec = trigger.spec
        if not spec.times or facts.times.get(spec.id, 0) < spec.times:
            if spec.yearly is not None and pending.day is not None:
                again = _anniversary(pending.due, *pending.day, spec, table)
                facts.pending = [*facts.pending, msgspec.structs.replace(pending, due=again)]
            _judge(facts, pending, trigger, at, table, out)
    facts.wakes = next_due(facts, table)


def unite(own: Facts, other: Facts, table: Table) -> None:
    """What waits for the customer and for the anonymous person together: of one rule and key the later arming stays,
    of a group the most significant; not what an order of either takes back, nor what was sent to either."""
    sent = {(known.rule, known.key, known.due): known for known in [*other.sent, *own.sent]}
    own.sent = sorted(sent.values(), key=lambda known: known.at)
    own.times = {
        rule: own.times.get(rule, 0) + other.times.get(rule, 0) for rule in dict.fromkeys([*own.times, *other.times])
    }
    united: dict[tuple[str, str], Pending] = {}
    for pending in sorted([*own.pending, *other.pending], key=lambda pending: (pending.at, pending.event_id)):
        trigger = table.triggers.get(pending.rule)
        if trigger is None or _ordered(pending, trigger.spec, own.orders):
            continue
        if (pending.rule, pending.key, pending.due) in sent:
            if trigger.spec.yearly is None or pending.day is None:
                continue
            pending.due = _anniversary(pending.due, *pending.day, trigger.spec, table)
        united[pending.rule, pending.key] = pending
    own.pending = []
    for pending in united.values():
        _join_group(own, table.triggers[pending.rule].spec, pending, table)
    own.pending = sorted(own.pending, key=_order)[:MAX_PENDING]
    own.wakes = next_due(own, table)


def _order(pending: Pending) -> tuple[int, str, str]:
    return pending.due, pending.rule, pending.key


def _key(spec: Rule, facts: Facts, event: Event, rule: TypeRule, cart_id: str | None) -> str:
    if spec.key == "cart":
        return event.cart_id or facts.cart_id or cart_id or ""
    if spec.key == "order":
        if event.order_id is not None or rule.orders:
            return order_key(event)
        journey = journeys.owner(facts, facts.tracks[0], event)
        return journey.order_id or "" if journey is not None else ""
    return ""


def _take_back(facts: Facts, spec: Rule, key: str) -> None:
    kept = [pending for pending in facts.pending if pending.rule != spec.id or pending.key != key]
    if len(kept) != len(facts.pending):
        facts.pending = kept


def _arm(facts: Facts, event: Event, rule: TypeRule, trigger: TriggerRule, table: Table, key: str) -> None:
    spec = trigger.spec
    if (rule.checkout or rule.cart) and forbidden(facts, event, rule, browsing=False):
        return
    if spec.cart != "any":
        cart.expire(facts, event.ts, table)
        if bool(facts.cart) != (spec.cart == "filled"):
            return
    if spec.times and facts.times.get(spec.id, 0) >= spec.times:
        return
    where = trigger.where
    if where is not None and not where.holds(Moment(facts, present(facts), event, event.ts)):
        return
    properties = event.properties or {}
    due, day = event.ts + spec.wait, None
    if spec.yearly is not None:
        day = _day(properties.get(spec.yearly))
        if day is None:
            return
        for waiting in facts.pending:
            if waiting.rule == spec.id and waiting.key == key and waiting.day == day:
                return
        due = _anniversary(event.ts, *day, spec, table)
    elif spec.at is not None:
        moment = _moment(properties.get(spec.at))
        if moment is None:
            return
        due = moment + spec.wait - spec.before
        if abs(due - event.ts) > FURTHEST:
            return
    if any(sent.rule == spec.id and sent.key == key and sent.due == due for sent in facts.sent):
        return
    data = {name: _short(properties[name]) for name in spec.data if _is_plain(properties.get(name))}
    _join_group(facts, spec, Pending(spec.id, key, event.ts, due, event.event_id, day, data), table)


def _join_group(facts: Facts, spec: Rule, pending: Pending, table: Table) -> None:
    """Let it wait in place of the one of the same rule and key, and of those of its group, unless one of them is more
    significant."""
    kept = []
    for waiting in facts.pending:
        if waiting.rule == pending.rule and waiting.key == pending.key:
            continue
        known = table.triggers.get(waiting.rule)
        if spec.group is not None and known is not None and known.spec.group == spec.group:
            if known.spec.significance > spec.significance:
                return
            continue
        kept.append(waiting)
    facts.pending = [*kept, pending]


def _fires_at(facts: Facts, pending: Pending, table: Table) -> int:
    wanted = _wanted_at(facts, pending, table)
    return min(_ready_at(wanted, facts, pending, table), max(wanted + LONGEST_DEFERRAL, pending.at))


def _wanted_at(facts: Facts, pending: Pending, table: Table) -> int:
    """When it is due, and the last one of its kind is as old as the rule's `again` wants it."""
    at = pending.due
    trigger = table.triggers.get(pending.rule)
    if trigger is not None and trigger.spec.again:
        for sent in facts.sent:
            if sent.rule == pending.rule and sent.key == pending.key and not sent.withheld:
                at = max(at, sent.at + trigger.spec.again)
    return at


def _ready_at(wanted: int, facts: Facts, pending: Pending, table: Table) -> int:
    """When nothing defers any more what is `wanted` at that time; it may be too late then."""
    at = max(wanted, pending.at)
    trigger = table.triggers.get(pending.rule)
    if trigger is None or trigger.spec.service:
        return at
    if table.model.caps:
        at = max(at, capped_until(facts, table))
    quiet = table.model.quiet_hours
    return at if quiet is None else after_quiet(at, quiet)


def _judge(facts: Facts, pending: Pending, trigger: TriggerRule, at: int, table: Table, out: list[Happening]) -> None:
    spec = trigger.spec
    cart.expire(facts, at, table)
    if spec.cart != "any" and bool(facts.cart) != (spec.cart == "filled"):
        return
    only_if = trigger.only_if
    if only_if is not None and not only_if.holds(Moment(facts, present(facts), None, at)):
        return
    consent = facts.consent_marketing
    allowed = spec.service or (table.settings.consent_default if consent is None else consent[2])
    why = None if allowed else "consent"
    if why is None:
        wanted = _wanted_at(facts, pending, table)
        if _ready_at(wanted, facts, pending, table) > wanted + LONGEST_DEFERRAL:
            why = "deferred_too_long"
    order = _order_of(facts, pending.key) if spec.key == "order" else None
    message = Trigger(
        id=derive(facts.person, spec.id, pending.key, pending.due),
        rule=spec.id,
        armed_at=pending.at,
        due_at=pending.due,
        detected_at=at,
        cart=cart.described(facts),
        session_id=facts.session.id if facts.session else facts.previous_session_id,
        cart_id=pending.key or None if spec.key == "cart" else None,
        order_id=pending.key or None if spec.key == "order" else None,
        value=order.value / MONEY if order is not None else None,
        currency=order.currency or None if order is not None else None,
        data=pending.data,
        **about(facts, None, at, table),
    )
    sent = Sent(at, spec.id, pending.key, pending.due, why is None and not spec.service, why is not None)
    note_sent(facts, sent, table, out)
    if spec.times and why is None:
        facts.times = {**facts.times, spec.id: facts.times.get(spec.id, 0) + 1}
    out.append(TriggerFired(message, pending.key, trigger.ends_with_order, why))


def _order_of(facts: Facts, key: str) -> Order | None:
    for order in facts.orders:
        if order.id == key:
            return order
    return None


def _ordered(pending: Pending, spec: Rule, orders: list[Order]) -> bool:
    """Whether one of these orders, made since the arming, takes the trigger back."""
    for order in orders:
        if order.kind not in spec.unless or order.ts < pending.at:
            continue
        if order.ts == pending.at and order.kind in spec.when:
            continue
        if spec.key == "person" or pending.key == (order.id if spec.key == "order" else order.names[1] or pending.key):
            return True
    return False


def _moment(given: Any) -> int | None:
    """A time as ms UTC, from that or RFC 3339 with a zone; None for anything else."""
    if isinstance(given, bool):
        return None
    if isinstance(given, int):
        return given
    if isinstance(given, float) and given.is_integer():
        return int(given)
    if not isinstance(given, str) or len(given) > MAX_TEXT:
        return None
    try:
        moment = datetime.fromisoformat(given)
        return None if moment.tzinfo is None else (moment - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _day(given: Any) -> tuple[int, int] | None:
    """(month, day) of YYYY-MM-DD or MM-DD; None for anything else."""
    if not isinstance(given, str):
        return None
    text = given if len(given) != 5 else f"2000-{given}"  # a leap year: it may be the 29 February
    if len(text) != 10 or text[4] != "-" or text[7] != "-":
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day.month, day.day


def _anniversary(after: int, month: int, day: int, spec: Rule, table: Table) -> int:
    """The first time after `after` (ms) that the rule's hour of that day is reached in the model's zone, `wait` and
    `before` counted in; in other years the 29 February is the 28."""
    zone = ZoneInfo(table.model.zone)
    year = datetime.fromtimestamp((after + spec.before - spec.wait) / 1000, zone).year
    while True:
        there_is = 28 if (month, day) == (2, 29) and not isleap(year) else day
        local = datetime(year, month, there_is, spec.hour, tzinfo=zone)
        due = round(local.timestamp() * 1000) + spec.wait - spec.before
        if due > after:
            return due
        year += 1


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _short(value: Any) -> Any:
    return value[:MAX_TEXT] if isinstance(value, str) else value
