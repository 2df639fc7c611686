"""Braze: custom events and purchases as sent to /users/track, and what its Currents exports.

https://www.braze.com/docs/api/endpoints/user_data/post_user_track. A record is a whole request, one object of its
`events`, or an event of Currents: flat as in files, or with `user` and `properties` as its HTTP connector sends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any

import msgspec

from tracker.domain.events import Campaign, Consent, Event, Item
from tracker.errors import BadEvent
from tracker.wire.dialects.braze.names import (
    ACTIONS,
    CURRENTS,
    CUSTOM,
    EVENTS,
    LEFT_OUT,
    MEDIA,
    PURCHASE,
    REFUSED,
)
from tracker.wire.dialects.common import (
    campaign_of,
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
from tracker.wire.dialects.dialect import Fields

LISTS = ("events", "purchases", "attributes")
PEOPLE = ("external_id", "user_alias", "braze_id", "email", "phone")
"""By which a request says whose an object is."""
MARKS = (b'"external_id"', b'"user_alias"', b'"braze_id"', b'"event_type"')
TAKEN = frozenset(
    """
    cart_id checkout_id order_id total_value currency products line_items product_id product_name variant_id sku price
    quantity product_url action
    """.split()
)
"""Properties that become fields of the event."""
MESSAGE = "campaign_name canvas_name canvas_step_name message_variation_name link_alias machine_open".split()
AGREED = {"opted_in": True, "subscribed": True, "unsubscribed": False}

_sorted = msgspec.json.Encoder(order="deterministic").encode


class Braze:
    """Requests to Braze, and what its Currents exports."""

    name = "braze"
    reads = "Braze: custom events and purchases as sent to /users/track, and what its Currents exports."

    def recognises(self, fields: Fields) -> bool:
        """See `Dialect`."""
        kind = fields.get("event_type")
        if kind is not None:
            return bytes(kind)[:7] == b'"users.'
        if "time" in fields:
            if "external_user_id" in fields:
                return True
            return ("name" in fields or "product_id" in fields) and any(name in fields for name in PEOPLE[:3])
        listed = next((fields[name] for name in LISTS if name in fields), None)
        if listed is None or "client_id" in fields or "app_instance_id" in fields:  # as Google Analytics has
            return False
        found = bytes(listed)
        return any(mark in found for mark in MARKS)

    def events(self, value: bytes, stamp: int) -> list[Event]:
        """See `Dialect`."""
        payload = json_object(value)
        if "event_type" in payload or "external_user_id" in payload:
            event = _exported(payload, stamp)
            return [] if event is None else [event]
        if not any(name in payload for name in LISTS):
            return [_purchases([payload], stamp) if "name" not in payload else _custom(payload, stamp)]
        made = [
            _exported(one, stamp) if "event_type" in one else _custom(one, stamp)
            for one in rows(payload.get("events"), "events")
        ]
        made += [_purchases(order, stamp) for order in _orders(rows(payload.get("purchases"), "purchases"))]
        made += [_attributes(one, stamp) for one in rows(payload.get("attributes"), "attributes")]
        return sorted((event for event in made if event is not None), key=lambda event: event.ts)


def _custom(one: dict[str, Any], stamp: int) -> Event:
    """An object of `events`."""
    event = _said(one, text(one.get("name"), "name"), inner(one.get("properties"), "properties"), stamp)
    event.event_id = content_id(_sorted(one))
    _person(event, one)
    return event


def _said(one: dict[str, Any], name: str | None, given: dict[str, Any], stamp: int) -> Event:
    if name is None:
        raise BadEvent("missing_type", "name is missing")
    ts, flags = moment(stamp, (one.get("time"), "time"), zone=UTC)
    event = Event("", EVENTS.get(name) or snake(name), ts, flags=flags)
    event.type = ACTIONS.get(str(given.get("action")), event.type) if event.type == "cart_updated" else event.type
    event.cart_id = text_id(given.get("cart_id"), "cart_id")
    event.checkout_id = text_id(given.get("checkout_id"), "checkout_id")
    event.order_id = text_id(given.get("order_id"), "order_id")
    event.currency = code(given.get("currency"), "currency")
    event.value = number(given.get("total_value"), "total_value")
    listed = "products" if "products" in given else "line_items"
    products = rows(given.get(listed), listed)
    taken = TAKEN
    if listed in given:
        event.items = [_item(product, f"{listed}[{place}]") for place, product in enumerate(products)]
    elif given.get("product_id") is not None:
        event.items = [_item(given, "properties")]
        taken = TAKEN | {"category"}
    if event.type == "cart_updated" and listed in given and not products:
        event.type = "cart_emptied"
    if event.type == "product_viewed":
        event.url = text(given.get("product_url"), "product_url")
    event.properties = {name: found for name, found in given.items() if name not in taken and found is not None} or None
    return event


def _item(product: dict[str, Any], where: str) -> Item:
    product_id = text_id(product.get("product_id"), f"{where}.product_id")
    if product_id is None:
        raise BadEvent("missing_id", f"{where}.product_id is missing")
    metadata = inner(product.get("metadata"), f"{where}.metadata")
    given = product.get("sku") or metadata.get("sku") or product.get("variant_id")
    quantity = whole(product.get("quantity"), f"{where}.quantity")
    return Item(
        product_id,
        text_id(given, f"{where}.sku"),
        text(product.get("product_name") or product.get("title"), f"{where}.product_name"),
        text(product.get("category"), f"{where}.category"),
        1 if quantity is None else quantity,
        number(product.get("price"), f"{where}.price"),
    )


def _person(event: Event, one: dict[str, Any]) -> None:
    """A known user; else the alias, Braze's own id, or the address of one who is not known yet."""
    event.customer_id = text_id(one.get("external_id"), "external_id")
    alias = inner(one.get("user_alias"), "user_alias").get("alias_name")
    event.anonymous_id = text_id(alias, "user_alias.alias_name") or text_id(one.get("braze_id"), "braze_id")
    if event.customer_id is None and event.anonymous_id is None:
        known = text(one.get("email") or one.get("phone"), "email")
        event.anonymous_id = None if known is None else email_id(known)


