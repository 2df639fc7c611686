from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tracker.domain.events import Campaign, Consent, Event, Item
from tracker.errors import BadEvent
from tracker.wire.dialects.ga4 import GA4
from tracker.wire.dialects.ga4.names import NAMES, NOT_THE_PERSONS, type_of

STAMP = 1_715_769_600_000
AT = STAMP * 1000

NAMED = {
    "https://support.google.com/analytics/answer/9267735": """
        ad_impression earn_virtual_currency generate_lead join_group login purchase refund search select_content share
        sign_up spend_virtual_currency tutorial_begin tutorial_complete

        add_payment_info add_shipping_info add_to_cart add_to_wishlist begin_checkout remove_from_cart select_item
        select_promotion view_cart view_item view_item_list view_promotion

        close_convert_lead close_unconvert_lead disqualify_lead qualify_lead working_lead

        level_end level_start level_up post_score unlock_achievement
    """,
    "https://support.google.com/analytics/answer/9216061": """
        page_view scroll click view_search_results video_start video_progress video_complete file_download form_start
        form_submit
    """,
    "https://support.google.com/analytics/answer/9234069": """
        ad_click ad_exposure ad_impression ad_query ad_reward adunit_exposure app_clear_data app_exception app_remove
        app_store_refund app_store_subscription_cancel app_store_subscription_convert app_store_subscription_renew
        app_update dynamic_link_app_open dynamic_link_app_update dynamic_link_first_open error firebase_campaign
        firebase_in_app_message_action firebase_in_app_message_dismiss firebase_in_app_message_impression first_open
        first_visit in_app_purchase notification_dismiss notification_foreground notification_open notification_receive
        os_update screen_view session_start user_engagement
    """,
}


def request(*events: dict[str, Any], **fields: Any) -> bytes:
    return msgspec.json.encode({"client_id": "v.1", "timestamp_micros": AT, "events": events} | fields)


def read(value: bytes) -> list[Event]:
    return GA4.events(value, STAMP)


def of(name: str, /, **params: Any) -> Event:
    (event,) = read(request({"name": name, "params": params}))
    return event


def row(**fields: Any) -> bytes:
    return msgspec.json.encode({"event_name": "page_view", "event_timestamp": AT, "user_pseudo_id": "v.1"} | fields)


@pytest.mark.parametrize("page", NAMED)
def test_every_name_that_google_lists_is_known(page: str) -> None:
    assert set(NAMED[page].split()) - set(NAMES) - NOT_THE_PERSONS == set()


def test_a_shops_own_name_is_its_type_in_snake_case() -> None:
    assert [type_of(name) for name in ("review_read", "QuizStarted", "Quiz started")] == [
        "review_read",
        "quiz_started",
        "quiz_started",
    ]


@pytest.mark.parametrize(
    ("value", "reason", "named"),
    [
        (b"{", "not_json", "the value starts with"),
        (request(), "wrong_type", "events"),
        (request({"params": {}}), "missing_type", "events[0].name"),
        (request({"name": 7}), "wrong_type", "events[0].name"),
        (request({"name": "a"}, {"name": "b", "params": [1]}), "wrong_type", "$.events[1].params"),
        (request({"name": "a"}, timestamp_micros="soon"), "bad_ts", "timestamp_micros"),
        (request({"name": "a"}, client_id=[1]), "wrong_type", "client_id"),
        (request({"name": "purchase", "params": {"items": {}}}), None, ""),
        (request({"name": "purchase", "params": {"items": {"item_id": 1}}}), "wrong_type", "events[0].params.items"),
        (request({"name": "purchase", "params": {"items": ["x"]}}), "wrong_type", "events[0].params.items[0]"),
        (
            request({"name": "purchase", "params": {"items": [{"price": 1}]}}),
            "missing_id",
            "params.items[0] has neither",
        ),
        (
            request({"name": "purchase", "params": {"items": [{"item_id": 1, "price": "ten"}]}}),
            "bad_number",
            "events[0].params.items[0].price",
        ),
        (
            request({"name": "purchase", "params": {"items": [{"item_id": 1, "quantity": 1.5}]}}),
            "bad_number",
            "events[0].params.items[0].quantity",
        ),
        (request({"name": "purchase", "params": {"value": "much"}}), "bad_number", "events[0].params.value"),
        (row(event_timestamp="never"), "bad_ts", "event_timestamp"),
        (row(event_params={}), "wrong_type", "$.event_params"),
        (row(event_name=""), "missing_type", "event_name"),
        (row(event_params=[{"key": "n", "value": {"int_value": "few"}}]), "bad_number", "n is 'few'"),
    ],
)
def test_what_cannot_be_read_says_what_and_where(value: bytes, reason: str | None, named: str) -> None:
    if reason is None:
        assert len(read(value)) == 1
        return
    with pytest.raises(BadEvent) as caught:
        read(value)
    assert caught.value.reason == reason
    assert named in str(caught.value)


