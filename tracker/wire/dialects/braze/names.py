"""What Braze's events are called, and what each is here."""

from __future__ import annotations

from collections.abc import Mapping

EVENTS: Mapping[str, str] = {
    "ecommerce.product_viewed": "product_viewed",
    "ecommerce.cart_updated": "cart_updated",
    "ecommerce.checkout_started": "checkout_started",
    "ecommerce.order_placed": "order_completed",
    "ecommerce.order_refunded": "order_refunded",
    "ecommerce.order_cancelled": "order_cancelled",
    "shopify_product_viewed": "product_viewed",
    "shopify_product_clicked": "product_clicked",
    "shopify_abandoned_cart": "cart_updated",
    "shopify_abandoned_checkout": "checkout_started",
    "shopify_created_order": "order_completed",
    "shopify_paid_order": "order_completed",
    "shopify_partially_fulfilled_order": "order_updated",
    "shopify_fulfilled_order": "order_shipped",
    "shopify_cancelled_order": "order_cancelled",
    "shopify_created_refund": "order_refunded",
    "shopify_account_login": "identified",
}
"""Recommended events, and those that its older Shopify integration sent.
https://www.braze.com/docs/user_guide/data/activation/events/recommended_events/ecommerce_events"""
ACTIONS = {"add": "product_added", "remove": "product_removed"}
"""A cart update whose `action` is one of these has only what changed in `products`."""

CUSTOM = "users.behaviors.customevent"
PURCHASE = "users.behaviors.purchase"
CURRENTS: Mapping[str, str] = {
    "users.messages.email.open": "email_opened",
    "users.messages.email.click": "email_clicked",
    "users.messages.email.unsubscribe": "customer_updated",
    "users.messages.email.markasspam": "customer_updated",
    "users.behaviors.subscription.globalstatechange": "customer_updated",
    "users.messages.sms.shortlinkclick": "sms_clicked",
    "users.messages.sms.inboundreceive": "sms_answered",
    "users.messages.rcs.click": "rcs_clicked",
    "users.messages.line.click": "line_clicked",
    "users.messages.line.inboundreceive": "line_answered",
    "users.messages.whatsapp.click": "whatsapp_clicked",
    "users.messages.whatsapp.inboundreceive": "whatsapp_answered",
    "users.messages.pushnotification.open": "push_opened",
    "users.messages.inappmessage.impression": "promotion_viewed",
    "users.messages.inappmessage.click": "promotion_clicked",
    "users.messages.contentcard.impression": "promotion_viewed",
    "users.messages.contentcard.click": "promotion_clicked",
    "users.messages.banner.impression": "promotion_viewed",
    "users.messages.banner.click": "promotion_clicked",
    "users.behaviors.app.sessionstart": "app_opened",
}
"""What the person did, of the events that Currents exports, in small letters.
https://www.braze.com/docs/user_guide/data/distribution/braze_currents/event_glossary/message_engagement_events"""
REFUSED = frozenset({"users.messages.email.unsubscribe", "users.messages.email.markasspam"})
LEFT_OUT = (
    "users.behaviors.",
    "users.campaigns.",
    "users.canvas.",
    "users.messages.",
    "users.randombucketnumberupdate",
    "users.userdeleterequest",
    "users.userorphan",
)
"""Everything else there: what Braze did or noted itself. An event whose type begins otherwise is none of Currents'."""
MEDIA = {
    "email": "email",
    "sms": "sms",
    "rcs": "rcs",
    "whatsapp": "whatsapp",
    "line": "line",
    "pushnotification": "push",
}
"""Third word of an event's type: the channel that it came through."""
