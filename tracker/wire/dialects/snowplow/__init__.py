"""Snowplow's enriched events as the analytics SDKs write them in JSON: the atomic fields, one self-describing event
and the entities around it."""

from __future__ import annotations

import re
from datetime import UTC
from typing import Any

from tracker.domain.events import Campaign, Event, Item
from tracker.errors import BadEvent
from tracker.wire.dialects.common import json_object, number, snake, text_id, whole
from tracker.wire.dialects.dialect import Fields
from tracker.wire.dialects.ga4.params import read_items, read_params
from tracker.wire.dialects.snowplow.consent import consent_of
from tracker.wire.dialects.snowplow.described import Described, entities_of, event_of
from tracker.wire.dialects.snowplow.ecommerce import (
    GOOGLE_ACTION,
    PROMOTIONS,
    STEP,
    USER,
    currency_of,
    first,
    item_of,
    read_entities,
)
from tracker.wire.dialects.snowplow.names import ACTIONS, ENHANCED_ACTIONS, NAMES, type_of
from tracker.wire.times import TS_MISSING, milliseconds

_SESSION = "com_snowplowanalytics_snowplow_client_session_1"
_AGENT = "nl_basjes_yauaa_context_1"
_NOBODY = "00000000-0000-0000-0000-000000000000"
"""An id under anonymous tracking."""
_DEVICES = {"computer": "desktop", "phone": "mobile", "unknown": None, "anonymized": None}
_NO_CHANNEL = frozenset({"internal", "unknown"})
_OWN_FIELDS = {
    "page_view": ("page_title",),
    "page_ping": ("page_title", "pp_xoffset_min", "pp_xoffset_max", "pp_yoffset_min", "pp_yoffset_max"),
    "event": ("se_category", "se_action", "se_label", "se_property", "se_value"),
    "transaction": ("tr_affiliation", "tr_tax", "tr_shipping"),
}
"""Atomic fields that are an event's own properties, by its name."""

_CANONICAL = ("order_id", "cart_id", "checkout_id", "account_id", "channel")
_CURRENCY = re.compile(r"[A-Za-z]{3}")


class Snowplow:
    """The adapter."""

    name = "snowplow"
    reads = "Snowplow's enriched events as its analytics SDKs write them in JSON."

    def recognises(self, fields: Fields) -> bool:
        """Every enriched event has both."""
        return "collector_tstamp" in fields and "event_id" in fields

    def events(self, value: bytes, stamp: int) -> list[Event]:
        """The event; none under anonymous tracking, where nobody is meant to be known."""
        fields = json_object(value)
        word, data = event_of(fields)
        entities = entities_of(fields)
        customer, anonymous = _people(fields, entities)
        if customer is None and anonymous is None and fields.get("network_userid") == _NOBODY:
            return []
        name = _name(fields)
        ts = _time(fields)
        event = Event(
            event_id=text_id(fields.get("event_id"), "event_id") or "",
            type=_type(name, fields, data, entities),
            ts=stamp if ts is None else ts,
            customer_id=customer,
            anonymous_id=anonymous,
            channel=_channel(fields),
            device=_device(fields, entities),
            url=text_id(fields.get("page_url"), "page_url"),
            referrer=text_id(fields.get("page_referrer"), "page_referrer"),
            campaign=_campaign(fields),
            consent=consent_of(name, data, entities),
            user_agent=text_id(fields.get("useragent"), "useragent"),
            flags=[TS_MISSING] if ts is None else None,
        )
        _read(event, name, word, fields, data, entities)
        return [event]


SNOWPLOW = Snowplow()


def _people(fields: dict[str, Any], entities: Described) -> tuple[str | None, str | None]:
    """(customer id, anonymous id). Apps keep the visitor's id in their session. The collector's cookie is the last
    resort, since every request of a server would get another one."""
    user = first(entities, USER)
    customer = text_id(fields.get("user_id"), "user_id")
    if customer is None and user.get("is_guest") is not True:
        customer = text_id(user.get("id"), f"{USER}.id")
    visitor = _visitor(fields.get("domain_userid"), "domain_userid")
    if visitor is None:
        visitor = _visitor(first(entities, _SESSION).get("userId"), f"{_SESSION}.userId")
    if visitor is None and customer is None:
        visitor = _visitor(fields.get("network_userid"), "network_userid")
    return customer, visitor


def _visitor(given: Any, field: str) -> str | None:
    return None if given == _NOBODY else text_id(given, field)


def _name(fields: dict[str, Any]) -> str:
    """The event's name, `event` for structured ones."""
    for field in ("event_name", "event"):
        name = fields.get(field)
        if isinstance(name, str) and name:
            return "event" if name == "struct" else name
    raise BadEvent("missing_type", "event_name and event are missing; required: one of them")


