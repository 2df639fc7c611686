"""Canonical events as the producers of each dialect write them: the adapters' opposite, for tests only.

A dialect joins with a function and a line in `WRITERS`. What it has no words for (a shipment in a browser's dialect, a
click in a webhook's) its function answers with None: such an event comes in the canonical form, from another source.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tests.dialects.webhooks import VISIT, braze, shopify, woocommerce
from tests.dialects.wires import Wire, Writer, given, iso
from tracker.domain.events import Consent, Event, Item
from tracker.wire.decode import encode_event


def canonical(event: Event) -> Wire:
    """The tracker's own form."""
    return Wire(encode_event(event))


SKEW = 7 * 60_000
"""How far a device's clock is off, ms."""
SEGMENT_NAMES = {
    "search_performed": "Products Searched",
    "wishlist_added": "Product Added to Wishlist",
    "wishlist_removed": "Product Removed from Wishlist",
    "email_clicked": "Email Link Clicked",
    "chat_started": "Live Chat Conversation Started",
    "video_watched": "Video Playback Started",
    "logged_out": "Signed Out",
}
SEGMENT_PRODUCT = ("product_viewed", "product_added", "product_removed", "product_shared", "product_reviewed")


def segment(event: Event) -> Wire:
    """A call of a browser's library as its vendor passes it on; of every other one the device's clock is off, and
    nobody has set it right."""
    sent = event.ts + 250
    if event.ts // 1000 % 2:
        times = {"timestamp": iso(event.ts), "sentAt": iso(sent + SKEW), "receivedAt": iso(sent)}
    else:
        times = {"originalTimestamp": iso(event.ts + SKEW), "sentAt": iso(sent + SKEW), "receivedAt": iso(sent)}
    return Wire(msgspec.json.encode(_segment_call(event, _preferences(event.consent)) | times))


def rudderstack(event: Event) -> Wire:
    """The same by RudderStack's."""
    call = _segment_call(event, _consent_management(event.consent))
    call |= {"rudderId": "r-1", "channel": "web", "originalTimestamp": iso(event.ts), "sentAt": iso(event.ts)}
    return Wire(msgspec.json.encode(call))


def _preferences(said: Consent | None) -> dict[str, Any]:
    if said is None:
        return {}
    categories = {"Advertising": said.marketing, "Analytics": said.analytics, "Functional": True}
    return {"consent": {"categoryPreferences": categories}}


def _consent_management(said: Consent | None) -> dict[str, Any]:
    if said is None:
        return {}
    categories = {"marketing": said.marketing, "analytics": said.analytics}
    allowed = [name for name, given in categories.items() if given]
    denied = [name for name, given in categories.items() if given is False]
    return {"consentManagement": {"allowedConsentIds": allowed, "deniedConsentIds": denied, "provider": "custom"}}


