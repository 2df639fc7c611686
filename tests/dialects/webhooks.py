"""Writers of what servers send, Shopify, WooCommerce and Braze, and of a dialect of nobody's: see `writers`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from tests.dialects.wires import Wire, given, iso
from tracker.domain.events import Event, Item

SHOPIFY_TOPICS = {
    "order_completed": "orders/paid",
    "order_shipped": "orders/fulfilled",
    "order_cancelled": "orders/cancelled",
    "checkout_started": "checkouts/create",
    "checkout_step_completed": "checkouts/update",
}


def shopify(event: Event) -> Wire | None:
    """A webhook's delivery; of orders every other one as an event bus has it."""
    topic = SHOPIFY_TOPICS.get(event.type)
    if topic is None or not (event.customer_id or event.anonymous_id):
        return None
    consent = event.consent and event.consent.marketing
    state = None if consent is None else {"state": "subscribed" if consent else "unsubscribed"}
    tags = ", ".join(event.segments or ())
    customer = {"id": event.customer_id, "tags": tags, "email_marketing_consent": state, "email": "a@example.com"}
    notes = {"anonymous_id": event.anonymous_id} | (event.properties or {})
    now = iso(event.ts)
    payload: dict[str, Any] = {
        "customer": customer if event.customer_id else None,
        "note_attributes": [{"name": name, "value": given} for name, given in notes.items()],
        "line_items": [_shopify_line(item, event.currency) for item in event.items or ()],
        "cart_token": event.cart_id,
        "presentment_currency": event.currency,
        "currency": "USD",
        "total_price": None if event.value is None else f"{event.value:.2f}",
        "source_name": "pos" if event.channel == "store" else None,
        "client_details": {"user_agent": event.user_agent},
        "updated_at": now,
    }
    if topic.startswith("orders/"):
        gid = f"gid://shopify/Order/{event.order_id}"
        payload |= {"id": event.order_id, "admin_graphql_api_id": gid, "processed_at": now, "cancelled_at": now}
        payload |= {"checkout_token": event.checkout_id, "token": "of the order"}
    else:
        token = event.checkout_id or event.cart_id or "c"
        payload |= {"id": 1, "token": token, "abandoned_checkout_url": "https://shop.example/", "created_at": now}
    if event.ts // 1000 % 2:
        bus = {"payload": payload, "metadata": {"X-Shopify-Topic": topic, "X-Shopify-Shop-Domain": "shop.example"}}
        return Wire(msgspec.json.encode({"source": "aws.partner/shopify.com", "detail": bus}))
    return Wire(msgspec.json.encode(payload), (("X-Shopify-Topic", topic.encode()),))


def _shopify_line(item: Item, currency: str | None) -> dict[str, Any]:
    shown = None if item.price is None else {"amount": f"{item.price}", "currency_code": currency}
    return {
        "product_id": item.product_id,
        "sku": item.sku,
        "title": item.name,
        "product_type": item.category,
        "quantity": item.quantity,
        "price_set": {"presentment_money": shown, "shop_money": {"amount": "1.00", "currency_code": "USD"}},
    }


WOOCOMMERCE_STATUSES = {
    "order_completed": "processing",
    "order_cancelled": "cancelled",
    "order_refunded": "refunded",
    "payment_failed": "failed",
}


def woocommerce(event: Event) -> Wire | None:
    """A webhook's delivery."""
    status = WOOCOMMERCE_STATUSES.get(event.type)
    if status is None or event.order_id is None or event.anonymous_id is None:
        return None
    campaign = event.campaign
    utm = {f"utm_{name}": getattr(campaign, field) for name, field in UTM if campaign is not None}
    noted = utm | {"referrer": event.referrer or "", "device_type": (event.device or "").title()}
    meta = {f"_wc_order_attribution_{name}": given for name, given in noted.items()} | {
        "_anonymous_id": event.anonymous_id
    }
    now = iso(event.ts).removesuffix("Z")
    payload = {
        "id": event.order_id,
        "order_key": "wc_order_1",
        "status": status,
        "customer_id": event.customer_id or 0,
        "billing": {"email": "a@example.com"},
        "currency": event.currency,
        "total": "" if event.value is None else f"{event.value:.2f}",
        "customer_user_agent": event.user_agent or "",
        "date_created_gmt": now,
        "date_modified_gmt": now,
        "date_paid_gmt": now if status == "processing" else None,
        "meta_data": [{"id": place, "key": key, "value": given} for place, (key, given) in enumerate(meta.items())],
        "line_items": [
            {
                "product_id": item.product_id,
                "variation_id": 0,
                "sku": item.sku or "",
                "name": item.name,
                "quantity": item.quantity,
                "price": item.price,
            }
            for item in event.items or ()
        ],
    }
    return Wire(msgspec.json.encode(payload), (("X-WC-Webhook-Topic", b"order.updated"),))


