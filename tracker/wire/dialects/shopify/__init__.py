"""Shopify's webhooks: carts, checkouts, orders and what becomes of them, customers and their consent.

https://shopify.dev/docs/api/webhooks lists the topics. A delivery's topic is in the header `X-Shopify-Topic`, or in
`metadata` beside its `payload` as event buses have it; without either it is read off the payload's shape and state.
Ids are made of what happened to what, so that the same fact in several deliveries is one event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tracker.domain.events import Consent, Event, Item
from tracker.errors import BadEvent
from tracker.wire.dialects.common import (
    campaign_of,
    code,
    content_id,
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
from tracker.wire.dialects.shopify.topics import CARTS, CUSTOMERS, LEFT_OUT, NOBODYS, OF_AN_ORDER, ORDERS

HEADER = "x-shopify-topic"
TRIGGERED = "x-shopify-triggered-at"
KINDS = {
    "Order": "orders",
    "Customer": "customers/update",
    "Fulfillment": "fulfillments/update",
    "FulfillmentEvent": "fulfillment_events/create",
    "OrderTransaction": "order_transactions/create",
    "Refund": "refunds/create",
    "Return": "returns/update",
}
"""Where no topic is given: by the kind in the payload's `admin_graphql_api_id`. `orders` is what its state says."""
PROPERTIES = (
    "order_number source_name financial_status fulfillment_status cancel_reason tags test landing_site "
    "payment_gateway_names total_discounts customer_locale"
).split()
"""Of an order or a checkout; addresses, names and notes are nobody's business here."""
VISITOR = frozenset({"anonymous_id", "ajs_anonymous_id", "rl_anonymous_id"})
"""Cart attributes, in snake case, into which a shop's theme may put the browser's own id."""

_encode = msgspec.json.Encoder().encode


class Shopify(Webhook):
    """Shopify's webhooks, with their headers or without."""

    name = "shopify"
    reads = "Shopify's webhooks: carts, checkouts, orders, customers and their consent."
    header = HEADER

    def recognises(self, fields: Fields) -> bool:
        """See `Dialect`."""
        gid = fields.get("admin_graphql_api_id")
        if gid is not None:
            return bytes(gid)[:15] == b'"gid://shopify/'
        if "line_items" in fields:
            return "abandoned_checkout_url" in fields or ("token" in fields and "note" in fields)
        if "email_marketing_consent" in fields:
            return "customer_id" in fields
        wrapped = fields.get("metadata") if "payload" in fields else fields.get("detail")
        return wrapped is not None and b"X-Shopify-Topic" in bytes(wrapped)

    def delivered(self, value: bytes, stamp: int, headers: Mapping[str, str]) -> list[Event]:
        """See `Webhook`."""
        payload = json_object(value)
        payload = inner(payload["detail"], "detail") if "detail" in payload else payload
        if HEADER not in headers and "payload" in payload and "metadata" in payload:
            metadata = inner(payload["metadata"], "metadata")
            headers = {name.lower(): str(given) for name, given in metadata.items()}
            payload = inner(payload["payload"], "payload")
        topic = headers.get(HEADER, "").strip().lower() or _topic(payload)
        triggered = headers.get(TRIGGERED)
        if topic in ORDERS or topic == "orders":
            return _order(payload, topic, stamp, triggered)
        if topic in OF_AN_ORDER:
            return [_of_an_order(payload, topic, stamp, triggered)]
        if topic in CARTS:
            return [_cart(payload, topic, stamp, triggered)]
        if topic in LEFT_OUT or topic.partition("/")[0] in NOBODYS:
            return []
        return [_customer(payload, topic, stamp, triggered)]


def _topic(payload: dict[str, Any]) -> str:
    """What the payload must be about. Raises `BadEvent`."""
    if "abandoned_checkout_url" in payload:
        return "checkouts/update" if payload.get("created_at") != payload.get("updated_at") else "checkouts/create"
    if "email_marketing_consent" in payload and "customer_id" in payload:
        return "customers_email_marketing_consent/update"
    kind = str(payload.get("admin_graphql_api_id")).removeprefix("gid://shopify/").partition("/")[0]
    if kind in KINDS:
        return KINDS[kind]
    if "token" in payload and "line_items" in payload:
        return "carts/update"
    if kind not in {"None", ""}:
        return f"{snake(kind)}s/update"
    raise BadEvent("missing_type", f"header {HEADER} is missing, and the fields do not tell: {sorted(payload)!r:.200}")


