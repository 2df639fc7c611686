from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.unit.raw import Raw
from tracker.domain.events import Consent, Event, Item
from tracker.errors import BadEvent
from tracker.wire.decode import REASONS
from tracker.wire.dialects.segment import RUDDERSTACK, SEGMENT
from tracker.wire.dialects.segment.names import type_of
from tracker.wire.reading import AUTO, reader_of

STAMP = 1_700_000_000_000

NAMES = {
    "https://www.twilio.com/docs/segment/connections/spec/ecommerce/v2": """
        Products Searched: search_performed
        Product List Viewed: product_list_viewed
        Product List Filtered: product_list_viewed
        Promotion Viewed: promotion_viewed
        Promotion Clicked: promotion_clicked
        Product Clicked: product_clicked
        Product Viewed: product_viewed
        Product Added: product_added
        Product Removed: product_removed
        Cart Viewed: cart_viewed
        Checkout Started: checkout_started
        Checkout Step Viewed: checkout_step_viewed
        Checkout Step Completed: checkout_step_completed
        Payment Info Entered: payment_info_entered
        Order Completed: order_completed
        Order Updated: order_updated
        Order Refunded: order_refunded
        Order Cancelled: order_cancelled
        Coupon Entered: coupon_entered
        Coupon Applied: coupon_applied
        Coupon Denied: coupon_denied
        Coupon Removed: coupon_removed
        Product Added to Wishlist: wishlist_added
        Product Removed from Wishlist: wishlist_removed
        Wishlist Product Added to Cart: product_added
        Product Shared: product_shared
        Cart Shared: cart_shared
        Product Reviewed: product_reviewed
    """,
    "https://www.twilio.com/docs/segment/connections/spec/ecommerce": """
        Viewed Product Category: product_list_viewed
        Viewed Product: product_viewed
        Clicked Product: product_clicked
        Added Product: product_added
        Removed Product: product_removed
        Started Order: checkout_started
        Viewed Checkout Step: checkout_step_viewed
        Completed Checkout Step: checkout_step_completed
        Updated Order: order_updated
        Completed Order: order_completed
        Refunded Order: order_refunded
        Viewed Promotion: promotion_viewed
        Clicked Promotion: promotion_clicked
    """,
    "https://www.twilio.com/docs/segment/connections/spec/email": """
        Email Bounced: email_bounced
        Email Delivered: email_delivered
        Email Link Clicked: email_clicked
        Email Marked as Spam: email_marked_as_spam
        Email Opened: email_opened
        Unsubscribed: unsubscribed
    """,
    "https://www.twilio.com/docs/segment/connections/spec/mobile": """
        Application Installed: application_installed
        Application Opened: application_opened
        Application Backgrounded: application_backgrounded
        Application Foregrounded: application_foregrounded
        Application Updated: application_updated
        Application Uninstalled: application_uninstalled
        Application Crashed: application_crashed
        Install Attributed: install_attributed
        Push Notification Received: push_notification_received
        Push Notification Tapped: push_notification_tapped
        Push Notification Bounced: push_notification_bounced
        Deep Link Opened: deep_link_opened
        Deep Link Clicked: deep_link_clicked
    """,
    "https://www.twilio.com/docs/segment/connections/spec/b2b-saas": """
        Account Created: account_created
        Account Deleted: account_deleted
        Signed Up: signed_up
        Signed In: signed_in
        Signed Out: logged_out
        Invite Sent: invite_sent
        Account Added User: account_added_user
        Account Removed User: account_removed_user
        Trial Started: trial_started
        Trial Ended: trial_ended
    """,
    "https://www.twilio.com/docs/segment/connections/spec/video": """
        Video Playback Started: video_watched
        Video Playback Paused: video_playback_paused
        Video Playback Interrupted: video_playback_interrupted
        Video Playback Buffer Started: video_playback_buffer_started
        Video Playback Buffer Completed: video_playback_buffer_completed
        Video Playback Seek Started: video_playback_seek_started
        Video Playback Seek Completed: video_playback_seek_completed
        Video Playback Resumed: video_playback_resumed
        Video Playback Completed: video_playback_completed
        Video Playback Exited: video_playback_exited
        Video Content Started: video_content_started
        Video Content Playing: video_content_playing
        Video Content Completed: video_content_completed
        Video Ad Started: video_ad_started
        Video Ad Playing: video_ad_playing
        Video Ad Completed: video_ad_completed
        Video Quality Updated: video_quality_updated
    """,
    "https://www.twilio.com/docs/segment/connections/spec/live-chat": """
        Live Chat Conversation Started: chat_started
        Live Chat Conversation Ended: live_chat_conversation_ended
        Live Chat Message Sent: live_chat_message_sent
        Live Chat Message Received: live_chat_message_received
    """,
    "https://www.twilio.com/docs/segment/connections/spec/ab-testing": """
        Experiment Viewed: experiment_viewed
    """,
}
SPECIFIED = [line.strip().split(": ") for page in NAMES.values() for line in page.strip().splitlines()]


