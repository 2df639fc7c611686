"""The names of Google Analytics 4's events, and the types that they are."""

from __future__ import annotations

from tracker.wire.dialects.common import snake

_TABLE = """
    view_item_list                 product_list_viewed
    select_item                    product_clicked
    view_item                      product_viewed
    add_to_wishlist                wishlist_added
    add_to_cart                    product_added
    remove_from_cart               product_removed
    view_cart                      cart_viewed
    begin_checkout                 checkout_started
    add_shipping_info              checkout_step_completed
    add_payment_info               payment_info_entered
    purchase                       order_completed
    refund                         order_refunded
    view_promotion                 promotion_viewed
    select_promotion               promotion_clicked

    search                         search_performed
    view_search_results            search_performed
    login                          identified
    sign_up                        identified
    share                          product_shared
    tutorial_complete              onboarding_step_completed
    generate_lead                  lead_submitted
    close_convert_lead             contract_signed

    page_view                      page_viewed
    screen_view                    page_viewed
    video_start                    video_watched
    app_store_subscription_convert subscription_started
    app_store_subscription_renew   subscription_renewed
    app_store_subscription_cancel  subscription_cancelled

    ecommerce_purchase             order_completed
    purchase_refund                order_refunded
    checkout_progress              checkout_step_completed
    present_offer                  promotion_viewed
"""
"""Of the e-commerce events, the other recommended ones, those collected automatically, and Firebase's older ones."""

_OWN = """
    qualify_lead disqualify_lead working_lead close_unconvert_lead select_content join_group ad_impression
    earn_virtual_currency spend_virtual_currency level_start level_end level_up post_score tutorial_begin
    unlock_achievement exception campaign_details set_checkout_option

    click scroll file_download form_start form_submit video_progress video_complete
    session_start first_visit user_engagement

    ad_click ad_exposure ad_query ad_reward adunit_exposure app_clear_data app_exception app_remove app_store_refund
    app_update dynamic_link_app_open dynamic_link_app_update dynamic_link_first_open error firebase_campaign
    firebase_in_app_message_action firebase_in_app_message_dismiss firebase_in_app_message_impression first_open
    in_app_purchase notification_dismiss notification_foreground notification_open
"""
"""Those that are a type of their own: recommended, enhanced measurement, and automatic ones."""

NOT_THE_PERSONS = frozenset({"notification_receive", "os_update"})
"""Nobody did these."""

NAMES: dict[str, str] = {name: name for name in _OWN.split()} | dict(
    line.split() for line in _TABLE.splitlines() if line.strip()
)
"""Every name that the specification has."""


def type_of(name: str) -> str:
    """The type of an event; one that a shop named itself is its name in snake case."""
    return NAMES.get(name) or snake(name)