UTM = (("source", "source"), ("medium", "medium"), ("campaign", "name"))
BRAZE_NAMES = {
    "product_viewed": "ecommerce.product_viewed",
    "cart_updated": "ecommerce.cart_updated",
    "product_added": "ecommerce.cart_updated",
    "product_removed": "ecommerce.cart_updated",
    "checkout_started": "ecommerce.checkout_started",
    "order_completed": "ecommerce.order_placed",
    "order_refunded": "ecommerce.order_refunded",
    "order_cancelled": "ecommerce.order_cancelled",
}


def braze(event: Event) -> Wire:
    """A request to /users/track."""
    items = event.items or []
    action = {"product_added": "add", "product_removed": "remove"}.get(event.type)
    fields = {"cart_id": event.cart_id, "checkout_id": event.checkout_id, "order_id": event.order_id}
    properties = given(fields | {"total_value": event.value, "currency": event.currency, "action": action})
    if event.type == "product_viewed" and len(items) == 1:
        properties |= _braze_product(items[0]) | given({"product_url": event.url})
    elif event.items is not None:
        properties["products"] = [_braze_product(item) for item in items]
    one = {
        "external_id": event.customer_id,
        "user_alias": {"alias_name": event.anonymous_id, "alias_label": "browser"},
        "name": BRAZE_NAMES.get(event.type, event.type),
        "time": iso(event.ts),
        "properties": properties | (event.properties or {}),
    }
    return Wire(msgspec.json.encode({"events": [one]}))


def _braze_product(item: Item) -> dict[str, Any]:
    fields = {"product_id": item.product_id, "product_name": item.name, "variant_id": item.sku, "price": item.price}
    return given(fields | {"quantity": item.quantity, "category": item.category})


def till(event: Event) -> Wire:
    """A dialect of nobody's, for which there is a mapping (`MAPPING`)."""
    at = datetime.fromtimestamp(event.ts / 1000, ZoneInfo("Europe/Oslo"))
    campaign, consent = event.campaign, event.consent
    said: dict[str, Any] = {
        "nr": event.event_id,
        "what": {"product_added": "basket+", "product_removed": "basket-", "order_completed": "sold"}.get(
            event.type, event.type.title().replace("_", "-")
        ),
        "at": f"{at:%d.%m.%Y %H:%M:%S}.{event.ts % 1000:03}",
        "via": {"social": "S", "email": "M"}.get(event.channel or "", event.channel),
        "page": {"url": event.url, "before": event.referrer},
        "ad": campaign and [campaign.source, campaign.medium, campaign.name],
        "basket-no": event.cart_id,
        "desk": event.checkout_id,
        "receipt": event.order_id,
        "lines": event.items and [_till_line(item) for item in event.items],
        "sum": None if event.value is None else f"{event.value:,.2f}".translate(str.maketrans(",.", " ,")),
        "agreed": consent and {name[0]: _yes(getattr(consent, name)) for name in ("marketing", "analytics")},
        "agent": event.user_agent,
        "more": event.properties,
    }
    who = {
        "no": event.customer_id,
        "cookie": event.anonymous_id,
        "firm": event.account_id,
        "device": {"mobile": "M", "desktop": "D"}.get(event.device or "", event.device),
        "groups": event.segments and "|".join(event.segments),
    }
    return Wire(msgspec.json.encode({"v": 2, "who": who, "currency": (event.currency or "").lower(), "said": [said]}))


def _till_line(item: Item) -> dict[str, Any]:
    product = {"id": item.product_id, "sku": item.sku, "name": item.name, "group": item.category}
    return {"p": product, "n": str(item.quantity), "cents": None if item.price is None else round(item.price * 100)}


def _yes(given: bool | None) -> str | None:
    return None if given is None else "J" if given else "N"


MAPPING = Path(__file__).parent / "mapped" / "till.yaml"
VISIT = ("event_id", "device", "channel", "url", "referrer", "campaign", "segments", "consent", "user_agent")