def call(**fields: Any) -> bytes:
    common = {"messageId": "m", "anonymousId": "v", "type": "track", "event": "Cart Viewed", "timestamp": STAMP}
    return json.dumps({name: given for name, given in (common | fields).items() if given is not ...}).encode()


def one(**fields: Any) -> Event:
    (event,) = SEGMENT.events(call(**fields), STAMP)
    return event


def refused(**fields: Any) -> BadEvent:
    with pytest.raises(BadEvent) as caught:
        SEGMENT.events(call(**fields), STAMP)
    assert caught.value.reason in REASONS
    return caught.value


@pytest.mark.parametrize(("name", "kind"), SPECIFIED)
def test_every_name_of_the_specification_is_known_however_it_is_written(name: str, kind: str) -> None:
    squashed = name.replace(" ", "")
    assert {type_of(one) for one in (name, squashed, squashed.lower(), name.upper(), name.replace(" ", "_"))} == {kind}


def test_the_trackers_own_types_are_known_and_any_other_name_is_its_own_type() -> None:
    assert {type_of(name) for name in ("Size Guide Viewed", "sizeguideviewed", "size-guide-viewed")} == {
        "size_guide_viewed"
    }
    assert type_of("Quiz Fullført") == "quiz_fullført"
    assert len(type_of("word " * 100_000)) == 64
    assert refused(event="?!").reason == "missing_type"
    assert refused(event="").reason == refused(event=None).reason == "missing_type"


@pytest.mark.parametrize(
    ("times", "ts"),
    [
        ({"timestamp": "2026-03-02T10:00:00Z", "sentAt": "2026-03-02T11:00:00Z"}, 1_772_445_600_000),
        ({"timestamp": 1_772_445_600}, 1_772_445_600_000),
        (
            {
                "originalTimestamp": "2026-03-02T09:00:00Z",
                "sentAt": "2026-03-02T09:00:07Z",
                "receivedAt": "2026-03-02T11:00:07+01:00",
            },
            1_772_445_600_000,
        ),
        ({"originalTimestamp": "2026-03-02T10:00:00Z", "sentAt": "2026-03-02T10:00:07Z"}, 1_772_445_600_000),
        ({"originalTimestamp": "2026-03-02T10:00:00.000"}, 1_772_445_600_000),
        ({"sentAt": "2026-03-02T09:00:00Z", "receivedAt": "2026-03-02T10:00:00Z"}, 1_772_445_600_000),
        ({"sentAt": "2026-03-02T10:00:00Z"}, 1_772_445_600_000),
    ],
)
def test_a_time_is_what_segment_says_or_would_have_said(times: dict[str, Any], ts: int) -> None:
    event = one(**({"timestamp": ...} | times))
    assert (event.ts, event.flags) == (ts, None)


def test_a_call_without_any_time_has_its_records() -> None:
    event = one(timestamp="")
    assert (event.ts, event.flags) == (STAMP, ["ts_missing"])
    assert refused(timestamp="yesterday").detail.startswith("timestamp is 'yesterday'")
    assert refused(timestamp=..., sentAt={}).detail.startswith("sentAt is {}")