def test_prices_as_text_ids_as_numbers_and_what_google_does_not_know_are_taken_as_meant() -> None:
    items = [
        {
            "item_id": 7,
            "item_name": "(not set)",
            "item_variant": 42.5,
            "price": "10.50",
            "quantity": "2",
            "item_category": "",
        },
        {"item_id": None, "item_name": "Tee"},
    ]
    event = of("add_to_cart", currency="nok", value="21", items=items, transaction_id="(not set)", coupon=None)
    assert event.items == [Item("7", sku="42.5", quantity=2, price=10.5), Item("Tee", name="Tee")]
    assert (event.currency, event.value, event.order_id, event.properties) == ("NOK", 21.0, None, None)


def test_empty_lists_for_empty_objects_are_taken_as_meant() -> None:
    (event,) = read(request({"name": "login", "params": []}, device=[], consent=[], user_properties=[]))
    assert (event.type, event.anonymous_id, event.properties) == ("identified", "v.1", None)


def test_a_product_that_stands_in_the_parameters_themselves_is_read() -> None:
    event = of("view_item", item_id="A", item_name="Tee", price=10, currency="NOK", screen="home")
    assert event.items == [Item("A", name="Tee", price=10.0)]
    assert event.properties == {"screen": "home"}


def test_a_promotion_may_show_no_product() -> None:
    event = of("view_promotion", items=[{"promotion_id": "P"}, {"item_id": "A"}])
    assert event.items == [Item("A")]


def test_a_value_without_a_currency_is_a_sum_only_of_an_order() -> None:
    assert (of("post_score", value=5).value, of("post_score", value=5).properties) == (None, {"value": 5})
    assert of("purchase", value=5).value == 5.0


def test_a_refund_of_priced_items_is_for_their_sum_and_one_without_items_for_all() -> None:
    assert of("refund", transaction_id="T", items=[{"item_id": "A", "price": 10, "quantity": 2}]).value == 20.0
    assert of("refund", transaction_id="T", items=[{"item_id": "A"}]).value is None
    assert of("refund", transaction_id="T").value is None


@pytest.mark.parametrize(
    ("params", "campaign"),
    [
        ({"campaign_source": "ig", "campaign_medium": "social", "campaign_name": "x"}, Campaign("ig", "social", "x")),
        ({"source": "ig", "medium": "social", "campaign": "(not set)"}, Campaign("ig", "social")),
        ({"source": "newsletter-box"}, None),
        (
            {"page_location": "https://x.example/?utm_source=ig&utm_medium=a%20b&utm_campaign=c"},
            Campaign("ig", "a b", "c"),
        ),
        ({"page_location": "https://x.example/?utm_id=5"}, None),
        ({"page_location": "https://[x.example/?utm_source=ig"}, None),
        ({"source": "(direct)", "medium": "(none)", "campaign": "(direct)"}, None),
    ],
)
def test_a_campaign_is_what_the_parameters_or_the_address_tell(
    params: dict[str, Any], campaign: Campaign | None
) -> None:
    assert of("page_view", **params).campaign == campaign


