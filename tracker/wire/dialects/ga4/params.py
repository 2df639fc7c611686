"""What an event's parameters say: products, sums, ids, where the visit came from, consent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tracker.domain.events import Campaign, Consent, Event, Item
from tracker.errors import BadEvent
from tracker.wire.consent import google_consent, together
from tracker.wire.dialects.common import number, text_id, whole

_OF_PRODUCTS = frozenset({"product_viewed", "product_added", "product_removed", "wishlist_added", "product_shared"})
"""Types whose parameters may be a product's own, as they were before there were `items`."""
_PROMOTIONS = frozenset({"promotion_viewed", "promotion_clicked"})
_SUMMED = frozenset({"order_completed", "order_refunded"})
_CATEGORIES = ("item_category", "item_category2", "item_category3", "item_category4", "item_category5")
_OF_ITEM = ("item_id", "item_name", "item_variant", "price", "quantity", *_CATEGORIES)
_UNKNOWN = frozenset({"", "(not set)", "(none)", "(direct)", "(organic)", "(referral)", "(other)"})
"""What Google writes where it knows nothing."""
_LONGEST_NUMBER = 18


def read_params(event: Event, params: dict[str, Any], field: str) -> None:
    """Move what has a place of its own in the event there, and keep the rest as its properties. Raises `BadEvent`."""
    kind = event.type
    for name, attribute in _IDS:
        if name in params and (given := known(params.pop(name))) is not None:
            setattr(event, attribute, text_id(given, f"{field}.{name}"))
    event.url = _text(params.pop("page_location", None), f"{field}.page_location") or event.url
    event.referrer = _text(params.pop("page_referrer", None), f"{field}.page_referrer") or event.referrer
    said = _campaign_of(params, field) or (_utm(event.url) if event.url is not None else None)
    event.campaign = event.campaign or said
    if event.items is None and kind in _OF_PRODUCTS and known(params.get("item_id", params.get("item_name"))):
        event.items = [_item(params, field)]
        for name in _OF_ITEM:
            params.pop(name, None)
    event.channel = _text(params.pop("channel", None), f"{field}.channel") or event.channel
    currency = _text(params.pop("currency", None), f"{field}.currency")
    if currency is not None:
        event.currency = currency.upper()
    if (currency is not None or kind in _SUMMED) and "value" in params:
        event.value = number(params.pop("value"), f"{field}.value")
    if kind == "order_refunded" and event.value is None and event.items:
        event.value = _sum(event.items)
    event.properties = {name: given for name, given in params.items() if given is not None} or None


_IDS = (
    ("transaction_id", "order_id"),
    ("cart_id", "cart_id"),
    ("checkout_id", "checkout_id"),
    ("account_id", "account_id"),
)
"""(parameter, field of the event): the specification's, then what shops add to it."""


def read_items(event: Event, given: Any, field: str) -> None:
    """The event's products, from its `items`. Raises `BadEvent`."""
    if not given:
        return
    if not isinstance(given, list):
        raise BadEvent("wrong_type", f"{field} is {given!r:.60}; allowed: an array of objects")
    items = []
    for place, item in enumerate(given):
        where = f"{field}[{place}]"
        if not isinstance(item, dict):
            raise BadEvent("wrong_type", f"{where} is {item!r:.60}; allowed: an object")
        if event.type in _PROMOTIONS and known(item.get("item_id", item.get("item_name"))) is None:
            continue  # a promotion may show no product
        items.append(_item(item, where))
    event.items = items or None


def _item(given: dict[str, Any], field: str) -> Item:
    name = _text(given.get("item_name"), f"{field}.item_name")
    product = text_id(known(given.get("item_id")), f"{field}.item_id") or name
    if product is None:
        raise BadEvent("missing_id", f"{field} has neither item_id nor item_name: {given!r:.80}")
    quantity = whole(given.get("quantity"), f"{field}.quantity")
    categories = [found for category in _CATEGORIES if (found := _text(given.get(category), f"{field}.{category}"))]
    return Item(
        product_id=product,
        sku=_text(given.get("item_variant"), f"{field}.item_variant"),
        name=name,
        category="/".join(categories) or None,
        quantity=1 if quantity is None else quantity,
        price=number(given.get("price"), f"{field}.price"),
    )