def _orders(purchases: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Purchases are lines: those of one person and one order, or one time, are an order."""
    orders: dict[str, list[dict[str, Any]]] = {}
    for one in purchases:
        order = inner(one.get("properties"), "properties").get("order_id") or one.get("time")
        orders.setdefault(str([order, *(one.get(name) for name in PEOPLE)]), []).append(one)
    return list(orders.values())


def _purchases(lines: list[dict[str, Any]], stamp: int) -> Event:
    given = [inner(line.get("properties"), "properties") for line in lines]
    ts, flags = moment(stamp, (lines[0].get("time"), "time"), zone=UTC)
    event = Event(content_id(_sorted(lines)), "order_completed", ts, flags=flags)
    event.items = [_item(own | line, "purchases") for line, own in zip(lines, given, strict=True)]
    event.value = sum((item.price or 0) * item.quantity for item in event.items)
    event.currency = code(lines[0].get("currency"), "currency")
    event.order_id = text_id(given[0].get("order_id"), "properties.order_id")
    _person(event, lines[0])
    event.properties = {name: found for name, found in given[0].items() if name not in TAKEN} or None
    return event


def _attributes(one: dict[str, Any], stamp: int) -> Event | None:
    """Of a user's attributes only the subscription is news here."""
    agreed = AGREED.get(str(one.get("email_subscribe")))
    if agreed is None:
        return None
    ts, flags = moment(stamp)
    event = Event(content_id(_sorted(one)), "customer_updated", ts, flags=flags, consent=Consent(marketing=agreed))
    _person(event, one)
    return event


def _exported(payload: dict[str, Any], stamp: int) -> Event | None:
    """An event of Currents, None for what Braze did itself."""
    given = payload.get("properties")
    if isinstance(given, str):  # in files the properties are JSON in a text
        given = json_object(given.encode())
    user, more = inner(payload.get("user"), "user"), inner(given, "properties")
    nested = "user" in payload
    flat: dict[str, Any] = {**payload, **user, **more} if nested else payload
    kind = _kind(payload, flat)
    own = flat.get("custom_properties", flat.get("purchase_properties")) if nested else more
    if kind == CUSTOM:
        event = _said(payload, text(flat.get("name"), "name"), inner(own, "custom_properties"), stamp)
    elif kind == PURCHASE:
        event = _purchases([flat | {"properties": own}], stamp)
    elif kind in CURRENTS:
        ts, flags = moment(stamp, (payload.get("time"), "time"))
        event = Event("", CURRENTS[kind], ts, flags=flags)
        _message(event, flat, kind)
    elif kind.startswith(LEFT_OUT):
        return None
    else:
        raise BadEvent("wrong_type", f"event_type is {kind!r:.60}; allowed: those of Currents, which begin with users.")
    event.event_id = text_id(payload.get("id"), "id") or content_id(_sorted(payload))
    event.customer_id = text_id(flat.get("external_user_id"), "external_user_id")
    event.anonymous_id = text_id(flat.get("user_id"), "user_id")
    if flat.get("platform") in ("ios", "android"):
        event.device = "mobile"
    return event


def _kind(payload: dict[str, Any], flat: Mapping[str, Any]) -> str:
    """The event's type; in files it is the folder's name, and only what is in them tells."""
    kind = text(payload.get("event_type"), "event_type")
    if kind is not None:
        return kind.lower()
    if "name" in flat:
        return CUSTOM
    if "product_id" in flat:
        return PURCHASE
    raise BadEvent("missing_type", "event_type is missing")


def _message(event: Event, flat: Mapping[str, Any], kind: str) -> None:
    medium = MEDIA.get(kind.split(".")[2])
    event.channel = medium
    event.url = text(flat.get("url"), "url")
    event.user_agent = text(flat.get("user_agent"), "user_agent")
    name = text(flat.get("campaign_name") or flat.get("canvas_name"), "campaign_name")
    event.campaign = campaign_of(event.url) or (Campaign("braze", medium, name) if name is not None else None)
    if kind in REFUSED:
        event.consent = Consent(marketing=False)
    elif event.type == "customer_updated" and flat.get("channel", "email") == "email":
        agreed = AGREED.get(snake(str(flat.get("subscription_status"))))
        event.consent = None if agreed is None else Consent(marketing=agreed)
    event.properties = {word: flat[word] for word in MESSAGE if flat.get(word) not in (None, "")} or None