def _segment_call(event: Event, agreed: dict[str, Any]) -> dict[str, Any]:
    items = event.items or []
    properties: dict[str, Any] = {}
    if event.type in SEGMENT_PRODUCT and len(items) == 1:
        properties |= _segment_product(items[0])
    elif items:
        shown = {"brand": "Solveig", "image_url": "https://shop.example/1.webp", "url": "https://shop.example/p/1"}
        properties["products"] = [
            _segment_product(item) | shown | {"position": place} for place, item in enumerate(items, 1)
        ]
    total = "total" if event.type.startswith("order_") else "value"
    properties |= {"order_id": event.order_id, "cart_id": event.cart_id, "checkout_id": event.checkout_id}
    properties |= {total: event.value, "currency": event.currency, "channel": event.channel}
    properties = given(properties) | (event.properties or {})
    device = event.device
    brands = [{"brand": "Chromium", "version": "130"}, {"brand": "Not?A_Brand", "version": "99"}]
    hints = {"mobile": device == "mobile", "brands": brands, "platform": "Android"}
    context = {
        "page": given(
            {"url": event.url, "referrer": event.referrer or "", "title": "A shop", "path": "/", "search": ""}
        ),
        "campaign": event.campaign and msgspec.to_builtins(event.campaign) | {"term": "dresses"},
        "userAgent": event.user_agent,
        "userAgentData": hints if device in {"mobile", "desktop"} else None,
        "device": {"type": device} if device not in {"mobile", "desktop", None} else None,
        "groupId": event.account_id,
        "traits": {"segments": event.segments, "email": "somebody@example.com"} if event.segments else None,
        "library": {"name": "analytics.js", "version": "next-1.62.0"},
        "ip": "192.0.2.1",
        "locale": "nb-NO",
        "timezone": "Europe/Oslo",
    }
    call: dict[str, Any] = {
        "messageId": event.event_id,
        "userId": event.customer_id,
        "anonymousId": event.anonymous_id,
        "context": given(context) | agreed,
        "integrations": {},
        "version": 2,
    }
    if event.type == "page_viewed":
        return call | {"type": "page", "properties": properties}
    if event.type == "identified":
        return call | {"type": "identify", "traits": properties}
    name = SEGMENT_NAMES.get(event.type, event.type.replace("_", " ").title())
    return call | {"type": "track", "event": name, "properties": properties}


def _segment_product(item: Item) -> dict[str, Any]:
    return given(msgspec.to_builtins(item) | {"quantity": item.quantity})


GA4_NAMES = {
    "product_list_viewed": "view_item_list",
    "product_viewed": "view_item",
    "wishlist_added": "add_to_wishlist",
    "product_added": "add_to_cart",
    "product_removed": "remove_from_cart",
    "cart_viewed": "view_cart",
    "checkout_started": "begin_checkout",
    "checkout_step_completed": "add_shipping_info",
    "payment_info_entered": "add_payment_info",
    "order_completed": "purchase",
    "order_refunded": "refund",
    "promotion_viewed": "view_promotion",
    "promotion_clicked": "select_promotion",
    "search_performed": "search",
    "identified": "login",
    "product_shared": "share",
    "lead_submitted": "generate_lead",
    "page_viewed": "page_view",
    "video_watched": "video_start",
}
CONSENT_MODE = {True: "GRANTED", False: "DENIED"}
PRIVACY = {True: "Yes", False: "No", None: "Unset"}


