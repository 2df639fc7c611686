"""WooCommerce's webhooks: orders and customers as its REST API (wc/v3) writes them.

https://woocommerce.github.io/woocommerce-rest-api-docs/#webhooks. Topics are only `order.created`, `order.updated` and
the like: what happened to an order is read off its status, and ids are made of what happened to what, so that a status
that is seen again is the same event.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from html import unescape
from typing import Any

from tracker.domain.events import Campaign, Event, Item
from tracker.errors import BadEvent
from tracker.wire.dialects.common import (
    code,
    content_id,
    email_id,
    inner,
    json_object,
    moment,
    number,
    rows,
    snake,
    text,
    text_id,
    whole,
)
from tracker.wire.dialects.dialect import Fields, Webhook

HEADER = "x-wc-webhook-topic"
STATUSES: Mapping[str, tuple[str, ...]] = {
    "checkout-draft": ("checkout_started",),
    "pending": ("checkout_step_completed",),
    "on-hold": ("order_completed",),
    "processing": ("order_completed",),
    "completed": ("order_completed", "order_shipped"),
    "shipped": ("order_completed", "order_shipped"),
    "delivered": ("order_completed", "order_delivered"),
    "cancelled": ("order_cancelled",),
    "trash": ("order_cancelled",),
    "refunded": ("order_refunded",),
    "failed": ("payment_failed",),
}
"""What has happened to an order of this status; the other statuses, which plug-ins add, are news of the order."""
SUBSCRIPTIONS: Mapping[str, str] = {
    "active": "subscription_started",
    "cancelled": "subscription_cancelled",
    "pending-cancel": "subscription_cancelled",
    "expired": "subscription_cancelled",
}
TIMES: Mapping[str, tuple[str, ...]] = {
    "order_completed": ("date_paid", "date_created"),
    "order_shipped": ("date_completed", "date_modified"),
    "checkout_started": ("date_created",),
    "subscription_started": ("start_date", "date_created"),
}
"""When each was, the first that is there; of anything else it is `date_modified`."""
ONCE = frozenset({"order_completed", "order_shipped", "order_delivered", "order_cancelled", "checkout_started"})
"""Happen once to an order."""
_PING = re.compile(rb"webhook_id=\d+")
"""The body by which a new webhook's address is tried."""
PROPERTIES = "number status payment_method created_via cart_hash discount_total shipping_total".split()
ATTRIBUTION = "_wc_order_attribution_"
VISITOR = frozenset({"anonymous_id", "ajs_anonymous_id", "rl_anonymous_id"})
"""Meta data, in snake case, into which a shop may put the browser's own id."""


class WooCommerce(Webhook):
    """WooCommerce's webhooks, with their headers or without."""

    name = "woocommerce"
    reads = "WooCommerce's webhooks: orders and customers as its REST API writes them."
    header = HEADER

    def recognises(self, fields: Fields) -> bool:
        """See `Dialect`."""
        if "date_created_gmt" not in fields:
            return False
        return "order_key" in fields or ("is_paying_customer" in fields and "billing" in fields)

    def delivered(self, value: bytes, stamp: int, headers: Mapping[str, str]) -> list[Event]:
        """See `Webhook`."""
        if _PING.fullmatch(value):
            return []
        payload = json_object(value)
        resource, _, what = headers.get(HEADER, "").strip().lower().partition(".")
        if resource == "customer" or (not resource and "is_paying_customer" in payload):
            return [] if what == "deleted" else [_customer(payload, what, stamp)]
        if resource == "order" and what == "deleted":
            order = _own_id(payload)
            gone = Event(_id("order_cancelled", order), "order_cancelled", stamp, order_id=order)
            gone.anonymous_id, gone.flags = _order_visitor(order), moment(stamp)[1]
            return [gone]
        if "order_key" in payload:
            return _order(payload, what, stamp)
        if resource:  # coupons, products, and what a shop's own hooks pass on
            return []
        raise BadEvent(
            "missing_type", f"header {HEADER} is missing, and the fields do not tell: {sorted(payload)!r:.200}"
        )


def _order(order: dict[str, Any], what: str, stamp: int) -> list[Event]:
    status = (text(order.get("status"), "status") or "").removeprefix("wc-")
    own = _own_id(order)
    refunds = rows(order.get("refunds"), "refunds")
    if "billing_period" in order:
        kinds: tuple[str, ...] = (SUBSCRIPTIONS.get(status, "order_updated"),)
        order_id = _given_id(order.get("parent_id"), "parent_id") or own
    else:
        kinds, order_id = STATUSES.get(status, ("order_updated",)), own
        if what == "restored":
            kinds = ("order_updated",)
        elif kinds == ("order_refunded",) and refunds:
            kinds = ()  # each of them is told below
    events = [_event(order, kind, own, order_id, status, stamp) for kind in kinds]
    for place, refund in enumerate(refunds):
        which = text_id(refund.get("id"), f"refunds[{place}].id") or f"refunds[{place}]"
        event = _event(order, "order_refunded", own, order_id, which, stamp)
        event.value, event.items = abs(number(refund.get("total"), "refunds.total") or 0), None
        events.append(event)
    return events


