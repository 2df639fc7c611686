"""Orders: each counted once for good, whatever happens to it afterwards is a fact of that order."""

from __future__ import annotations

from tracker.domain import remembered
from tracker.domain.events import Event
from tracker.domain.ids import short_hash
from tracker.domain.outputs import DropOff, Happening, LastEvent, Ordered
from tracker.domain.rules import about
from tracker.domain.state import MAX_ORDERS, Facts, Order, Track
from tracker.domain.table import Table
from tracker.domain.units import MONEY, worth


def order_key(event: Event) -> str:
    """What makes an order one: its `order_id`, or the event's id where the dialect has none."""
    return event.order_id or event.event_id


def known(facts: Facts, event: Event) -> bool:
    """Whether this order was counted before (then this copy is passive)."""
    return short_hash("order:" + order_key(event)) in facts.order_ids


def count(facts: Facts, event: Event, table: Table, session_id: str | None, out: list[Happening]) -> Order:
    """Count a new order: lifetime facts, and what it means for drop-offs already said."""
    key = order_key(event)
    facts.order_ids += short_hash("order:" + key)
    order = Order(
        id=key,
        ts=event.ts,
        value=_value(event),
        currency=event.currency or facts.currency or "",
        products=sorted({item.product_id for item in event.items or []}),
        session_id=session_id,
        names=(key, event.cart_id, event.checkout_id),
        kind=event.type,
    )
    facts.orders.append(order)
    if len(facts.orders) > MAX_ORDERS:
        del facts.orders[0]
    facts.order_count += 1
    earn(facts, order, order.value)
    out.append(
        Ordered(
            order_id=key,
            ts=event.ts,
            value=order.value / MONEY,
            currency=order.currency,
            session_id=session_id,
            names=order.names,
            message=_end_message(facts, event, table, session_id),
        )
    )
    take_early(facts, order)
    return order


def take_early(facts: Facts, order: Order) -> None:
    """Refunds and cancellations that came before their order."""
    for early in [refund for refund in facts.early_refunds if refund[0] == order.id]:
        facts.early_refunds.remove(early)
        give_back(facts, order, early[1])


def complete(facts: Facts, event: Event) -> bool:
    """A second copy of a known order brings what the first one lacked; answers whether it had any of that."""
    key = order_key(event)
    for order in facts.orders:
        if order.id == key:
            names = (key, event.cart_id, event.checkout_id)
            products = sorted({item.product_id for item in event.items or []})
            return fill(facts, order, _value(event), event.currency, names, products)
    return False


def fill(
    facts: Facts,
    order: Order,
    value: int,
    currency: str | None,
    names: tuple[str | None, str | None, str | None],
    products: list[str],
) -> bool:
    """Another copy of an order knows its value (1/10000 of the currency's unit), its currency, its cart and checkout or
    its products: what is known stays. Answers whether anything is new."""
    new = False
    if currency and not order.currency:
        left = order.value - order.refunded
        earn(facts, order, -left)
        order.currency = currency
        earn(facts, order, left)
        new = True
    if order.value == 0 and value and not order.cancelled:
        order.value = value
        order.currency = currency or order.currency
        earn(facts, order, value)
        new = True
    key, cart_id, checkout_id = order.names
    if (cart_id is None and names[1] is not None) or (checkout_id is None and names[2] is not None):
        order.names = (key, cart_id or names[1], checkout_id or names[2])
        new = True
    if products and not order.products:
        order.products = products
        new = True
    return new


def refund(facts: Facts, event: Event) -> None:
    """A refund or cancellation leaves order count and revenue; each counts once, by its own id."""
    mark = _refund_mark(event)
    if event.order_id is None or mark in facts.order_ids:
        return
    facts.order_ids += mark
    amount = None if event.type == "order_cancelled" or event.value is None else abs(round(event.value * MONEY))
    for order in facts.orders:
        if order.id == event.order_id:
            if amount is not None and event.currency and order.currency and event.currency != order.currency:
                return  # sums of different currencies are never taken from each other
            give_back(facts, order, amount)
            return
    facts.early_refunds = [*facts.early_refunds[-MAX_ORDERS:], (event.order_id, amount)]


def refund_known(facts: Facts, event: Event) -> bool:
    """Whether this refund or cancellation was counted before."""
    return _refund_mark(event) in facts.order_ids


def lifetime(facts: Facts) -> Facts:
    """What outlives a long silence: orders, revenue, consent, membership, the running numbers of ids, and triggers
    that wait (birthdays do, for good) with the limits of what may be sent."""
    return Facts(
        person=facts.person,
        customer_id=facts.customer_id,
        anonymous_ids=facts.anonymous_ids,
        last=facts.last,
        last_id=facts.last_id,
        tracks=[Track(journeys=track.journeys) for track in facts.tracks],
        ended=facts.ended,
        sessions=facts.sessions,
        currency=facts.currency,
        order_count=facts.order_count,
        revenue=facts.revenue,
        order_ids=facts.order_ids,
        consent_marketing=facts.consent_marketing,
        consent_analytics=facts.consent_analytics,
        segments=facts.segments,
        past=remembered.lasting(facts),
        pending=facts.pending,
        wakes=facts.wakes,
        sent=facts.sent,
        times=facts.times,
    )


def _refund_mark(event: Event) -> bytes:
    return short_hash(f"{event.type}:{event.event_id}")


def give_back(facts: Facts, order: Order, amount: int | None) -> None:
    """Take `amount` (1/10000 of the currency's unit; None: all that is left) of an order out of the revenue; an order
    of which nothing is left is no order any more."""
    left = order.value - order.refunded
    given = left if amount is None else min(amount, left)
    order.refunded += given
    if order.refunded >= order.value and not order.cancelled:
        order.cancelled = True
        facts.order_count -= 1
    earn(facts, order, -given)


def earn(facts: Facts, order: Order, amount: int) -> None:
    """Add to the revenue in the order's currency."""
    if amount:
        facts.revenue = {**facts.revenue, order.currency: facts.revenue.get(order.currency, 0) + amount}


def _value(event: Event) -> int:
    if event.value is not None:
        return round(event.value * MONEY)
    return worth(event.items or [])


def _end_message(facts: Facts, event: Event, table: Table, session_id: str | None) -> DropOff:
    fields = about(facts, event, event.ts, table)
    fields["last_event"] = LastEvent(event.event_id, event.type, event.ts)
    fields["last_activity_at"] = max(facts.active_at, event.ts)
    return DropOff(
        id="",
        kind="recovered",
        reason="",
        armed_at=0,
        due_at=0,
        detected_at=0,
        session_id=session_id,
        **fields,
    )