def test_an_id_comes_from_what_the_shop_said_and_not_from_its_transport() -> None:
    bare = {"messageId": ..., "timestamp": ..., "originalTimestamp": "2026-03-02T10:00:00Z"}
    first = one(**bare, sentAt="2026-03-02T10:00:01Z", receivedAt="2026-03-02T10:00:02Z").event_id
    again = one(**bare, sentAt="2026-03-02T10:09:01Z", receivedAt="2026-03-02T10:09:02Z").event_id
    assert first == again
    others = [
        one(**bare | changed).event_id
        for changed in (
            {"properties": {"cart_id": "c"}},
            {"userId": "u"},
            {"event": "Product Viewed"},
            {"context": {"page": {"url": "https://shop.example/"}}},
            {"originalTimestamp": "2026-03-02T10:00:00.001Z"},
        )
    ]
    assert len({first, *others}) == 6
    timeless = call(messageId=..., timestamp=...)
    ((at,), (later,)) = (SEGMENT.events(timeless, stamp) for stamp in (STAMP, STAMP + 1))
    assert at.event_id != later.event_id, "two acts of which nobody said when are two"


def test_real_traffics_variety_is_understood() -> None:
    event = one(
        event="Order_Completed",
        userId=42,
        anonymousId="",
        context=[],
        properties={
            "orderId": 1001,
            "total": "1099.50",
            "revenue": None,
            "currency": "nok",
            "products": [
                {"product_id": 7, "sku": None, "name": "", "price": "899", "quantity": "2", "category": ["a", "b"]},
                {"sku": "s-1", "quantity": 1.0, "price": None},
                "p-9",
            ],
            "gift": True,
        },
    )
    assert (event.customer_id, event.anonymous_id, event.order_id) == ("42", "", "1001")
    assert event.items == [Item("7", None, None, "a/b", 2, 899.0), Item("s-1", "s-1"), Item("p-9")]
    assert (event.value, event.currency) == (1099.5, "NOK")
    assert event.properties == {"revenue": None, "gift": True}
    assert one(context="", properties=[], traits=[]) == one()
    assert one(type="TRACK", event=404).type == "404"


@pytest.mark.parametrize(
    ("fields", "reason", "named"),
    [
        ({"type": ...}, "missing_type", "type"),
        ({"type": "pageview"}, "wrong_type", "type"),
        ({"properties": 7}, "wrong_type", "$.properties"),
        ({"context": {"page": {"url": [7]}}}, "wrong_type", "$.context.page.url"),
        ({"properties": {"products": 7}}, "wrong_type", "properties.products"),
        ({"properties": {"products": [[]]}}, "wrong_type", "properties.products[0]"),
        ({"properties": {"products": [{"name": "n"}]}}, "missing_id", "properties.products[0]"),
        ({"properties": {"products": [{"id": "p", "price": "free"}]}}, "bad_number", "properties.products[0].price"),
        ({"properties": {"products": [{"id": "p", "quantity": 1.5}]}}, "bad_number", "properties.products[0].quantity"),
        ({"properties": {"order_id": [1]}}, "wrong_type", "properties.order_id"),
        ({"properties": {"currency": 7}}, "bad_currency", "properties.currency"),
        ({"properties": {"total": "a lot"}}, "bad_number", "properties.total"),
        ({"type": "alias", "userId": "u"}, "missing_id", "previousId"),
        ({"type": "alias", "previousId": "v"}, "missing_id", "userId"),
        ({"type": "group"}, "missing_id", "groupId"),
        ({"type": "identify", "traits": {"segments": [1]}}, "wrong_type", "traits.segments"),
        ({"batch": []}, "wrong_type", "batch"),
        ({"batch": [{"batch": [{"type": "page"}]}]}, "wrong_type", "batch"),
        ({"batch": [{"type": "page", "userId": "u"}, {"userId": "u"}]}, "missing_type", "type"),
    ],
)
def test_what_is_wrong_is_named_as_segment_does(fields: dict[str, Any], reason: str, named: str) -> None:
    error = refused(**fields)
    assert error.reason == reason
    assert named in error.detail


@pytest.mark.parametrize("value", [b"{", b"[]", b"7", b'{"type":"track","a":' + b"[" * 5000 + b"]" * 5000 + b"}"])
def test_what_is_no_call_at_all_is_refused(value: bytes) -> None:
    with pytest.raises(BadEvent):
        SEGMENT.events(value, STAMP)


