"""What a canonical event may hold, so that states and outputs stay bounded: the limits, and the check of them."""

from __future__ import annotations

from typing import Any, NoReturn

from tracker.domain.events import NOT_AN_IDENTITY, Event, Item, person_id
from tracker.errors import BadEvent

# Bounds: what one person's state and one output record can hold follows from them.
MAX_EVENT_BYTES = 256 * 1024
MAX_ID = 128
MAX_TYPE = 64
MAX_WORD = 256  # channel, device, campaign fields, each segment
MAX_NAME = 1024  # item name and category
MAX_TEXT = 8192  # url, referrer, user agent
MAX_ITEMS = 500
MAX_SEGMENTS = 100
MAX_DEPTH = 32  # of nested properties
MAX_AMOUNT = 1e12
MAX_QUANTITY = 1_000_000
MIN_TS = 631_152_000_000  # 1990-01-01
MAX_TS = 7_258_118_400_000  # 2200-01-01

ID_FIELDS = ("event_id", "customer_id", "anonymous_id", "account_id", "cart_id", "checkout_id", "order_id")


def check(event: Event, value: bytes) -> str:
    """The person id of an event that keeps all bounds. Strings cannot be longer than the record, so a short
    record needs few looks."""
    if not 0 < len(event.event_id) <= MAX_ID:
        _bad_id("event_id", event.event_id)
    if not 0 < len(event.type) <= MAX_TYPE:
        _bad_type(event.type)
    if not MIN_TS <= event.ts < MAX_TS:
        raise BadEvent(
            "bad_ts",
            f"ts is {event.ts}; allowed: milliseconds since 1970 between {MIN_TS} (1990) and {MAX_TS} (2200)",
        )
    person = person_id(event)
    if person is None:
        raise BadEvent(
            "no_identity",
            f"customer_id is {event.customer_id!r:.60}, anonymous_id is {event.anonymous_id!r:.60}; "
            f"allowed: at least one that names somebody (not {', '.join(sorted(NOT_AN_IDENTITY - {''}))} or empty)",
        )
    size = len(value)
    if size > MAX_ID:
        for given in (
            event.customer_id,
            event.anonymous_id,
            event.account_id,
            event.cart_id,
            event.checkout_id,
            event.order_id,
        ):
            if given is not None and len(given) > MAX_ID:
                _find_long_id(event)
        if size > MAX_WORD:
            for given in (event.channel, event.device):
                if given is not None and len(given) > MAX_WORD:
                    _bad_text("channel or device", given, MAX_WORD)
            if event.campaign is not None or event.segments is not None:
                _check_words(event)
            if size > MAX_TEXT:
                _check_texts(event)
    amount = event.value
    if amount is not None and not -MAX_AMOUNT <= amount <= MAX_AMOUNT:
        _bad_number("value", amount, f"-{MAX_AMOUNT:.0f} to {MAX_AMOUNT:.0f}")
    currency = event.currency
    if currency is not None and not (len(currency) == 3 and currency.isascii() and currency.isalpha()):
        raise BadEvent("bad_currency", f"currency is {currency!r:.60}; allowed: three letters, for example NOK")
    if event.items is not None:
        _check_items(event.items)
    if event.properties is not None:
        _check_properties(event.properties, 1)
    return person


def _find_long_id(event: Event) -> None:
    for field in ID_FIELDS:
        given = getattr(event, field)
        if given is not None and len(given) > MAX_ID:
            _bad_id(field, given)


def _check_words(event: Event) -> None:
    campaign = event.campaign
    if campaign is not None:
        for given in (campaign.source, campaign.medium, campaign.name):
            if given is not None and len(given) > MAX_WORD:
                _bad_text("campaign", given, MAX_WORD)
    segments = event.segments
    if segments is not None:
        if len(segments) > MAX_SEGMENTS:
            raise BadEvent("list_too_long", f"segments has {len(segments)} entries; allowed: {MAX_SEGMENTS}")
        for segment in segments:
            if len(segment) > MAX_WORD:
                _bad_text("segments", segment, MAX_WORD)


def _check_texts(event: Event) -> None:
    for field in ("url", "referrer", "user_agent"):
        given = getattr(event, field)
        if given is not None and len(given) > MAX_TEXT:
            _bad_text(field, given, MAX_TEXT)


def _check_items(items: list[Item]) -> None:
    if len(items) > MAX_ITEMS:
        raise BadEvent("list_too_long", f"items has {len(items)} entries; allowed: {MAX_ITEMS}")
    for index, item in enumerate(items):
        if not 0 < len(item.product_id) <= MAX_ID:
            _bad_id(f"items[{index}].product_id", item.product_id)
        if item.sku is not None and len(item.sku) > MAX_ID:
            _bad_id(f"items[{index}].sku", item.sku)
        if item.name is not None and len(item.name) > MAX_NAME:
            _bad_text(f"items[{index}].name", item.name, MAX_NAME)
        if item.category is not None and len(item.category) > MAX_NAME:
            _bad_text(f"items[{index}].category", item.category, MAX_NAME)
        if not 0 <= item.quantity <= MAX_QUANTITY:
            _bad_number(f"items[{index}].quantity", item.quantity, f"0 to {MAX_QUANTITY}")
        if item.price is not None and not -MAX_AMOUNT <= item.price <= MAX_AMOUNT:
            _bad_number(f"items[{index}].price", item.price, f"-{MAX_AMOUNT:.0f} to {MAX_AMOUNT:.0f}")


def _check_properties(given: Any, depth: int) -> None:
    """Only what can be written again: JSON of bounded depth whose whole numbers fit 64 bits."""
    if depth >= MAX_DEPTH and given:
        raise BadEvent("too_deep", f"properties are nested more than {MAX_DEPTH} deep; allowed: {MAX_DEPTH}")
    for inner in given.values() if type(given) is dict else given:
        kind = type(inner)
        if kind is dict or kind is list:
            _check_properties(inner, depth + 1)
        elif kind is int and not -(1 << 63) <= inner < (1 << 63):
            _bad_number("properties", inner, "whole numbers of 64 bits; send larger ones as text")


def _bad_id(field: str, given: str) -> NoReturn:
    if not given:
        raise BadEvent("missing_id", f"{field} is empty; allowed: 1 to {MAX_ID} characters")
    raise BadEvent("id_too_long", f"{field} has {len(given)} characters ({given[:40]!r}…); allowed: 1 to {MAX_ID}")


def _bad_type(given: str) -> NoReturn:
    if not given:
        raise BadEvent("missing_type", f"type is empty; allowed: 1 to {MAX_TYPE} characters")
    raise BadEvent("text_too_long", f"type has {len(given)} characters ({given[:40]!r}…); allowed: {MAX_TYPE}")


def _bad_text(field: str, given: str, most: int) -> NoReturn:
    raise BadEvent("text_too_long", f"{field} has {len(given)} characters ({given[:40]!r}…); allowed: {most}")


def _bad_number(field: str, given: object, allowed: str) -> NoReturn:
    raise BadEvent("bad_number", f"{field} is {given!r:.60}; allowed: {allowed}")
