from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tracker.domain.events import Event
from tracker.errors import BadEvent
from tracker.wire.dialects.braze import Braze
from tracker.wire.dialects.braze.names import CURRENTS, CUSTOM, EVENTS, PURCHASE

STAMP = 1_700_000_000_000
AT = "2026-03-02T09:00:00Z"
TS = 1_772_442_000_000
NAMES = {
    "https://www.braze.com/docs/user_guide/data/activation/events/recommended_events/ecommerce_events": """
        ecommerce.product_viewed: product_viewed
        ecommerce.cart_updated: cart_updated
        ecommerce.checkout_started: checkout_started
        ecommerce.order_placed: order_completed
        ecommerce.order_refunded: order_refunded
        ecommerce.order_cancelled: order_cancelled
    """,
    "https://www.braze.com/docs/partners/ecommerce/shopify_legacy/using_shopify/shopify_data_in_braze": """
        shopify_product_viewed: product_viewed
        shopify_product_clicked: product_clicked
        shopify_abandoned_cart: cart_updated
        shopify_abandoned_checkout: checkout_started
        shopify_created_order: order_completed
        shopify_paid_order: order_completed
        shopify_partially_fulfilled_order: order_updated
        shopify_fulfilled_order: order_shipped
        shopify_cancelled_order: order_cancelled
        shopify_created_refund: order_refunded
        shopify_account_login: identified
    """,
}
EXPORTED = """
    users.behaviors.CustomEvent users.behaviors.Purchase users.behaviors.InstallAttribution users.behaviors.Location
    users.behaviors.Uninstall users.behaviors.app.FirstSession users.behaviors.app.SessionStart
    users.behaviors.app.SessionEnd users.behaviors.liveactivity.PushToStartTokenChange
    users.behaviors.liveactivity.UpdateTokenChange users.behaviors.pushnotification.TokenStateChange
    users.behaviors.subscription.GlobalStateChange users.behaviors.subscriptiongroup.StateChange
    users.campaigns.Conversion users.campaigns.EnrollInControl users.canvas.Conversion users.canvas.Entry
    users.canvas.exit.MatchedAudience users.canvas.exit.PerformedEvent users.canvas.experimentstep.Conversion
    users.canvas.experimentstep.SplitEntry users.messages.contentcard.Abort users.messages.contentcard.Click
    users.messages.contentcard.Dismiss users.messages.contentcard.Impression users.messages.contentcard.Send
    users.messages.email.Abort users.messages.email.Bounce users.messages.email.Click users.messages.email.Deferral
    users.messages.email.Delivery users.messages.email.MarkAsSpam users.messages.email.Open users.messages.email.Send
    users.messages.email.SoftBounce users.messages.email.Unsubscribe users.messages.inappmessage.Abort
    users.messages.inappmessage.Click users.messages.inappmessage.Impression users.messages.liveactivity.Outcome
    users.messages.liveactivity.Send users.messages.pushnotification.Abort users.messages.pushnotification.Bounce
    users.messages.pushnotification.IosForeground users.messages.pushnotification.Open
    users.messages.pushnotification.Send users.messages.sms.Abort users.messages.sms.CarrierSend
    users.messages.sms.Delivery users.messages.sms.DeliveryFailure users.messages.sms.InboundReceive
    users.messages.sms.Rejection users.messages.sms.Send users.messages.sms.ShortLinkClick
    users.messages.webhook.Abort users.messages.webhook.Failure users.messages.webhook.Send
    users.messages.whatsapp.Abort users.messages.whatsapp.Click users.messages.whatsapp.Delivery
    users.messages.whatsapp.Failure users.messages.whatsapp.InboundReceive users.messages.whatsapp.Read
    users.messages.whatsapp.Send users.messages.banner.Impression users.messages.banner.Click users.messages.rcs.Click
    users.messages.line.Abort users.messages.line.Click users.messages.line.InboundReceive users.messages.line.Send
    users.RandomBucketNumberUpdate
"""
"""https://www.braze.com/docs/user_guide/data/distribution/braze_currents/event_glossary/customer_behavior_events and
…/message_engagement_events"""


def read(record: dict[str, Any]) -> list[Event]:
    return Braze().events(json.dumps(record).encode(), STAMP)


def sent(name: str, **properties: Any) -> Event:
    (found,) = read({"external_id": "u", "name": name, "time": AT, "properties": properties})
    return found


