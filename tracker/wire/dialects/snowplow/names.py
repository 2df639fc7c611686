"""The names of Snowplow's events and actions, and the types that they are."""

from __future__ import annotations

from tracker.wire.dialects.common import snake
from tracker.wire.dialects.ga4.names import NAMES as GA4_NAMES

ACTIONS = {
    "product_view": "product_viewed",
    "list_view": "product_list_viewed",
    "list_click": "product_clicked",
    "add_to_cart": "product_added",
    "remove_from_cart": "product_removed",
    "checkout_step": "checkout_step_completed",
    "transaction": "order_completed",
    "refund": "order_refunded",
    "promo_view": "promotion_viewed",
    "promo_click": "promotion_clicked",
    "trns_error": "payment_failed",
    "trans_error": "payment_failed",
}
"""Of `snowplow_ecommerce_action`."""

ENHANCED_ACTIONS = {
    "click": "product_clicked",
    "detail": "product_viewed",
    "add": "product_added",
    "remove": "product_removed",
    "checkout": "checkout_step_viewed",
    "checkout_option": "checkout_step_completed",
    "purchase": "order_completed",
    "refund": "order_refunded",
    "promo_click": "promotion_clicked",
    "view": "product_list_viewed",
}
"""Of the older enhanced e-commerce plug-in's `action`."""

_TABLE = {
    "page_view": "page_viewed",
    "screen_view": "page_viewed",
    "transaction": "order_completed",
    "transaction_item": "order_updated",
    "add_to_cart": "product_added",
    "remove_from_cart": "product_removed",
    "site_search": "search_performed",
    "ad_impression": "ad_viewed",
    "ad_click": "ad_clicked",
    "play_event": "video_watched",
    "identify": "identified",
}
_OWN = """
    page_ping link_click button_click submit_form change_form focus_form social_interaction timing ad_conversion
    consent_preferences consent_granted consent_withdrawn cmp_visible
    create_element expose_element obscure_element destroy_element web_vitals application_error
    application_install application_background application_foreground deep_link_received message_notification
    list_item_view screen_end scroll_changed
    dismiss_window dismiss_immersive_space open_window open_immersive_space
    media_player_event ready_event pause_event end_event seek_start_event seek_end_event buffer_start_event
    buffer_end_event quality_change_event playback_rate_change_event volume_change_event fullscreen_change_event
    picture_in_picture_change_event percent_progress_event ping_event error_event
    ad_break_start_event ad_break_end_event ad_start_event ad_quartile_event ad_complete_event ad_skip_event
    ad_click_event ad_pause_event ad_resume_event
"""

NAMES: dict[str, str] = {name: name for name in _OWN.split()} | _TABLE
"""Of the events that Snowplow's trackers send, besides actions."""


def type_of(name: str, vendor: str = "") -> str:
    """The type of an event; a shop's own one, or a structured event's action, is its name in snake case. Those of a
    tag manager's server are Google's."""
    found = NAMES.get(name) or (GA4_NAMES.get(name) if vendor.startswith("com.google.") else None)
    return found or snake(name)
