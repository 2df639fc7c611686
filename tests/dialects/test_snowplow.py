from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tracker.domain.events import Consent, Event, Item
from tracker.errors import BadEvent
from tracker.wire.dialects.snowplow import SNOWPLOW
from tracker.wire.dialects.snowplow.names import ACTIONS, ENHANCED_ACTIONS, NAMES, type_of

STAMP = 1_700_000_000_000
TS = 1_772_445_600_000

NAMED = {
    "https://docs.snowplow.io/docs/fundamentals/canonical-event/": "page_view page_ping transaction transaction_item",
    "https://docs.snowplow.io/docs/events/ootb-data/page-and-screen-view-events/": "screen_view screen_end",
    "https://docs.snowplow.io/docs/events/ootb-data/page-elements/": """
        button_click submit_form change_form focus_form create_element expose_element obscure_element destroy_element
    """,
    "https://docs.snowplow.io/docs/events/ootb-data/links-and-referrers/": "link_click",
    "https://docs.snowplow.io/docs/events/ootb-data/site-search/": "site_search",
    "https://docs.snowplow.io/docs/events/ootb-data/social-media/": "social_interaction",
    "https://docs.snowplow.io/docs/events/ootb-data/campaigns-and-ads/": "ad_impression ad_click ad_conversion",
    "https://docs.snowplow.io/docs/events/ootb-data/consent-events/": """
        consent_preferences cmp_visible consent_granted consent_withdrawn
    """,
    "https://docs.snowplow.io/docs/events/ootb-data/app-performance/": "timing web_vitals",
    "https://docs.snowplow.io/docs/events/ootb-data/app-error-events/": "application_error",
    "https://docs.snowplow.io/docs/events/ootb-data/mobile-lifecycle-events/": """
        application_install application_background application_foreground deep_link_received message_notification
    """,
    "https://docs.snowplow.io/docs/events/ootb-data/visionos-swiftui/": """
        dismiss_window dismiss_immersive_space open_window open_immersive_space
    """,
    "https://docs.snowplow.io/docs/events/ootb-data/media-events/": """
        media_player_event ready_event play_event pause_event end_event seek_start_event seek_end_event
        buffer_start_event buffer_end_event quality_change_event playback_rate_change_event volume_change_event
        fullscreen_change_event picture_in_picture_change_event percent_progress_event ping_event error_event
        ad_break_start_event ad_break_end_event ad_start_event ad_quartile_event ad_complete_event ad_skip_event
        ad_click_event ad_pause_event ad_resume_event
    """,
    "https://github.com/snowplow/iglu-central/tree/master/schemas/com.snowplowanalytics.snowplow": """
        add_to_cart remove_from_cart identify
    """,
}
ACTED = {
    "https://docs.snowplow.io/docs/events/ootb-data/ecommerce-events/": (
        ACTIONS,
        """
            add_to_cart remove_from_cart product_view list_click list_view promo_click promo_view checkout_step
            transaction refund trns_error
        """,
    ),
    "https://docs.snowplow.io/docs/sources/web-trackers/tracking-events/ecommerce/enhanced/": (
        ENHANCED_ACTIONS,
        "click detail add remove checkout checkout_option purchase refund promo_click view",
    ),
}
SNOW = "com_snowplowanalytics_snowplow"
GOOGLE = "com_google_analytics_enhanced_ecommerce"


def record(**fields: Any) -> bytes:
    common = {"event_id": "e", "collector_tstamp": "2026-03-02T10:00:00Z", "domain_userid": "v", "event": "page_view"}
    return msgspec.json.encode(common | fields)


def read(**fields: Any) -> Event:
    (event,) = SNOWPLOW.events(record(**fields), STAMP)
    return event


def described(
    name: str, data: dict[str, Any], vendor: str = "com.snowplowanalytics.snowplow", /, **fields: Any
) -> Event:
    own = f"unstruct_event_{vendor.replace('.', '_').replace('-', '_')}_{name}_1"
    return read(event="unstruct", event_name=name, event_vendor=vendor, **{own: data}, **fields)


