"""Facts that are never too late: an order, refund or consent older than the allowed lateness still counts.

They disarm, cancel, recover and count, but rewrite no session and no phase: those were settled.
"""

from __future__ import annotations

import copy

from tracker.domain import cart, notices, orders, rules, triggers
from tracker.domain.events import Event
from tracker.domain.outputs import Happening
from tracker.domain.state import Facts
from tracker.domain.table import Table, TypeRule


def adds(facts: Facts, event: Event, rule: TypeRule) -> bool:
    """Whether this order or refund was not counted before, or brings something that an order lacks."""
    if not rule.orders:
        return not orders.refund_known(facts, event)
    return not orders.known(facts, event) or orders.complete(copy.deepcopy(facts), event)


def apply(facts: Facts, event: Event, table: Table, out: list[Happening]) -> None:
    """Count the event's lasting facts in `facts`, whose events are all younger or settled."""
    rule = table.rule_of(event.type)
    consent = event.consent
    if consent is not None:
        stamp = (event.ts, event.event_id)
        if consent.marketing is not None and (facts.consent_marketing or ())[:2] < stamp:
            facts.consent_marketing = (*stamp, consent.marketing)
        if consent.analytics is not None and (facts.consent_analytics or ())[:2] < stamp:
            facts.consent_analytics = (*stamp, consent.analytics)
    if rule.takes_back:
        triggers.take_back_late(facts, event, rule, table)
    if rule.refund:
        orders.refund(facts, event)
    if rule.orders and orders.known(facts, event):
        orders.complete(facts, event)
    elif rule.orders:
        heard = event.flags is not None and notices.NOTICE in event.flags
        if heard:
            notices.count(facts, event, table, out)
        else:
            orders.count(facts, event, table, None, out)
        names = (orders.order_key(event), event.cart_id, event.checkout_id)
        armed = facts.armed
        if armed is not None and (
            armed.at <= event.ts
            or (rules.same_names(armed.names, names) and not rules.is_after_purchase(table.model.rules[armed.rule]))
        ):
            facts.armed = None
        if facts.cart_touched <= event.ts:
            (notices if heard else cart).take_out(facts, event)