def ga4(event: Event) -> Wire:
    """A request to the Measurement Protocol or a row of the export, by turns. Only rows say whether measuring is
    allowed, and only requests have other parameters than texts and numbers."""
    params: dict[str, Any] = {
        "page_location": event.url,
        "page_referrer": event.referrer,
        "transaction_id": event.order_id,
    }
    params |= {name: getattr(event, name) for name in ("cart_id", "checkout_id", "account_id", "channel")}
    params |= {"currency": event.currency, "value": event.value, **(event.properties or {})}
    plain = all(isinstance(given, str | int | float) and given is not True for given in given(params).values())
    measured = event.consent is not None and event.consent.analytics is not None
    row = _ga4_row if measured or (plain and event.ts // 1000 % 2) else _ga4_request
    return Wire(msgspec.json.encode(row(event, given(params))))


def _ga4_request(event: Event, params: dict[str, Any]) -> dict[str, Any]:
    if event.campaign is not None:
        params |= {f"campaign_{name}": given for name, given in msgspec.to_builtins(event.campaign).items()}
    if event.items is not None:
        params["items"] = [_ga4_item(item) for item in event.items]
    marketing = None if event.consent is None else event.consent.marketing
    return {
        "client_id": event.anonymous_id,
        "user_id": event.customer_id,
        "timestamp_micros": event.ts * 1000,
        "user_properties": {"segments": {"value": ",".join(event.segments)}} if event.segments else {},
        "consent": {} if marketing is None else {"ad_personalization": CONSENT_MODE[marketing]},
        "device": {"category": event.device},
        "user_agent": event.user_agent,
        "events": [{"name": GA4_NAMES.get(event.type, event.type), "params": params}],
    }


def _ga4_row(event: Event, params: dict[str, Any]) -> dict[str, Any]:
    said = event.consent or Consent()
    collected = msgspec.to_builtins(event.campaign) if event.campaign is not None else {}
    names = {"source": "manual_source", "medium": "manual_medium", "name": "manual_campaign_name"}
    return {
        "event_date": iso(event.ts)[:10].replace("-", ""),
        "event_timestamp": str(event.ts * 1000),
        "event_name": GA4_NAMES.get(event.type, event.type),
        "event_params": [{"key": name, "value": _ga4_value(given)} for name, given in params.items()],
        "user_id": event.customer_id,
        "user_pseudo_id": event.anonymous_id,
        "privacy_info": {"analytics_storage": PRIVACY[said.analytics], "ads_storage": PRIVACY[said.marketing]},
        "user_properties": [{"key": "segments", "value": _ga4_value(",".join(event.segments or ()))}],
        "device": {"category": event.device, "language": "nb"},
        "traffic_source": {"source": "(direct)", "medium": "(none)", "name": "(direct)"},
        "collected_traffic_source": {names[name]: given for name, given in collected.items()} or None,
        "ecommerce": {"transaction_id": event.order_id or "(not set)"},
        "items": [_ga4_item(item) for item in event.items or ()],
        "batch_event_index": "1",
    }


def _ga4_value(given: str | float) -> dict[str, Any]:
    kind = "string_value" if isinstance(given, str) else "int_value" if isinstance(given, int) else "double_value"
    return dict.fromkeys(("string_value", "int_value", "float_value", "double_value")) | {
        kind: str(given) if kind == "int_value" else given
    }


def _ga4_item(item: Item) -> dict[str, Any]:
    names = {"product_id": "item_id", "sku": "item_variant", "name": "item_name", "category": "item_category"}
    given = msgspec.to_builtins(item) | {"quantity": item.quantity}
    return {names.get(name, name): value for name, value in given.items()} | {"item_brand": "Own"}


SNOWPLOW_ACTIONS = {
    "product_viewed": "product_view",
    "product_list_viewed": "list_view",
    "product_added": "add_to_cart",
    "product_removed": "remove_from_cart",
    "checkout_started": "checkout_step",
    "checkout_step_completed": "checkout_step",
    "payment_info_entered": "checkout_step",
    "order_completed": "transaction",
    "order_refunded": "refund",
    "promotion_viewed": "promo_view",
    "promotion_clicked": "promo_click",
    "payment_failed": "trns_error",
}
SNOWPLOW_STEPS = {
    "checkout_started": {"step": 1, "account_type": "guest"},
    "checkout_step_completed": {"step": 2, "delivery_method": "store pickup"},
    "payment_info_entered": {"step": 3, "payment_method": "card"},
}
SNOWPLOW_NAMES = {"search_performed": "site_search", "ad_viewed": "ad_impression", "identified": "identify"}
SNOWPLOW_DEVICES = {"desktop": "Computer", "mobile": "Mobile", "tablet": "Tablet"}
SNOWPLOW_EVENTS = "unstruct_event_com_snowplowanalytics_snowplow_"
SNOWPLOW_ENTITIES = "contexts_com_snowplowanalytics_snowplow_ecommerce_"


def snowplow(event: Event) -> Wire | None:
    """An enriched event: the published ones where there are, else one that the shop describes itself. Consent is told
    by events of its own."""
    if event.consent is not None:
        return None
    derived = {"derived_tstamp": iso(event.ts), "collector_tstamp": iso(event.ts + 400)}
    clocked = {"dvce_created_tstamp": iso(event.ts + SKEW), "dvce_sent_tstamp": iso(event.ts + SKEW + 250)}
    campaign = event.campaign and msgspec.to_builtins(event.campaign)
    fields: dict[str, Any] = (derived if event.ts // 1000 % 2 else {"collector_tstamp": iso(event.ts + 250)}) | clocked
    fields |= {
        "event_id": event.event_id,
        "v_collector": "ssc-3.2.0",
        "platform": "web",
        "user_id": event.customer_id,
        "domain_userid": event.anonymous_id,
        "network_userid": "ecdff4d0-9175-40ac-a8bb-325c49733607",
        "page_url": event.url,
        "page_referrer": event.referrer,
        "refr_medium": event.channel or "internal",
        "useragent": event.user_agent,
        "dvce_type": SNOWPLOW_DEVICES.get(event.device or "", event.device),
        "mkt_campaign": campaign and campaign.get("name"),
        **{f"mkt_{name}": campaign and campaign.get(name) for name in ("source", "medium")},
    }
    return Wire(msgspec.json.encode(fields | _snowplow_event(event) | _snowplow_entities(event)))


def _snowplow_event(event: Event) -> dict[str, Any]:
    vendor = "com.snowplowanalytics.snowplow"
    properties = event.properties or {}
    if event.type == "page_viewed":
        return {"event": "page_view", "event_name": "page_view", "event_vendor": vendor}
    described: dict[str, Any] = {"event": "unstruct", "event_vendor": vendor}
    if event.type in SNOWPLOW_ACTIONS:
        action = {"type": SNOWPLOW_ACTIONS[event.type]}
        name = "snowplow_ecommerce_action"
        return described | {"event_name": name, f"{SNOWPLOW_EVENTS}ecommerce_{name}_1": action}
    if event.type in SNOWPLOW_NAMES:
        name = SNOWPLOW_NAMES[event.type]
        return described | {"event_name": name, f"{SNOWPLOW_EVENTS}{name}_1": properties}
    data = {name: getattr(event, name) for name in ("order_id", "cart_id", "checkout_id", "value", "currency")}
    own = f"unstruct_event_com_example_shop_{event.type}_1"
    return described | {"event_vendor": "com.example.shop", "event_name": event.type, own: given(data) | properties}


def _snowplow_entities(event: Event) -> dict[str, Any]:
    names = {"product_id": "id", "sku": "variant"}
    entities: dict[str, Any] = {
        "product": [
            {names.get(name, name): given for name, given in msgspec.to_builtins(item).items()}
            | {"quantity": item.quantity, "currency": event.currency}
            for item in event.items or ()
        ]
    }
    worth = {"currency": event.currency}
    order = worth | {"transaction_id": event.order_id}
    entities["cart"] = [given(worth | {"cart_id": event.cart_id})]
    if event.type in SNOWPLOW_STEPS:
        entities["checkout_step"] = [SNOWPLOW_STEPS[event.type]]
        entities["cart"][0] |= {} if event.value is None else {"total_value": event.value}
    elif event.type == "order_refunded":
        entities["refund"] = [given(order | {"refund_amount": event.value})]
    elif event.type in {"order_completed", "payment_failed"}:
        entities["transaction"] = [given(order | {"revenue": event.value, "payment_method": "card"})]
    elif event.type.startswith("promotion_"):
        entities["promotion"] = [{"id": (event.properties or {}).get("promotion", "p-1"), "type": "banner"}]
    return {f"{SNOWPLOW_ENTITIES}{name}_1": given for name, given in entities.items()}


__all__ = ["WRITERS", "Wire", "Writer", "canonical"]

WRITERS: dict[str, Writer] = {
    "canonical": Writer(canonical),
    "segment": Writer(segment),
    "rudderstack": Writer(rudderstack),
    "ga4": Writer(ga4, own=("event_id",)),
    "snowplow": Writer(snowplow, own=("checkout_id", "segments", "properties")),  # entities have other ones
    "shopify": Writer(shopify, (*VISIT, "account_id")),
    "woocommerce": Writer(woocommerce, (*VISIT, "account_id", "cart_id", "checkout_id", "items", "properties")),
    "braze": Writer(braze, (*VISIT, "account_id")),
}