def _sum(items: list[Item]) -> float | None:
    """What a refund of these items gives back, if each has a price."""
    prices = [item.price * item.quantity for item in items if item.price is not None]
    return sum(prices) if len(prices) == len(items) else None


def known(given: Any) -> Any:
    """A value, None where it says that there is none."""
    return None if isinstance(given, str) and given.strip() in _UNKNOWN else given


def _text(given: Any, field: str) -> str | None:
    """A text, which may be a number such as a size."""
    return str(given) if isinstance(given, float) and not given.is_integer() else text_id(known(given), field)


def plain(whole_number: Any, *fractions: Any, field: str) -> int | float | None:
    """The number that is there. Exports write whole ones as text, whose digits would not all fit a float."""
    if isinstance(whole_number, str) and whole_number.isdecimal() and len(whole_number) <= _LONGEST_NUMBER:
        return int(whole_number)
    if whole_number is not None:
        return whole(whole_number, field)
    return next((number(given, field) for given in fractions if given is not None), None)


def segments(properties: Any) -> list[str] | None:
    """Those in the user property `segments`, separated by commas: a request has properties by name, a row a list."""
    given = None
    if isinstance(properties, dict):
        given = properties.get("segments")
    elif isinstance(properties, list):
        given = next((one for one in properties if isinstance(one, dict) and one.get("key") == "segments"), None)
    for inner in ("value", "string_value"):
        if isinstance(given, dict):
            given = given.get(inner)
    if not isinstance(given, str):
        return None
    return [segment.strip() for segment in given.split(",") if known(segment) is not None] or None


def consent(given: dict[str, Any] | None, *, personalised: bool = True) -> Consent | None:
    """What Google's consent mode says: marketing is allowed where none of its kinds is denied."""
    return together(google_consent(given or {}), None if personalised else Consent(marketing=False))


def _campaign(given: Iterable[Any], field: str) -> Campaign | None:
    """Of source, medium and name, if any is known."""
    source, medium, name = (_text(one, field) for one in given)
    return Campaign(source, medium, name) if source or medium or name else None


def _campaign_of(params: dict[str, Any], field: str) -> Campaign | None:
    """A campaign that the parameters tell of, under the tag's names or the export's."""
    for names in (("campaign_source", "campaign_medium", "campaign_name"), ("source", "medium", "campaign")):
        if names[1] in params or names[2] in params:
            return _campaign([params.pop(name, None) for name in names], field)
    return None


def _utm(url: str) -> Campaign | None:
    """The campaign in a page's address."""
    if "utm_" not in url:
        return None
    try:
        query = parse_qs(urlsplit(url).query)
    except ValueError:
        return None
    return _campaign(
        [query.get(f"utm_{word}", [None])[0] for word in ("source", "medium", "campaign")], "page_location"
    )


def collected(given: dict[str, Any] | None) -> Campaign | None:
    """The campaign that came with the event itself."""
    words = ("manual_source", "manual_medium", "manual_campaign_name")
    return None if given is None else _campaign(map(given.get, words), "collected_traffic_source")


def of_session(given: dict[str, Any] | None) -> Campaign | None:
    """The campaign to which Google attributes the session."""
    manual = (given or {}).get("manual_campaign")
    if not isinstance(manual, dict):
        return None
    return _campaign(map(manual.get, ("source", "medium", "campaign_name")), "session_traffic_source_last_click")


def channel(given: dict[str, Any] | None) -> str | None:
    """The session's default channel group: `Paid Social` is `paid_social`."""
    found = (given or {}).get("cross_channel_campaign")
    group = found.get("default_channel_group") if isinstance(found, dict) else None
    if not isinstance(group, str) or group in ("", "Unassigned", "(not set)"):
        return None
    return group.lower().replace(" ", "_")
