"""What an account tells its members: that one of them ordered, or that an order was given back.

A notice is a fact of the account, not something that the member did: it disarms what an order disarms, counts among
their orders, and ends drop-offs. It touches no session, and the cart only where the order names that very cart.
"""

from __future__ import annotations

from tracker.domain import cart, journeys, orders, triggers
from tracker.domain.events import Event
from tracker.domain.outputs import Happening, Ordered
from tracker.domain.state import Facts
from tracker.domain.table import Table, TypeRule

NOTICE = "account"
"""The flag of such an event."""


def hear(facts: Facts, event: Event, rule: TypeRule, table: Table, out: list[Happening]) -> None:
    """Fold a notice."""
    if rule.refund:
        orders.refund(facts, event)
    if rule.orders and orders.known(facts, event):
        return
    if rule.takes_back:
        triggers.take_back_late(facts, event, rule, table)
    if not rule.orders:
        return
    count(facts, event, table, out)
    facts.armed = None
    take_out(facts, event)
    for track, course, steps in zip(facts.tracks, table.courses, rule.steps, strict=False):
        if track.journey is not None and steps.converts:
            journeys.convert(facts, track, event.order_id, event, steps, course, table, out, None)


def count(facts: Facts, event: Event, table: Table, out: list[Happening]) -> None:
    """Count a colleague's order; what it ends of this member is not worth the order: its value counts once."""
    heard: list[Happening] = []
    orders.count(facts, event, table, None, heard)
    for happening in heard:
        if isinstance(happening, Ordered):
            happening.message.last_activity_at = facts.active_at
            happening.colleague = True
    out.extend(heard)


def take_out(facts: Facts, event: Event) -> None:
    """A cart that several share is bought by one of them."""
    if event.cart_id is not None and event.cart_id == facts.cart_id:
        cart.take_out(facts, event)