def enhanced(action: str, **entities: Any) -> Event:
    return described(
        "action",
        {"action": action},
        "com.google.analytics.enhanced-ecommerce",
        **{f"contexts_{GOOGLE}_{name}_1": [given] for name, given in entities.items()},
    )


@pytest.mark.parametrize("page", NAMED)
def test_every_event_that_snowplow_lists_is_known(page: str) -> None:
    assert set(NAMED[page].split()) - set(NAMES) == set()


@pytest.mark.parametrize("page", ACTED)
def test_every_action_that_snowplow_lists_is_known(page: str) -> None:
    known, listed = ACTED[page]
    assert set(listed.split()) - set(known) == set()


def test_a_shops_own_event_is_its_name_and_those_of_a_tag_managers_server_are_googles() -> None:
    assert type_of("size_guide_viewed", "com.acme") == "size_guide_viewed"
    assert type_of("begin_checkout", "com.acme") == "begin_checkout"
    assert type_of("begin_checkout", "com.google.tag-manager.server-side") == "checkout_started"


@pytest.mark.parametrize(
    ("fields", "reason", "named"),
    [
        ({"event": None}, "missing_type", "event_name and event"),
        ({"derived_tstamp": "yesterday"}, "bad_ts", "derived_tstamp"),
        ({"user_id": {}}, "wrong_type", "user_id"),
        ({"unstruct_event": {"schema": "acme"}}, "wrong_type", "unstruct_event is"),
        ({"unstruct_event_com_acme_user_1": []}, "wrong_type", "unstruct_event_com_acme_user_1"),
        ({"contexts": {"data": {}}}, "wrong_type", "contexts is"),
        ({"contexts": "none"}, "wrong_type", "contexts is"),
        ({"contexts": {"data": [{}]}}, "wrong_type", "contexts.data[0]"),
        ({"contexts_com_acme_user_1": {"id": 1}}, "wrong_type", "contexts_com_acme_user_1"),
        ({"event": "struct", "se_action": ""}, "missing_type", "se_action"),
        ({f"contexts_{SNOW}_ecommerce_product_1": [{"price": 1}]}, "missing_id", "product_1[0] has neither"),
        ({f"contexts_{SNOW}_ecommerce_product_1": [{"id": 1, "price": "x"}]}, "bad_number", "product_1[0].price"),
        ({f"contexts_{SNOW}_ecommerce_cart_1": [{"currency": []}]}, "wrong_type", "currency"),
        ({"event": "transaction", "tr_total": "much"}, "bad_number", "tr_total"),
        ({"event": "unstruct", "event_name": "snowplow_ecommerce_action"}, "missing_type", "type"),
    ],
)
def test_what_cannot_be_read_says_what_and_where(fields: dict[str, Any], reason: str, named: str) -> None:
    with pytest.raises(BadEvent) as caught:
        read(**fields)
    assert caught.value.reason == reason
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("times", "ts", "flags"),
    [
        ({"derived_tstamp": "2026-03-02T09:00:00.5Z"}, TS - 3_599_500, None),
        ({"true_tstamp": "2026-03-02 09:00:00"}, TS - 3_600_000, None),
        (
            {"dvce_created_tstamp": "2026-03-02T11:00:00Z", "dvce_sent_tstamp": "2026-03-02T11:00:02.5Z"},
            TS - 2_500,
            None,
        ),
        ({"dvce_created_tstamp": "2026-03-02T11:00:00Z"}, TS, None),
        ({"collector_tstamp": None, "dvce_created_tstamp": "2026-03-02T11:00:00Z"}, TS + 3_600_000, None),
        ({"collector_tstamp": None}, STAMP, ["ts_missing"]),
        ({"collector_tstamp": ""}, STAMP, ["ts_missing"]),
    ],
)
def test_the_time_is_the_derived_one_by_its_definition(times: dict[str, Any], ts: int, flags: list[str] | None) -> None:
    event = read(**times)
    assert (event.ts, event.flags) == (ts, flags)


