"""Canonical events: what a shop reports about a person, and which event types count as the person's own activity.

Shapes follow the outside contract: one JSON object per event, times in milliseconds UTC.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Item(msgspec.Struct, omit_defaults=True, gc=False):
    """One line of a cart, a checkout or an order; `price` is per unit in the event's currency."""

    product_id: str
    sku: str | None = None
    name: str | None = None
    category: str | None = None
    quantity: int = 1
    price: float | None = None


class Campaign(msgspec.Struct, omit_defaults=True, gc=False):
    """Where a visit was won: the utm fields of the shop's links."""

    source: str | None = None
    medium: str | None = None
    name: str | None = None


class Consent(msgspec.Struct, omit_defaults=True, gc=False):
    """What the person allows; None means that the event says nothing about it."""

    marketing: bool | None = None
    analytics: bool | None = None


class Event(msgspec.Struct, omit_defaults=True, gc=False):
    """A canonical event. `ts` is in ms UTC; at least one of `customer_id`, `anonymous_id` is an identity."""

    event_id: str
    type: str
    ts: int
    customer_id: str | None = None
    anonymous_id: str | None = None
    account_id: str | None = None
    channel: str | None = None
    device: str | None = None
    url: str | None = None
    referrer: str | None = None
    campaign: Campaign | None = None
    cart_id: str | None = None
    checkout_id: str | None = None
    order_id: str | None = None
    items: list[Item] | None = None
    value: float | None = None
    currency: str | None = None
    consent: Consent | None = None
    user_agent: str | None = None
    segments: list[str] | None = None
    properties: dict[str, Any] | None = None
    flags: list[str] | None = None
    """What ingest had to mend, for example `ts_in_future`."""


EVENT_TYPES: tuple[str, ...] = tuple(
    """
    page_viewed search_performed product_list_viewed product_viewed review_read size_guide_viewed video_watched
    calculator_used webinar_attended promotion_viewed promotion_clicked ad_viewed ad_clicked email_opened
    email_clicked sms_clicked store_visited call_made chat_started wishlist_added wishlist_removed product_added
    product_removed cart_viewed cart_updated cart_emptied checkout_started checkout_step_viewed
    checkout_step_completed payment_info_entered payment_failed coupon_entered coupon_applied coupon_denied
    coupon_removed order_completed order_updated order_cancelled order_refunded order_shipped order_delivered
    return_requested product_used onboarding_step_completed trial_started subscription_started
    subscription_renewed subscription_cancelled support_requested support_resolved complaint_made survey_answered
    product_reviewed product_shared referral_made loyalty_joined newsletter_subscribed identified logged_out
    lead_submitted demo_booked quote_requested quote_sent contract_signed
    """.split()
)
"""Types with a meaning of their own; any other type is accepted, counts as activity and can be named in a model.
States hold a type by its place in this table, one bit each of an integer of 64: there is no place for another."""

PASSIVE_TYPES: frozenset[str] = frozenset(
    """
    ad_viewed email_opened order_updated order_cancelled order_refunded order_shipped order_delivered
    subscription_renewed support_resolved quote_sent contract_signed customer_updated
    """.split()
)
"""Types that neither open nor extend a session, nor delay a drop-off, nor open a journey."""

KNOWN_TYPES: frozenset[str] = frozenset(EVENT_TYPES) | PASSIVE_TYPES

BOT = "bot"
"""Flag of an event that a crawler caused."""

NOT_AN_IDENTITY: frozenset[str] = frozenset(
    {
        *("", "0", "null", "undefined", "anonymous", "guest", "none", "nan"),
        *("[object object]", "00000000-0000-0000-0000-000000000000"),
    }
)
"""Values that shops send where they know nobody (compared in lower case)."""


def is_identity(value: str | None) -> bool:
    """Whether an id names anybody at all."""
    return value is not None and value.strip().lower() not in NOT_AN_IDENTITY


def person_id(event: Event) -> str | None:
    """`c:` + customer id, else `a:` + anonymous id, else None (the prefixes keep the two kinds of id apart)."""
    if is_identity(event.customer_id):
        return f"c:{event.customer_id}"
    if is_identity(event.anonymous_id):
        return f"a:{event.anonymous_id}"
    return None