def _order(order: dict[str, Any], topic: str, stamp: int, triggered: str | None) -> list[Event]:
    """What a topic says of an order, and its cancellation and refunds wherever they are seen."""
    number_ = text_id(order.get("id"), "id")
    if number_ is None:
        raise BadEvent("missing_id", "id of the order is missing")
    types = [ORDERS.get(topic, "order_completed")]
    if topic == "orders" and order.get("fulfillment_status") == "fulfilled":
        types.append("order_shipped")
    if order.get("cancelled_at") and topic in {"orders", "orders/updated"}:
        types.append("order_cancelled")
    times = {
        "order_completed": ("processed_at", "created_at"),
        "order_cancelled": ("cancelled_at", "updated_at"),
        "order_shipped": ("updated_at",),
        "order_updated": ("updated_at",),
    }
    events = []
    for kind in types:
        given = [(order.get(field), field) for field in times[kind]]
        ts, flags = moment(stamp, *given, (triggered, TRIGGERED))
        once = "" if kind != "order_updated" else f"{topic} {ts}"
        event = Event(_id(kind, number_, once), kind, ts, order_id=number_, flags=flags)
        _bought(event, order, at_checkout=kind == "order_completed")
        events.append(event)
    events += (_refund(refund, number_, stamp, triggered, order) for refund in rows(order.get("refunds"), "refunds"))
    return events


def _refund(
    refund: dict[str, Any], order: str | None, stamp: int, triggered: str | None, buyer: dict[str, Any] | None = None
) -> Event:
    order_id = text_id(refund.get("order_id"), "order_id") or order
    refund_id = text_id(refund.get("id"), "id")
    if order_id is None or refund_id is None:
        raise BadEvent("missing_id", "id or order_id of the refund is missing")
    given = ((refund.get("processed_at"), "processed_at"), (refund.get("created_at"), "created_at"))
    ts, flags = moment(stamp, *given, (triggered, TRIGGERED))
    event = Event(_id("order_refunded", refund_id), "order_refunded", ts, order_id=order_id, flags=flags)
    paid = [
        one
        for one in rows(refund.get("transactions"), "transactions")
        if one.get("kind") == "refund" and one.get("status") in ("success", "pending")
    ]
    # A refund without payments gave goods back and no money: without a value it would count as all of the order's.
    event.value = sum(number(one.get("amount"), "transactions.amount") or 0 for one in paid)
    event.currency = code(paid[0].get("currency"), "transactions.currency") if paid else None
    lines = rows(refund.get("refund_line_items"), "refund_line_items")
    items, _ = _items([inner(one.get("line_item"), "line_item") | {"quantity": one.get("quantity")} for one in lines])
    event.items = items or None
    if buyer is None:
        event.anonymous_id = _order_visitor(order_id)
    else:
        _person(event, buyer)
    return event


def _of_an_order(payload: dict[str, Any], topic: str, stamp: int, triggered: str | None) -> Event:
    if topic == "refunds/create":
        return _refund(payload, None, stamp, triggered)
    payload = inner(payload.get("order_edit"), "order_edit") or payload
    own = text_id(payload.get("id"), "id")
    order = text_id(payload.get("order_id") or inner(payload.get("order"), "order").get("id"), "order_id")
    order = own if topic == "orders/delete" else order
    if order is None:
        raise BadEvent("missing_id", f"order_id is missing in the payload of {topic}")
    kind = OF_AN_ORDER[topic]
    status = payload.get("shipment_status") or payload.get("status")
    if topic.startswith("fulfillment") and status == "delivered":
        kind = "order_delivered"
    elif topic == "order_transactions/create" and status in ("failure", "error"):
        kind = "payment_failed"
    given = [(payload.get(field), field) for field in ("happened_at", "processed_at", "updated_at", "created_at")]
    ts, flags = moment(stamp, *given, (triggered, TRIGGERED))
    event = Event(_id(kind, order, own or "", str(ts)), kind, ts, order_id=order, flags=flags)
    event.anonymous_id = _order_visitor(order)
    event.properties = _kept(payload, ["status", "shipment_status", "error_code", "gateway", "kind"])
    return event


