"""Canonical events as the producers of each dialect write them: the adapters' opposite, for tests only.

A dialect joins with a function and a line in `WRITERS`. What it has no words for (a shipment in a browser's dialect, a
click in a webhook's) its function answers with None: such an event comes in the canonical form, from another source.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from tracker.domain.events import Consent, Event, Item
from tracker.wire.decode import encode_event

Headers = tuple[tuple[str, bytes], ...]


class Wire(NamedTuple):
    """A raw record's value and headers."""

    value: bytes
    headers: Headers = ()


class Writer(NamedTuple):
    """`own` names the canonical fields that the dialect has no place for: in them the journey has what its adapter
    makes up (an id from the content, say), and everything else must be the same."""

    write: Callable[[Event], Wire | None]
    own: tuple[str, ...] = ()


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
        times = {"timestamp": _iso(event.ts), "sentAt": _iso(sent + SKEW), "receivedAt": _iso(sent)}
    else:
        times = {"originalTimestamp": _iso(event.ts + SKEW), "sentAt": _iso(sent + SKEW), "receivedAt": _iso(sent)}
    return Wire(msgspec.json.encode(_segment_call(event, _preferences(event.consent)) | times))


def rudderstack(event: Event) -> Wire:
    """The same by RudderStack's."""
    call = _segment_call(event, _consent_management(event.consent))
    call |= {"rudderId": "r-1", "channel": "web", "originalTimestamp": _iso(event.ts), "sentAt": _iso(event.ts)}
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
    properties = _given(properties) | (event.properties or {})
    device = event.device
    brands = [{"brand": "Chromium", "version": "130"}, {"brand": "Not?A_Brand", "version": "99"}]
    hints = {"mobile": device == "mobile", "brands": brands, "platform": "Android"}
    context = {
        "page": _given(
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
        "context": _given(context) | agreed,
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
    return _given(msgspec.to_builtins(item) | {"quantity": item.quantity})


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: given for name, given in fields.items() if given is not None}


def _iso(ts: int) -> str:
    return datetime.fromtimestamp(ts / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


WRITERS: dict[str, Writer] = {
    "canonical": Writer(canonical),
    "segment": Writer(segment),
    "rudderstack": Writer(rudderstack),
}
