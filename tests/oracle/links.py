"""Whom events make one person."""

from __future__ import annotations

from collections.abc import Iterable

from tracker.domain.events import Event


def joined(events: Iterable[Event]) -> set[str]:
    """The visitors who are the one customer that these events name: whoever is named in one event with them, or names
    an order, a cart or a checkout that they name; and so on, for what such a visitor names is theirs as well."""
    told = list(events)
    visitors: set[str] = set()
    while True:
        theirs = [one for one in told if one.customer_id is not None or one.anonymous_id in visitors]
        named = {name for one in theirs for name in names(one)}
        more = {one.anonymous_id for one in told if one in theirs or not named.isdisjoint(names(one))}
        more.discard(None)
        if more <= visitors:
            return visitors
        visitors |= {visitor for visitor in more if visitor is not None}


def names(event: Event) -> set[tuple[str, str | None]]:
    """What an event names, by kind."""
    named = {("order", event.order_id), ("cart", event.cart_id), ("checkout", event.checkout_id)}
    return {name for name in named if name[1] is not None}