def _cart(cart: dict[str, Any], topic: str, stamp: int, triggered: str | None) -> Event:
    token = text_id(cart.get("token"), "token")
    if token is None:
        raise BadEvent("missing_id", "token is missing")
    kind = CARTS[topic]
    time = ("created_at", "updated_at") if topic.endswith("/create") else ("updated_at", "created_at")
    ts, flags = moment(stamp, *((cart.get(field), field) for field in time), (triggered, TRIGGERED))
    event = Event(_id(kind, token, "" if kind == "checkout_started" else str(ts)), kind, ts, flags=flags)
    if topic.startswith("checkouts/"):
        _bought(event, cart, at_checkout=True)
        event.checkout_id = _token(token)
        return event
    event.cart_id = event.anonymous_id = _token(token)
    event.items, event.currency = _items(rows(cart.get("line_items"), "line_items"))
    event.event_id = content_id(event.event_id.encode(), _encode(event.items))  # it may change twice in a second
    if not event.items:
        event.type = "cart_emptied"
    return event


def _customer(payload: dict[str, Any], topic: str, stamp: int, triggered: str | None) -> Event:
    """Also of topics that nobody has listed."""
    given = (
        payload.get("customer_id") or payload.get("customerId") or inner(payload.get("customer"), "customer").get("id")
    )
    given = payload.get("id") if given is None and topic.startswith("customers/") else given
    customer = (text_id(given, "customer_id") or "").rpartition("/")[2]
    if not customer:
        raise BadEvent("no_identity", f"customer_id is missing in the payload of {topic}")
    times = ("created_at",) if topic == "customers/create" else ("updated_at", "occurredAt", "created_at")
    told = [(payload.get(field), field) for field in times]
    if "email_marketing_consent" in payload and topic.startswith("customers_email"):
        consented = inner(payload["email_marketing_consent"], "email_marketing_consent")
        told = [(consented.get("consent_updated_at"), "consent_updated_at")]
    ts, flags = moment(stamp, *told, (triggered, TRIGGERED))
    kind = CUSTOMERS.get(topic) or snake(topic)
    event = Event(_id(topic, customer, str(ts)), kind, ts, customer_id=customer, flags=flags)
    event.consent = _consent(payload)
    event.segments = _tags(payload)
    event.properties = _kept(payload, ["state", "verified_email", "tags"])
    return event


def _bought(event: Event, order: dict[str, Any], *, at_checkout: bool) -> None:
    """Who, what and how much, of an order or a checkout."""
    _person(event, order)
    event.cart_id = _token(text_id(order.get("cart_token"), "cart_token"))
    event.checkout_id = _token(text_id(order.get("checkout_token"), "checkout_token"))
    company = inner(order.get("company"), "company")
    event.account_id = text_id(company.get("id"), "company.id")
    items, currency = _items(rows(order.get("line_items"), "line_items"))
    event.items = items or None
    paid = _presentment(order.get("total_price_set"), "total_price_set")
    event.value = number(paid.get("amount") or order.get("total_price"), "total_price")
    shops = (order.get("presentment_currency") if "total_price_set" not in order else None) or order.get("currency")
    event.currency = code(paid.get("currency_code"), "total_price_set.presentment_money.currency_code") or currency
    event.currency = event.currency or code(shops, "currency")
    customer = inner(order.get("customer"), "customer")
    event.consent = _consent(customer)
    if event.consent is None and at_checkout:
        # Not ticked says nothing: it is how every checkout begins.
        agreed = _agreed(order.get("buyer_accepts_marketing"), "buyer_accepts_marketing")
        event.consent = agreed if agreed is not None and agreed.marketing else None
    event.segments = _tags(customer)
    if at_checkout:
        event.campaign = campaign_of(text(order.get("landing_site"), "landing_site"))
        event.referrer = text(order.get("referring_site"), "referring_site")
        event.user_agent = text(inner(order.get("client_details"), "client_details").get("user_agent"), "user_agent")
    event.channel = "store" if order.get("source_name") == "pos" else None
    attributes = {name: given for name, given in _attributes(order).items() if snake(name) not in VISITOR}
    event.properties = _kept(order, PROPERTIES, attributes)


