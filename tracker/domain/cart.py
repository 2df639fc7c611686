"""The cart: added quantities sum, a snapshot replaces everything, an order takes whole lines out."""

from __future__ import annotations

import msgspec

from tracker.domain.events import Event, Item
from tracker.domain.ids import derive
from tracker.domain.outputs import CartContent, CartLine
from tracker.domain.state import MAX_CART_LINES, Facts
from tracker.domain.table import Cart, Table
from tracker.domain.units import MONEY, worth

Content = frozenset[tuple[str, str | None, int]]


def content(lines: list[Item]) -> Content:
    """A cart's version: its set of (product, sku, quantity)."""
    return frozenset((line.product_id, line.sku, line.quantity) for line in lines)


def version(facts: Facts) -> str:
    """The version's name, by which a drop-off of this cart is remembered."""
    lines = sorted((line.product_id, line.sku or "", line.quantity) for line in facts.cart)
    return derive(facts.cart_id, *lines)[:16]


def expire(facts: Facts, now: int, table: Table) -> None:
    """A cart untouched for the model's `cart_ttl` counts as empty."""
    if facts.cart and now - facts.cart_touched >= table.model.cart_ttl:
        facts.cart = []
        facts.cart_id = None


def apply(facts: Facts, event: Event, operation: Cart) -> tuple[bool, bool, bool]:
    """Change the cart; answers (content changed, something was added, the cart was emptied).

    An event of another cart (`cart_id`) begins with that one: the person's cart is the one last touched. What a
    member of an account adds is added, but lies in no cart of the account's."""
    before = facts.cart
    items = event.items
    if operation is Cart.ELSEWHERE:
        facts.currency = event.currency or facts.currency
        return False, event.type == "product_added" and bool(items), False
    another = event.cart_id is not None and facts.cart_id is not None and event.cart_id != facts.cart_id
    if another:
        before = []
    elif before and operation is Cart.FILL_IF_EMPTY:
        facts.cart_id = event.cart_id or facts.cart_id
        facts.currency = event.currency or facts.currency
        return False, False, False
    if operation is Cart.EMPTY:
        after: list[Item] = []
    elif operation is Cart.SNAPSHOT:
        after = before if items is None else _merge([], items)
    elif operation is Cart.REMOVE:
        after = _without(before, items or [])
    else:
        after = _merge(before, items or [])
    facts.cart_touched = event.ts
    if event.currency:
        facts.currency = event.currency
    if after is before and not another:
        changed = added = False
    elif operation is Cart.ADD and not another:
        changed = added = True  # quantities only grow
    else:
        old, new = content(facts.cart), content(after)
        changed = old != new
        added = changed and _added(before, after)
    facts.cart = after
    if not after:
        facts.cart_id = None
    elif event.cart_id:
        facts.cart_id = event.cart_id
    return changed, added, operation is Cart.EMPTY or (bool(before) and not after)


def take_out(facts: Facts, event: Event) -> None:
    """What an order names leaves the cart, in whole lines; an order that names nothing takes it all, one of
    another cart takes nothing."""
    items = event.items
    if event.cart_id is not None and facts.cart_id is not None and event.cart_id != facts.cart_id:
        return
    if not items:
        facts.cart = []
    else:
        bought = {(item.product_id, item.sku) for item in items}
        products = {item.product_id for item in items if item.sku is None}
        facts.cart = [
            line
            for line in facts.cart
            if (line.product_id, line.sku) not in bought
            and line.product_id not in products
            and not (line.sku is None and any(line.product_id == product for product, _ in bought))
        ]
    if not facts.cart:
        facts.cart_id = None


def described(facts: Facts) -> CartContent | None:
    """The cart as outputs show it, or None when it is empty."""
    if not facts.cart:
        return None
    lines = [
        CartLine(line.product_id, line.quantity, line.price, line.sku, line.name, line.category) for line in facts.cart
    ]
    return CartContent(items=lines, value=worth(facts.cart) / MONEY, currency=facts.currency, cart_id=facts.cart_id)


def _merge(lines: list[Item], items: list[Item]) -> list[Item]:
    """The lines with the items added; the very same list where that changes nothing."""
    merged = lines
    for item in items:
        if item.quantity <= 0:
            continue
        if merged is lines:
            merged = list(lines)
        for place, line in enumerate(merged):
            if line.product_id == item.product_id and line.sku == item.sku:
                merged[place] = msgspec.structs.replace(
                    line,
                    quantity=line.quantity + item.quantity,
                    price=line.price if item.price is None else item.price,
                    name=item.name or line.name,
                    category=item.category or line.category,
                )
                break
        else:
            if len(merged) < MAX_CART_LINES:
                merged.append(item)
    return merged


def _without(lines: list[Item], items: list[Item]) -> list[Item]:
    left = list(lines)
    for item in items:
        for place, line in enumerate(left):
            if line.product_id == item.product_id and (item.sku is None or line.sku in (item.sku, None)):
                if line.quantity > item.quantity:
                    left[place] = msgspec.structs.replace(line, quantity=line.quantity - item.quantity)
                else:
                    del left[place]
                break
    return left


def _added(before: list[Item], after: list[Item]) -> bool:
    had = {(line.product_id, line.sku): line.quantity for line in before}
    return any(line.quantity > had.get((line.product_id, line.sku), 0) for line in after)