def test_a_batch_speaks_for_all_its_calls() -> None:
    calls = [
        {"type": "page", "userId": "u", "messageId": "m-1", "originalTimestamp": "2026-03-02T09:00:00Z"},
        {
            "type": "track",
            "event": "Cart Viewed",
            "userId": "u",
            "messageId": "m-2",
            "originalTimestamp": "2026-03-02T09:00:05Z",
            "context": {"page": {"url": "https://shop.example/cart"}},
        },
    ]
    value = {
        "batch": calls,
        "sentAt": "2026-03-02T09:00:10Z",
        "receivedAt": "2026-03-02T10:00:10Z",
        "context": {
            "userAgent": "agent",
            "traits": {"segments": ["private"]},
            "page": {"url": "https://shop.example/"},
        },
    }
    first, second = SEGMENT.events(json.dumps(value).encode(), STAMP)
    assert (first.ts, second.ts) == (1_772_445_600_000, 1_772_445_605_000)
    assert (first.url, second.url) == ("https://shop.example/", "https://shop.example/cart")
    assert first.segments == second.segments == ["private"]
    assert first.user_agent == second.user_agent == "agent"


def test_context_says_where_and_what_for() -> None:
    agreed = {"categoryPreferences": {"Advertising": True, "marketing": False, "Analytics": True, "Fun": True}}
    event = one(context={"consent": agreed, "userAgentData": {"mobile": True}})
    assert event.consent is not None
    assert (event.consent.marketing, event.consent.analytics) == (False, True), "the strictest counts"
    assert event.device == "mobile"
    traits = {"consent": {"marketing": True}, "segments": "vip", "email": "u@example.com", "plan": "premium"}
    known = one(type="identify", userId="u", traits=traits)
    assert (known.consent, known.segments, known.properties) == (Consent(True), ["vip"], {"plan": "premium"})
    assert one(context={"userAgentData": {"mobile": False}, "campaign": {"source": ""}}).device == "desktop"
    assert one(context={"campaign": {"source": ""}, "consent": {}}) == one()
    campaign = one(context={"campaign": {"source": 7}}).campaign
    assert campaign is not None
    assert campaign.source == "7"


def test_what_a_carrier_did_is_nobodys_journey() -> None:
    assert SEGMENT.events(call(event="Email Delivered"), STAMP) == []
    value = {"batch": [json.loads(call(event="Push Notification Bounced")), json.loads(call(messageId="m-2"))]}
    assert [event.event_id for event in SEGMENT.events(json.dumps(value).encode(), STAMP)] == ["m-2"]


def test_who_unsubscribes_wants_no_more_mail() -> None:
    consent = one(event="Unsubscribed", context={"consent": {"categoryPreferences": {"Analytics": True}}}).consent
    assert consent is not None
    assert (consent.marketing, consent.analytics) == (False, True)
    assert one(type="identify", anonymousId="v").type == "customer_updated", "nobody is identified"


def test_a_topic_may_mix_it_with_the_canonical_form() -> None:
    plain = {"event_id": "e", "type": "page_viewed", "ts": STAMP, "anonymous_id": "v"}
    mendable = {**plain, "ts": "2026-03-02T10:00:00Z", "event_id": 7}
    misleading = {**plain, "type": "track", "messageId": "m"}
    timeless = {name: given for name, given in plain.items() if name != "ts"}
    values = [json.dumps(one).encode() for one in (plain, mendable, misleading, timeless)]
    read = reader_of(AUTO)
    for value in values:
        for after in (call(), value, value):
            expected = "segment" if after == call() else "canonical"
            assert read(Raw(after, timestamp=STAMP), STAMP).dialect == expected


def test_rudderstack_is_told_by_its_own_id() -> None:
    def fields(value: bytes) -> dict[str, msgspec.Raw]:
        return msgspec.json.decode(value, type=dict[str, msgspec.Raw])

    segments, rudders = fields(call()), fields(call(rudderId="r"))
    assert [SEGMENT.recognises(segments), RUDDERSTACK.recognises(segments)] == [True, False]
    assert [SEGMENT.recognises(rudders), RUDDERSTACK.recognises(rudders)] == [False, True]
    batch = fields(b'{"batch": [{"type": "page", "rudderId": "r"}]}')
    assert [SEGMENT.recognises(batch), RUDDERSTACK.recognises(batch)] == [False, True]
    assert not SEGMENT.recognises(fields(b'{"type": "track", "event": "Cart Viewed"}'))