def _person(event: Event, order: dict[str, Any]) -> None:
    """The customer, and the visitor: the browser's own id if the theme passes it on, else that of the cart."""
    event.customer_id = text_id(inner(order.get("customer"), "customer").get("id"), "customer.id")
    attributes = _attributes(order)
    own = next((given for name, given in attributes.items() if snake(name) in VISITOR), None)
    token = order.get("cart_token") or order.get("checkout_token")
    token = order.get("token") if token is None and "abandoned_checkout_url" in order else token
    event.anonymous_id = text_id(own, "note_attributes") or _token(text_id(token, "cart_token"))
    if event.customer_id is None and event.anonymous_id is None and event.order_id is not None:
        event.anonymous_id = _order_visitor(event.order_id)


def _order_visitor(order: str) -> str:
    """Somebody of whom only an order is known."""
    return f"shopify-order-{order}"


def _items(lines: list[dict[str, Any]]) -> tuple[list[Item], str | None]:
    """(items, currency) as the customer saw them."""
    items, currency = [], None
    for place, line in enumerate(lines):
        where = f"line_items[{place}]"
        variant = text_id(line.get("variant_id"), f"{where}.variant_id")
        sku = text_id(line.get("sku"), f"{where}.sku") or variant
        title = text(line.get("title"), f"{where}.title")
        product = text_id(line.get("product_id"), f"{where}.product_id") or sku or title
        if product is None:
            raise BadEvent("missing_id", f"{where}.product_id is missing")
        paid = _presentment(line.get("price_set"), f"{where}.price_set")
        currency = currency or code(paid.get("currency_code"), f"{where}.price_set")
        quantity = whole(line.get("quantity"), f"{where}.quantity")
        price = number(paid.get("amount") or line.get("price"), f"{where}.price")
        category = text(line.get("product_type"), f"{where}.product_type")
        items.append(Item(product, sku, title, category, 1 if quantity is None else quantity, price))
    return items, currency


def _presentment(given: object, field: str) -> dict[str, Any]:
    return inner(inner(given, field).get("presentment_money"), f"{field}.presentment_money")


def _consent(customer: dict[str, Any]) -> Consent | None:
    state = inner(customer.get("email_marketing_consent"), "email_marketing_consent").get("state")
    if state is not None:
        return Consent(marketing=state == "subscribed")
    return _agreed(customer.get("accepts_marketing"), "accepts_marketing")


def _agreed(given: object, field: str) -> Consent | None:
    if given is not None and not isinstance(given, bool):
        raise BadEvent("wrong_type", f"{field} is {given!r:.60}; allowed: true, false")
    return None if given is None else Consent(marketing=given)


def _tags(customer: dict[str, Any]) -> list[str] | None:
    """Tags are how Shopify groups customers; most have none, which says nothing about groups known from elsewhere."""
    given = customer.get("tags")
    if isinstance(given, str):
        given = given.split(",")
    if not isinstance(given, list):
        return None
    return [tag.strip() for tag in given if isinstance(tag, str) and tag.strip()] or None


def _attributes(order: dict[str, Any]) -> dict[str, Any]:
    """What the shop itself wrote beside a cart."""
    given = rows(order.get("note_attributes"), "note_attributes")
    return {str(one["name"]): one["value"] for one in given if one.get("name") and one.get("value") is not None}


def _kept(payload: dict[str, Any], names: list[str], more: dict[str, Any] | None = None) -> dict[str, Any] | None:
    kept = {name: payload[name] for name in names if payload.get(name) not in (None, "", [])}
    codes = [one["code"] for one in rows(payload.get("discount_codes"), "discount_codes") if one.get("code")]
    if codes:
        kept["discount_codes"] = codes
    return (more or {}) | kept or None


def _token(given: str | None) -> str | None:
    """A cart's or checkout's token without the key that opens it."""
    return None if given is None else given.partition("?")[0]


def _id(*parts: str) -> str:
    return content_id(b"shopify", *(part.encode() for part in parts))
