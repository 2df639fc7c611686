"""What a track call's properties say: ids, products, sums; the rest stays properties."""

from __future__ import annotations

from typing import Any

from tracker.domain.events import Campaign, Event, Item
from tracker.errors import BadEvent
from tracker.wire.dialects.common import number, text_id, whole

_WITH_VALUE = frozenset(
    """
    cart_viewed cart_updated checkout_started checkout_step_viewed checkout_step_completed payment_info_entered
    payment_failed order_completed order_updated order_cancelled order_refunded trial_started subscription_started
    subscription_renewed subscription_cancelled contract_signed quote_requested quote_sent
    """.split()
)
_OF_ONE_PRODUCT = frozenset(
    """
    product_clicked product_viewed product_added product_removed product_shared product_reviewed wishlist_added
    wishlist_removed
    """.split()
)
"""Types whose properties may be a product's own; its `id` is version 1's."""
_PRODUCT = ("product_id", "productId", "sku", "name", "category", "quantity", "price")
_SUMS = ("total", "value", "revenue")
"""The first that there is counts: `total` is what is paid, `revenue` leaves tax and shipping out."""


def read_properties(event: Event, given: dict[str, Any]) -> None:
    """Move what has a place of its own in the event there, and keep the rest as its properties. Raises `BadEvent`."""
    kind = event.type
    event.order_id = _id(given, "order_id", "orderId")
    event.cart_id = _id(given, "cart_id", "cartId")
    event.checkout_id = _id(given, "checkout_id", "checkoutId")
    products = given.pop("products", None)
    if products:
        event.items = _items(products)
    elif "product_id" in given or "sku" in given or kind in _OF_ONE_PRODUCT:
        event.items = _one_product(given, kind in _OF_ONE_PRODUCT)
    currency = given.pop("currency", None)
    if currency:
        if type(currency) is not str:
            raise BadEvent("bad_currency", f"properties.currency is {currency!r:.60}; allowed: text, for example NOK")
        event.currency = currency.upper()
    if kind in _WITH_VALUE:
        for name in _SUMS:
            if name in given and (value := number(given.pop(name), f"properties.{name}")) is not None:
                event.value = value
                break
    elif kind == "product_reviewed" and "rating" in given:
        given["rating"] = _score(given["rating"])
    channel = given.get("channel")
    if type(channel) is str:
        event.channel = channel or None
        del given["channel"]
    if event.campaign is None and ("campaign" in given or "campaign_name" in given):
        event.campaign = _campaign(given)
    event.properties = given or None


def _campaign(given: dict[str, Any]) -> Campaign | None:
    """That of a message: the mobile specification has an object, the one for mails a name."""
    campaign = given.get("campaign")
    if isinstance(campaign, dict):
        del given["campaign"]
        parts = (text_id(campaign.get(part), f"properties.campaign.{part}") for part in ("source", "medium", "name"))
        return Campaign(*parts) if campaign else None
    name = given.get("campaign_name")
    if not isinstance(name, str) or not name:
        return None
    return Campaign(name=given.pop("campaign_name"))


def _score(given: Any) -> Any:
    """The specification's own examples have ratings as text; scores are whole numbers."""
    try:
        return whole(given, "properties.rating")
    except BadEvent:
        return given


def _id(given: dict[str, Any], name: str, other: str) -> str | None:
    found = given.pop(name, None)
    if found is None:
        if other not in given:
            return None
        name, found = other, given.pop(other)
    return (found or None) if type(found) is str else text_id(found, f"properties.{name}")


def _items(products: Any) -> list[Item]:
    if isinstance(products, dict):
        products = [products]
    elif not isinstance(products, list):
        raise BadEvent("wrong_type", f"properties.products is {products!r:.60}; allowed: an array of objects")
    return [_item(product, place) for place, product in enumerate(products)]


def _item(product: Any, place: int) -> Item:
    where = f"properties.products[{place}]"
    if type(product) is dict:
        if (item := _described(product, where, product.get("id"))) is None:
            raise BadEvent("missing_id", f"{where} has neither product_id nor sku: {product!r:.80}")
        return item
    if isinstance(product, dict | list) or not (found := text_id(product, where)):
        raise BadEvent("wrong_type", f"{where} is {product!r:.60}; allowed: an object")
    return Item(found)


def _one_product(given: dict[str, Any], by_id: bool) -> list[Item] | None:
    item = _described(given, "properties", given.get("id") if by_id else None)
    if item is None:
        return None
    for name in _PRODUCT:
        given.pop(name, None)
    if by_id:
        given.pop("id", None)
    return [item]


def _described(product: dict[str, Any], where: str, other: Any) -> Item | None:
    """The item; None where no id is given: neither by name, nor `other`, nor a `sku`."""
    get = product.get
    identity = get("product_id") or get("productId") or other
    if type(identity) is not str:
        identity = text_id(identity, f"{where}.product_id")
    sku = get("sku")
    if type(sku) is not str:
        sku = text_id(sku, f"{where}.sku")
    quantity = get("quantity")
    if type(quantity) is not int:
        found = whole(quantity, f"{where}.quantity")
        quantity = 1 if found is None else found
    price = get("price")
    if type(price) is not float:
        price = number(price, f"{where}.price")
    name, category = get("name"), get("category")
    if type(name) is not str:
        name = _text(name, f"{where}.name")
    if type(category) is not str:
        category = _text(category, f"{where}.category")
    if not identity:
        identity = sku
    return Item(identity, sku or None, name or None, category or None, quantity, price) if identity else None


def _text(given: Any, field: str) -> str | None:
    if isinstance(given, list) and all(isinstance(part, str) for part in given):
        return "/".join(given)
    return text_id(given, field)