@pytest.mark.parametrize(
    ("fields", "consent"),
    [
        ({}, None),
        ({"consent": {}}, None),
        ({"consent": {"ad_user_data": "GRANTED", "ad_personalization": "GRANTED"}}, Consent(marketing=True)),
        ({"consent": {"ad_user_data": "GRANTED", "ad_personalization": "DENIED"}}, Consent(marketing=False)),
        ({"consent": {"ad_user_data": "DENIED"}}, Consent(marketing=False)),
        ({"consent": {"analytics_storage": "denied", "ad_storage": "granted"}}, Consent(True, False)),
        ({"non_personalized_ads": True}, Consent(marketing=False)),
        ({"non_personalized_ads": False}, None),
    ],
)
def test_consent_is_denied_where_any_of_its_kinds_is(fields: dict[str, Any], consent: Consent | None) -> None:
    (event,) = read(request({"name": "page_view"}, **fields))
    assert event.consent == consent


def test_an_event_without_a_time_is_as_of_its_record_and_flagged() -> None:
    (event,) = read(request({"name": "page_view"}, timestamp_micros=None))
    assert (event.ts, event.flags) == (STAMP, ["ts_missing"])
    assert (of("page_view").ts, of("page_view").flags) == (STAMP, None)


def test_an_event_is_the_same_when_it_is_sent_again_and_another_in_everything_else() -> None:
    view = {"name": "page_view", "params": {"page_location": "https://x.example/", "engagement_time_msec": 5}}
    first, second, third = read(request(view, view, {"name": "page_view"}))
    assert len({first.event_id, second.event_id, third.event_id}) == 3
    assert [event.event_id for event in read(request(view, view))] == [first.event_id, second.event_id]
    other = {"client_id": "v.2"}, {"user_id": "7"}, {"timestamp_micros": AT + 1}
    assert len({read(request(view, **fields))[0].event_id for fields in ({}, *other)}) == 4


def test_events_that_share_a_time_stay_in_their_order() -> None:
    names = ["view_item", "add_to_cart", "begin_checkout", "purchase"]
    asked = read(request(*({"name": name} for name in names)))
    exported = [read(row(event_name=name, batch_event_index=str(9 + number)))[0] for number, name in enumerate(names)]
    for events in (asked, exported):
        assert sorted(events, key=lambda event: (event.ts, event.event_id)) == events
    assert {event.ts for event in exported} == {STAMP}
    (later, earlier) = read(request({"name": "search"}, {"name": "search", "timestamp_micros": AT - 1000}))
    assert (later.ts, earlier.ts) == (STAMP, STAMP - 1)


def test_without_a_time_two_records_tell_of_two_events() -> None:
    value = request({"name": "page_view"}, timestamp_micros=None)
    assert GA4.events(value, STAMP)[0].event_id != GA4.events(value, STAMP + 1)[0].event_id


def test_a_row_keeps_its_id_when_google_fills_in_the_rest() -> None:
    params = [{"key": "a", "value": {"int_value": "1"}}, {"key": "b", "value": {"string_value": "x"}}]
    items = [{"item_id": "A", "price": 5}]
    (early,) = read(row(event_params=params, items=items, batch_event_index=1))
    (late,) = read(
        row(
            event_params=params[::-1],
            items=[{**items[0], "item_revenue": 5.0}],
            batch_event_index=1,
            user_ltv={"revenue": 5},
            session_traffic_source_last_click={"manual_campaign": {"source": "x"}},
        )
    )
    assert early.event_id == late.event_id
    for other in ({"batch_event_index": 2}, {"event_params": params[:1]}, {"items": [{"item_id": "B"}]}):
        fields = {"event_params": params, "items": items, "batch_event_index": 1} | other
        assert read(row(**fields))[0].event_id != early.event_id


def test_long_whole_numbers_keep_their_digits() -> None:
    (event,) = read(row(event_params=[{"key": "gtm", "value": {"int_value": "123456789012345678"}}]))
    assert event.properties == {"gtm": 123456789012345678}


def test_a_row_of_somebody_who_refused_to_be_measured_tells_of_nobody() -> None:
    denied = {"analytics_storage": "No", "ads_storage": "No"}
    assert read(row(user_pseudo_id=None, privacy_info=denied)) == []
    assert len(read(row(privacy_info=denied))) == 1


def test_what_nobody_did_is_no_event() -> None:
    assert read(row(event_name="os_update")) == []
    assert [event.type for event in read(request({"name": "notification_receive"}, {"name": "search"}))] == [
        "search_performed"
    ]