def _type(name: str, fields: dict[str, Any], data: dict[str, Any], entities: Described) -> str:
    if name == "event":
        return snake(_action(fields, "se_action"))
    if name == "snowplow_ecommerce_action":
        action = _action(data, "type")
        if action == "checkout_step":
            return _of_step(first(entities, STEP))
        return ACTIONS.get(action) or snake(action)
    if name == "action" and fields.get("event_vendor") == "com.google.analytics.enhanced-ecommerce":
        action = _action(data, "action")
        if action == "view" and PROMOTIONS[1] in entities:
            return "promotion_viewed"
        if action == "checkout" and first(entities, GOOGLE_ACTION).get("step") == 1:
            return "checkout_started"
        return ENHANCED_ACTIONS.get(action) or snake(action)
    if name == "social_interaction" and data.get("action") == "share":
        return "product_shared"
    return type_of(name, text_id(fields.get("event_vendor"), "event_vendor") or "")


def _action(given: dict[str, Any], field: str) -> str:
    action = given.get(field)
    if not isinstance(action, str) or not action:
        raise BadEvent("missing_type", f"{field} of the event is {action!r:.60}; required: text")
    return action


def _of_step(step: dict[str, Any]) -> str:
    """The first step is the checkout's start, and one that says how it is paid has the payment's details."""
    if whole(step.get("step"), f"{STEP}.step") == 1:
        return "checkout_started"
    return "payment_info_entered" if step.get("payment_method") else "checkout_step_completed"


def _time(fields: dict[str, Any]) -> int | None:
    """When it happened, ms: the derived timestamp, by its definition where it is not given."""
    derived = _stamp(fields, "derived_tstamp")
    if derived is None:
        derived = _stamp(fields, "true_tstamp")
    if derived is not None:
        return derived
    collected, sent, created = (
        _stamp(fields, name) for name in ("collector_tstamp", "dvce_sent_tstamp", "dvce_created_tstamp")
    )
    if collected is None or sent is None or created is None:
        return created if collected is None else collected
    return collected - (sent - created)


def _stamp(fields: dict[str, Any], name: str) -> int | None:
    """One of the timestamps, ms; they are UTC, whether they say so or not."""
    given = fields.get(name)
    return None if given is None or given == "" else milliseconds(given, name, UTC)


def _campaign(fields: dict[str, Any]) -> Campaign | None:
    source, medium, name = (text_id(fields.get(field), field) for field in ("mkt_source", "mkt_medium", "mkt_campaign"))
    return Campaign(source, medium, name) if source or medium or name else None


def _channel(fields: dict[str, Any]) -> str | None:
    """What the referer parser says of the page before, if it was another site's."""
    found = text_id(fields.get("refr_medium"), "refr_medium")
    return None if found in _NO_CHANNEL else found


def _device(fields: dict[str, Any], entities: Described) -> str | None:
    given = first(entities, _AGENT).get("deviceClass") or fields.get("dvce_type")
    if isinstance(given, str) and given:
        kind = snake(given)
        return _DEVICES.get(kind, kind)
    return "mobile" if fields.get("platform") == "mob" or fields.get("dvce_ismobile") is True else None


def _read(
    event: Event, name: str, word: str, fields: dict[str, Any], data: dict[str, Any], entities: Described
) -> None:
    properties = {field: given for field in _OWN_FIELDS.get(name, ()) if (given := fields.get(field)) is not None}
    if name == "transaction":
        event.order_id = text_id(fields.get("tr_orderid"), "tr_orderid")
        event.value = number(fields.get("tr_total"), "tr_total")
        event.currency = currency_of({"currency": fields.get("tr_currency")})
    elif name == "transaction_item":
        event.order_id = text_id(fields.get("ti_orderid"), "ti_orderid")
        event.items = [_item(fields)]
        event.currency = currency_of({"currency": fields.get("ti_currency") or fields.get("tr_currency")})
    elif word.startswith("com_google_tag_manager_server_side_"):
        params = dict(data)
        read_items(event, params.pop("items", None), f"{word}.items")
        read_params(event, params, word)
        properties |= event.properties or {}
        data = {}
    elif event.type in ("product_added", "product_removed") and data.get("sku"):
        event.items = [item_of(data, word)]
        event.currency = currency_of(data)
        data = {}
    elif name in ("snowplow_ecommerce_action", "action"):
        data = {field: given for field, given in data.items() if field not in ("type", "action")}
    elif name == "identify":
        event.customer_id = event.customer_id or text_id(data.get("id"), f"{word}.id")
        data = {}
    elif name not in NAMES:
        data = _read_own(event, data)
    properties |= {field: given for field, given in data.items() if given is not None}
    read_entities(event, entities, properties)
    event.properties = properties or None


def _read_own(event: Event, data: dict[str, Any]) -> dict[str, Any]:
    """Move the canonical fields that a shop's own event has there, where they look like them; the rest of its data."""
    rest = dict(data)
    for field in _CANONICAL:
        given = data.get(field)
        if given and isinstance(given, str | int) and not isinstance(given, bool):
            setattr(event, field, str(rest.pop(field)))
    currency, value = data.get("currency"), data.get("value")
    if isinstance(currency, str) and _CURRENCY.fullmatch(currency):
        event.currency = rest.pop("currency").upper()
        if value is not None:
            event.value = number(rest.pop("value"), "value")
    return rest


def _item(fields: dict[str, Any]) -> Item:
    found = {field: fields.get(f"ti_{field}") for field in ("sku", "name", "category", "quantity", "price")}
    return item_of(found, "transaction_item")