def exported(kind: str, **properties: Any) -> list[Event]:
    user = {"user_id": "b", "external_user_id": "u"}
    return read({"event_type": kind, "id": "e", "time": TS // 1000, "user": user, "properties": properties})


def test_every_recommended_event_is_known() -> None:
    listed = dict(line.strip().split(": ") for lines in NAMES.values() for line in lines.strip().splitlines())
    assert listed == EVENTS
    assert {name: sent(name).type for name in listed} == listed


def test_every_event_that_is_exported_is_read_or_left_out() -> None:
    given = {"name": "Quiz Started", "product_id": "p"}
    found = {kind.lower() for kind in EXPORTED.split() if exported(kind, **given)}
    assert found == {CUSTOM, PURCHASE, *CURRENTS}
    with pytest.raises(BadEvent, match="event_type is 'users"):
        exported("users.other")


def test_any_other_event_keeps_its_name() -> None:
    found = sent("Quiz Started", step=1)
    assert (found.type, found.properties) == ("quiz_started", {"step": 1})


@pytest.mark.parametrize(
    ("action", "expected"),
    [("add", "product_added"), ("remove", "product_removed"), ("replace", "cart_updated"), (None, "cart_updated")],
)
def test_a_cart_update_says_what_changed_or_the_whole_cart(action: str | None, expected: str) -> None:
    assert sent("ecommerce.cart_updated", action=action, products=[{"product_id": 1}]).type == expected


def test_a_cart_without_products_is_empty() -> None:
    assert sent("ecommerce.cart_updated", products=[]).type == "cart_emptied"


def test_a_variant_stands_in_for_a_sku() -> None:
    products = [{"product_id": 1, "variant_id": 2}, {"product_id": 1, "variant_id": 2, "metadata": {"sku": "s"}}]
    assert [item.sku for item in sent("ecommerce.order_placed", products=products).items or []] == ["2", "s"]


def test_purchases_of_one_person_and_order_are_one_order() -> None:
    line = {"external_id": "u", "product_id": "p", "price": 2.5, "currency": "nok", "time": AT}
    lines = [
        line | {"quantity": 2, "properties": {"order_id": "o"}},
        line | {"product_id": "q", "properties": {"order_id": "o"}},
        line | {"external_id": "v", "properties": {"order_id": "o"}},
        line,
    ]
    found = read({"purchases": lines})
    assert [(one.order_id, one.value, one.customer_id) for one in found] == [
        ("o", 7.5, "u"),
        ("o", 2.5, "v"),
        (None, 2.5, "u"),
    ]
    assert {one.currency for one in found} == {"NOK"}


def test_a_request_is_read_in_the_order_of_its_times() -> None:
    events = [
        {"external_id": "u", "name": name, "time": f"2026-03-02T09:0{place}:00Z"}
        for place, name in ((2, "b"), (1, "a"))
    ]
    assert [one.type for one in read({"events": events})] == ["a", "b"]


def test_somebody_of_whom_only_the_address_is_known_is_a_visitor() -> None:
    (found,) = read({"events": [{"email": "A@example.com", "name": "x", "time": AT}]})
    assert found.customer_id is None
    assert str(found.anonymous_id).startswith("email-")


def test_properties_of_a_file_are_json_in_a_text() -> None:
    flat = {"id": "e", "external_user_id": "u", "user_id": "b", "time": TS // 1000, "name": "ecommerce.order_placed"}
    (found,) = read(flat | {"properties": json.dumps({"order_id": "o", "products": [{"product_id": 1}]})})
    assert (found.type, found.order_id, found.ts, found.anonymous_id) == ("order_completed", "o", TS, "b")
    with pytest.raises(BadEvent, match="not_json"):
        read(flat | {"properties": "{"})


@pytest.mark.parametrize(
    ("kind", "properties", "expected"),
    [
        ("users.messages.email.Unsubscribe", {}, False),
        ("users.behaviors.subscription.GlobalStateChange", {"subscription_status": "Subscribed"}, True),
        ("users.behaviors.subscription.GlobalStateChange", {"subscription_status": "unsubscribed"}, False),
        (
            "users.behaviors.subscription.GlobalStateChange",
            {"channel": "push", "subscription_status": "opted_in"},
            None,
        ),
    ],
)
def test_subscriptions_are_consent(kind: str, properties: dict[str, Any], expected: bool | None) -> None:
    (found,) = exported(kind, **properties)
    assert (found.type, found.consent and found.consent.marketing) == ("customer_updated", expected)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"events": [{"external_id": "u"}]}, True),
        ({"attributes": [{"user_alias": {}}]}, True),
        ({"events": [{"name": "view_item"}], "client_id": "1.2"}, False),
        ({"events": [{"event_type": "users.x"}]}, True),
        ({"event_type": "users.messages.email.Open"}, True),
        ({"event_type": "pv"}, False),
        ({"external_user_id": "u", "time": 1}, True),
        ({"external_id": "u", "name": "x", "time": AT}, True),
        ({"name": "x", "time": AT}, False),
    ],
)
def test_records_are_recognised(record: dict[str, Any], expected: bool) -> None:
    fields = msgspec.json.decode(msgspec.json.encode(record), type=dict[str, msgspec.Raw])
    assert Braze().recognises(fields) is expected


def test_what_is_wrong_with_an_event_is_said() -> None:
    for record, said in (
        ({"external_id": "u", "time": AT, "name": ""}, "missing_type: name is missing"),
        ({"external_id": "u", "time": "soon", "name": "x"}, "bad_ts: time is 'soon'"),
        ({"events": {}}, "wrong_type: events is {}; allowed: a list"),
        ({"purchases": [{"price": 1}]}, "missing_id: purchases.product_id is missing"),
        ({"external_user_id": "u", "time": 1, "id": "e"}, "missing_type: event_type is missing"),
    ):
        with pytest.raises(BadEvent) as caught:
            read(record)
        assert str(caught.value).startswith(said)