@pytest.mark.parametrize(
    ("fields", "people"),
    [
        ({"user_id": "7", "network_userid": "n"}, ("7", "v")),
        ({"domain_userid": None, "network_userid": "n"}, (None, "n")),
        ({"domain_userid": None, "network_userid": "n", "user_id": 7}, ("7", None)),
        ({"domain_userid": None, f"contexts_{SNOW}_client_session_1": [{"userId": "app"}]}, (None, "app")),
        ({f"contexts_{SNOW}_ecommerce_user_1": [{"id": "7"}]}, ("7", "v")),
        ({f"contexts_{SNOW}_ecommerce_user_1": [{"id": "7", "is_guest": True}]}, (None, "v")),
        ({"user_id": "8", f"contexts_{SNOW}_ecommerce_user_1": [{"id": "7"}]}, ("8", "v")),
    ],
)
def test_who_it_is_says_the_first_id_that_stays_with_a_person(fields: dict[str, Any], people: tuple[Any, Any]) -> None:
    event = read(**fields)
    assert (event.customer_id, event.anonymous_id) == people


def test_an_event_under_anonymous_tracking_tells_of_nobody() -> None:
    nobody = "00000000-0000-0000-0000-000000000000"
    assert SNOWPLOW.events(record(domain_userid=None, network_userid=nobody), STAMP) == []
    assert len(SNOWPLOW.events(record(domain_userid=None, network_userid=nobody, user_id="7"), STAMP)) == 1


@pytest.mark.parametrize(
    ("fields", "device"),
    [
        ({}, None),
        ({"dvce_type": "Computer"}, "desktop"),
        ({"dvce_type": "Unknown"}, None),
        ({"dvce_type": "Computer", "contexts_nl_basjes_yauaa_context_1": [{"deviceClass": "Phone"}]}, "mobile"),
        ({"contexts_nl_basjes_yauaa_context_1": [{"deviceClass": "Game Console"}]}, "game_console"),
        ({"platform": "mob"}, "mobile"),
        ({"dvce_ismobile": True}, "mobile"),
    ],
)
def test_the_device_is_what_an_enrichment_made_of_the_user_agent(fields: dict[str, Any], device: str | None) -> None:
    assert read(**fields).device == device


@pytest.mark.parametrize(
    ("medium", "channel"), [("social", "social"), ("internal", None), ("unknown", None), ("", None)]
)
def test_a_page_of_the_shop_itself_is_no_channel(medium: str, channel: str | None) -> None:
    assert read(refr_medium=medium).channel == channel


@pytest.mark.parametrize(
    ("name", "data", "consent"),
    [
        ("consent_preferences", {"eventType": "allow_all"}, Consent(True, True)),
        ("consent_preferences", {"eventType": "deny_all"}, Consent(False, False)),
        ("consent_preferences", {"eventType": "withdrawn"}, Consent(False, False)),
        ("consent_preferences", {"eventType": "expired"}, Consent(False, False)),
        ("consent_preferences", {"eventType": "pending", "consentScopes": ["marketing"]}, None),
        ("consent_preferences", {"eventType": "allow_selected", "consentScopes": ["Marketing"]}, Consent(True, False)),
        (
            "consent_preferences",
            {"eventType": "implicit_consent", "consentScopes": ["analytics"]},
            Consent(False, True),
        ),
        ("consent_withdrawn", {"all": True}, Consent(False, False)),
        ("consent_withdrawn", {"all": False}, Consent(marketing=False)),
        ("consent_granted", {}, Consent(marketing=True)),
        ("cmp_visible", {"elapsedTime": 1.5}, None),
    ],
)
def test_consent_is_what_was_chosen_or_the_document_names(
    name: str, data: dict[str, Any], consent: Consent | None
) -> None:
    document = {"id": "1234", "version": "5", "name": "Marketing messages"}
    assert described(name, data, **{f"contexts_{SNOW}_consent_document_1": [document]}).consent == consent