def _event(order: dict[str, Any], kind: str, own: str, order_id: str, which: str, stamp: int) -> Event:
    ts, flags = _moment(order, stamp, *TIMES.get(kind, ("date_modified", "date_created")))
    once = "" if kind in ONCE else which if kind in {"order_refunded", *SUBSCRIPTIONS.values()} else f"{which} {ts}"
    event = Event(_id(kind, own, once), kind, ts, order_id=order_id, flags=flags)
    meta = {str(one["key"]): one.get("value") for one in rows(order.get("meta_data"), "meta_data") if one.get("key")}
    _person(event, order, meta)
    event.items = _items(rows(order.get("line_items"), "line_items")) or None
    event.value = number(order.get("total"), "total")
    event.currency = code(order.get("currency"), "currency")
    event.user_agent = text(order.get("customer_user_agent"), "customer_user_agent")
    if kind in {"order_completed", "checkout_started", "checkout_step_completed"}:
        _attributed(event, meta)
    shops = {name: given for name, given in meta.items() if name[:1] != "_" and snake(name) not in VISITOR}
    shops = {name: given for name, given in shops.items() if isinstance(given, str | int | float)}
    kept = {name: order[name] for name in PROPERTIES if order.get(name) not in (None, "")}
    coupons = [one["code"] for one in rows(order.get("coupon_lines"), "coupon_lines") if one.get("code")]
    event.properties = shops | kept | ({"coupons": coupons} if coupons else {})
    return event


def _person(event: Event, order: dict[str, Any], meta: Mapping[str, Any]) -> None:
    """The customer, and the visitor: the browser's own id if the shop keeps it, else the address, by which a guest's
    orders meet, and a later account."""
    event.customer_id = _given_id(order.get("customer_id"), "customer_id")
    own = next((given for name, given in meta.items() if snake(name) in VISITOR), None)
    email = text(inner(order.get("billing"), "billing").get("email"), "billing.email")
    event.anonymous_id = text_id(own, "meta_data") or (None if email is None else email_id(email))
    if event.customer_id is None and event.anonymous_id is None:
        event.anonymous_id = _order_visitor(event.order_id or "")


def _attributed(event: Event, meta: Mapping[str, Any]) -> None:
    """Where the visit came from, as WooCommerce notes it with the order."""

    def noted(name: str) -> str | None:
        given = text(meta.get(ATTRIBUTION + name), ATTRIBUTION + name)
        return None if given in (None, "(none)", "(direct)", "typein") else given

    campaign = Campaign(noted("utm_source"), noted("utm_medium"), noted("utm_campaign"))
    event.campaign = campaign if campaign != Campaign() else None
    event.referrer = noted("referrer")
    event.device = (noted("device_type") or "").lower() or None
    event.user_agent = event.user_agent or noted("user_agent")


def _items(lines: list[dict[str, Any]]) -> list[Item]:
    items = []
    for place, line in enumerate(lines):
        where = f"line_items[{place}]"
        sku = text_id(line.get("sku"), f"{where}.sku") or _given_id(line.get("variation_id"), f"{where}.variation_id")
        name = text(line.get("name"), f"{where}.name")
        product = _given_id(line.get("product_id"), f"{where}.product_id") or sku or name
        if product is None:
            raise BadEvent("missing_id", f"{where}.product_id is missing")
        quantity = whole(line.get("quantity"), f"{where}.quantity")
        price = number(line.get("price"), f"{where}.price")
        name = None if name is None else unescape(name)
        items.append(Item(product, sku, name, None, 1 if quantity is None else quantity, price))
    return items


def _customer(customer: dict[str, Any], what: str, stamp: int) -> Event:
    own = _own_id(customer)
    made = customer.get("date_created_gmt")
    new = what == "created" or (not what and customer.get("date_modified_gmt") in (None, "", made))
    ts, flags = _moment(customer, stamp, *(("date_created",) if new else ("date_modified",)))
    kind = "identified" if new else "customer_updated"
    event = Event(_id(kind, own, "" if new else str(ts)), kind, ts, customer_id=own, flags=flags)
    email = text(customer.get("email"), "email")
    event.anonymous_id = None if email is None else email_id(email)
    role = text(customer.get("role"), "role")
    event.properties = None if role is None else {"role": role}
    return event


def _moment(fields: dict[str, Any], stamp: int, *names: str) -> tuple[int, list[str] | None]:
    """Times without a zone are UTC where the field says so; the others are the shop's own, whose zone nobody knows."""
    return moment(stamp, *((fields.get(f"{name}_gmt"), f"{name}_gmt") for name in names), zone=UTC)


def _own_id(fields: dict[str, Any]) -> str:
    found = _given_id(fields.get("id"), "id")
    if found is None:
        raise BadEvent("missing_id", "id is missing")
    return found


def _given_id(given: object, field: str) -> str | None:
    """0 is WooCommerce's nobody and nothing."""
    found = text_id(given, field)
    return None if found == "0" else found


def _order_visitor(order: str) -> str:
    """Somebody of whom only an order is known."""
    return f"woocommerce-order-{order}"


def _id(*parts: str) -> str:
    return content_id(b"woocommerce", *(part.encode() for part in parts))
