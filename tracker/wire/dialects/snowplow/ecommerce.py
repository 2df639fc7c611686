"""What an event's entities and data say of products, carts, checkouts and orders."""

from __future__ import annotations

from typing import Any

from tracker.domain.events import Event, Item
from tracker.errors import BadEvent
from tracker.wire.dialects.common import number, text_id, whole
from tracker.wire.dialects.snowplow.described import Described

_SNOWPLOW = "com_snowplowanalytics_snowplow_ecommerce_"
_GOOGLE = "com_google_analytics_enhanced_ecommerce_"
PRODUCTS = (f"{_SNOWPLOW}product_1", f"{_GOOGLE}product_field_object_1", f"{_GOOGLE}impression_field_object_1")
CART = f"{_SNOWPLOW}cart_1"
STEP = f"{_SNOWPLOW}checkout_step_1"
TRANSACTION = f"{_SNOWPLOW}transaction_1"
REFUND = f"{_SNOWPLOW}refund_1"
ERROR = f"{_SNOWPLOW}transaction_error_1"
PROMOTIONS = (f"{_SNOWPLOW}promotion_1", f"{_GOOGLE}promo_field_object_1")
PAGE = f"{_SNOWPLOW}page_1"
USER = f"{_SNOWPLOW}user_1"
GOOGLE_ACTION = f"{_GOOGLE}action_field_object_1"

_ADDRESSES = frozenset({"shipping_postcode", "billing_postcode", "shipping_full_address", "billing_full_address"})
_WITH_CART_VALUE = frozenset(
    "cart_viewed checkout_started checkout_step_viewed checkout_step_completed payment_info_entered".split()
)


def first(entities: Described, word: str) -> dict[str, Any]:
    """The entity that is described so; empty where there is none."""
    found = entities.get(word)
    return found[0] if found else {}


def read_entities(event: Event, entities: Described, properties: dict[str, Any]) -> None:
    """Move what has a place of its own in the event there, and what is left into its properties. Raises
    `BadEvent`."""
    items = [
        item_of(product, f"{word}[{place}]")
        for word in PRODUCTS
        for place, product in enumerate(entities.get(word, ()))
    ]
    event.items = items or event.items
    cart, transaction, refund = (first(entities, word) for word in (CART, TRANSACTION, REFUND))
    google = first(entities, GOOGLE_ACTION)
    event.cart_id = text_id(cart.get("cart_id"), f"{CART}.cart_id") or event.cart_id
    if refund:
        event.order_id = text_id(refund.get("transaction_id"), f"{REFUND}.transaction_id")
        event.value = number(refund.get("refund_amount"), f"{REFUND}.refund_amount")
    elif transaction:
        event.order_id = text_id(transaction.get("transaction_id"), f"{TRANSACTION}.transaction_id")
        event.value = number(transaction.get("revenue"), f"{TRANSACTION}.revenue")
    elif google:
        event.order_id = text_id(google.get("id"), f"{GOOGLE_ACTION}.id")
        event.value = number(google.get("revenue"), f"{GOOGLE_ACTION}.revenue")
    elif event.type in _WITH_CART_VALUE:
        event.value = number(cart.get("total_value"), f"{CART}.total_value")
    priced = (
        entity for word in (REFUND, TRANSACTION, GOOGLE_ACTION, CART, *PRODUCTS) for entity in entities.get(word, ())
    )
    event.currency = next((found for entity in priced if (found := currency_of(entity))), event.currency)
    _keep(properties, cart, {"cart_id", "currency"} | ({"total_value"} if event.type in _WITH_CART_VALUE else set()))
    _keep(properties, first(entities, STEP), _ADDRESSES)
    _keep(properties, transaction, {"transaction_id", "revenue", "currency"})
    _keep(properties, refund, {"transaction_id", "refund_amount", "currency"})
    _keep(properties, google, {"id", "revenue", "currency"})
    _keep(properties, first(entities, ERROR), ())
    for word in PROMOTIONS:
        _keep(properties, first(entities, word), {"currency"}, "promotion_")
    page = dict(first(entities, PAGE))
    if (kind := page.pop("type", None)) is not None:
        properties["page_type"] = kind
    _keep(properties, page, ())
    guest = first(entities, USER).get("is_guest")
    if guest is not None:
        properties["is_guest"] = guest


def item_of(product: dict[str, Any], field: str) -> Item:
    """A product, under the names of any of the schemas that have one. Raises `BadEvent`."""
    product_id = text_id(product.get("id"), f"{field}.id") or text_id(product.get("sku"), f"{field}.sku")
    name = text_id(product.get("name"), f"{field}.name")
    if product_id is None and name is None:
        raise BadEvent("missing_id", f"{field} has neither id nor name: {product!r:.80}")
    quantity = whole(product.get("quantity"), f"{field}.quantity")
    price = number(product.get("price"), f"{field}.price")
    return Item(
        product_id=product_id or name or "",
        sku=text_id(product.get("variant"), f"{field}.variant") or text_id(product.get("size"), f"{field}.size"),
        name=name,
        category=text_id(product.get("category"), f"{field}.category"),
        quantity=1 if quantity is None else quantity,
        price=number(product.get("unitPrice"), f"{field}.unitPrice") if price is None else price,
    )


def currency_of(entity: dict[str, Any]) -> str | None:
    """In upper case."""
    found = text_id(entity.get("currency"), "currency")
    return None if found is None else found.upper()


def _keep(properties: dict[str, Any], entity: dict[str, Any], without: Any, prefix: str = "") -> None:
    for name, given in entity.items():
        if given is not None and name not in without:
            properties[prefix + name] = given