def test_a_document_about_neither_marketing_nor_analytics_says_nothing() -> None:
    assert (
        described("consent_granted", {}, **{f"contexts_{SNOW}_consent_document_1": [{"id": "terms"}]}).consent is None
    )


def test_the_enhanced_plug_ins_actions_have_their_products_order_and_promotion() -> None:
    event = enhanced(
        "purchase",
        action_field_object={"id": "T1", "revenue": "20.5", "currency": "nok", "coupon": "SPRING"},
        product_field_object={"id": "A", "variant": "m", "price": 10, "quantity": 2, "brand": "Own"},
    )
    assert (event.type, event.order_id, event.value, event.currency) == ("order_completed", "T1", 20.5, "NOK")
    assert event.items == [Item("A", sku="m", quantity=2, price=10.0)]
    assert event.properties == {"coupon": "SPRING"}
    assert enhanced("checkout", action_field_object={"step": 1}).type == "checkout_started"
    assert enhanced("checkout", action_field_object={"step": 2}).type == "checkout_step_viewed"
    assert enhanced("view", promo_field_object={"id": "P"}).properties == {"promotion_id": "P"}
    assert enhanced("view", promo_field_object={"id": "P"}).type == "promotion_viewed"
    assert enhanced("view", impression_field_object={"id": "A"}).items == [Item("A")]


def test_the_older_cart_events_have_their_product_in_themselves() -> None:
    data = {"sku": "A", "name": "Tee", "unitPrice": 10, "quantity": 2, "currency": "nok"}
    event = described("add_to_cart", data)
    assert (event.type, event.currency, event.properties) == ("product_added", "NOK", None)
    assert event.items == [Item("A", name="Tee", quantity=2, price=10.0)]


def test_events_of_a_tag_managers_server_are_read_as_googles() -> None:
    data = {"transaction_id": "T1", "value": 20, "currency": "NOK", "items": [{"item_id": "A"}], "coupon": "SPRING"}
    event = described("purchase", data, "com.google.tag-manager.server-side", page_url="https://x.example/")
    assert (event.type, event.order_id, event.value, event.url) == ("order_completed", "T1", 20.0, "https://x.example/")
    assert (event.items, event.properties) == ([Item("A")], {"coupon": "SPRING"})


def test_a_shops_own_event_may_name_order_cart_and_sum() -> None:
    event = described("order_shipped", {"order_id": 5, "currency": "nok", "value": "9", "carrier": "post"}, "com.acme")
    assert (event.type, event.order_id, event.currency, event.value) == ("order_shipped", "5", "NOK", 9.0)
    assert event.properties == {"carrier": "post"}


def test_what_only_has_the_name_of_a_field_stays_a_property() -> None:
    data = {
        "value": "blue",
        "currency": "points",
        "order_id": None,
        "cart_id": {"n": 1},
        "channel": True,
        "name": "colour",
    }
    event = described("filtered", data, "com.acme")
    assert (event.value, event.currency, event.cart_id, event.channel) == (None, None, None, None)
    assert event.properties == {name: given for name, given in data.items() if given is not None}


def test_empty_fields_for_what_an_event_has_not_are_taken_as_meant() -> None:
    event = read(unstruct_event={}, contexts={}, derived_contexts=[], contexts_com_acme_user_1=[])
    assert (event.type, event.properties) == ("page_viewed", None)


def test_sharing_is_one_kind_of_social_interaction() -> None:
    assert described("social_interaction", {"action": "share", "network": "x"}).type == "product_shared"
    assert described("social_interaction", {"action": "like", "network": "x"}).type == "social_interaction"


def test_addresses_and_e_mail_stay_out_of_the_properties() -> None:
    step = {"step": 2, "billing_full_address": "1 Road", "shipping_postcode": "N1"}
    user = {"id": "7", "email": "a@example.com"}
    event = read(**{f"contexts_{SNOW}_ecommerce_checkout_step_1": [step], f"contexts_{SNOW}_ecommerce_user_1": [user]})
    assert event.properties == {"step": 2}
