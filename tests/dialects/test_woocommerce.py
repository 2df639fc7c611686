from __future__ import annotations

import json
from typing import Any

import pytest

from tracker.domain.events import Event
from tracker.errors import BadEvent
from tracker.wire.dialects.woocommerce import STATUSES, WooCommerce

STAMP = 1_700_000_000_000
STATUS_NAMES = {
    "https://woocommerce.github.io/woocommerce-rest-api-docs/#order-properties": """
        pending processing on-hold completed cancelled refunded failed trash
    """
}
TOPICS = {
    "https://woocommerce.github.io/woocommerce-rest-api-docs/#webhooks": """
        coupon.created coupon.updated coupon.deleted customer.created customer.updated customer.deleted order.created
        order.updated order.deleted product.created product.updated product.deleted action.woocommerce_add_to_cart
    """
}
ORDER = {
    "id": 5,
    "order_key": "k",
    "date_created_gmt": "2026-03-02T09:00:00",
    "date_modified_gmt": "2026-03-02T09:05:00",
    "billing": {"email": "Ann@Example.com "},
    "customer_id": 0,
    "total": "20.00",
}
CREATED, MODIFIED = 1_772_442_000_000, 1_772_442_300_000


def read(topic: str | None = None, **fields: Any) -> list[Event]:
    given = {} if topic is None else {"x-wc-webhook-topic": topic}
    return WooCommerce().delivered(json.dumps(ORDER | fields).encode(), STAMP, given)


def types(**fields: Any) -> list[str]:
    return [event.type for event in read(**fields)]


def test_every_status_that_there_is_has_a_meaning() -> None:
    assert {status for listed in STATUS_NAMES.values() for status in listed.split()} <= STATUSES.keys()


@pytest.mark.parametrize("topic", [topic for listed in TOPICS.values() for topic in listed.split()])
def test_every_topic_is_read_or_left_out(topic: str) -> None:
    fields = json.dumps({"id": 5, "date_created_gmt": "2026-03-02T09:00:00"} | (ORDER if "order." in topic else {}))
    found = WooCommerce().delivered(fields.encode(), STAMP, {"x-wc-webhook-topic": topic})
    told = topic.startswith("order.") or topic in {"customer.created", "customer.updated"}
    assert bool(found) == told


def test_the_trial_of_a_new_webhook_is_about_nobody() -> None:
    assert WooCommerce().delivered(b"webhook_id=17", STAMP, {}) == []
    with pytest.raises(BadEvent, match="not_json"):
        WooCommerce().delivered(b"webhook_id=17&x=1", STAMP, {})


def test_a_status_that_a_plug_in_adds_is_news_of_the_order() -> None:
    assert types(status="wc-in-production") == ["order_updated"]


def test_an_order_is_completed_once_whatever_its_later_status() -> None:
    (paid,) = read(status="processing", date_paid_gmt="2026-03-02T09:05:00")
    done, shipped = read(
        status="completed", date_paid_gmt="2026-03-02T09:05:00", date_completed_gmt="2026-03-03T09:00:00"
    )
    assert (paid.event_id, paid.ts) == (done.event_id, done.ts) == (paid.event_id, MODIFIED)
    assert (shipped.type, shipped.ts) == ("order_shipped", MODIFIED + 86_400_000 - 300_000)


def test_an_order_that_waits_for_a_transfer_is_an_order_of_when_it_was_made() -> None:
    (found,) = read(status="on-hold")
    assert (found.type, found.ts) == ("order_completed", CREATED)


def test_each_refund_is_told_once_and_a_full_one_without_them_is_of_all() -> None:
    refunds = [{"id": 8, "total": "-5.00"}, {"id": 9, "total": "-15.00"}]
    first = read(status="processing", refunds=refunds[:1])
    both = read(status="refunded", refunds=refunds)
    assert [event.type for event in first] == ["order_completed", "order_refunded"]
    assert [event.value for event in both] == [5.0, 15.0]
    assert first[1].event_id == both[0].event_id
    (whole,) = read(status="refunded")
    assert whole.value == 20.0


def test_refunds_without_ids_are_told_apart_by_their_places() -> None:
    refunds = [{"total": "-5.00"}, {"total": "-15.00"}]
    _, once = read(status="processing", refunds=refunds[:1])
    both = read(status="refunded", refunds=refunds)
    assert once.event_id == both[0].event_id != both[1].event_id


def test_a_payment_that_fails_twice_fails_twice() -> None:
    ids = {read(status="failed", date_modified_gmt=f"2026-03-02T09:0{minute}:00")[0].event_id for minute in (5, 5, 6)}
    assert len(ids) == 2


def test_a_guests_orders_and_the_later_account_meet_by_the_address_which_is_hidden() -> None:
    (guest,) = read(status="processing")
    (known,) = read(status="processing", customer_id=42, billing={"email": "ann@example.com"})
    assert (guest.customer_id, known.customer_id) == (None, "42")
    assert guest.anonymous_id == known.anonymous_id
    assert "example" not in str(guest.anonymous_id)
    (nobody,) = read(status="processing", billing={"email": ""})
    assert nobody.anonymous_id == "woocommerce-order-5"


def test_the_browsers_own_id_comes_before_the_address() -> None:
    meta = [{"key": "_anonymous_id", "value": "v-1"}, {"key": "gift", "value": "yes"}, {"key": "_x", "value": "y"}]
    (found,) = read(status="processing", meta_data=meta)
    assert (found.anonymous_id, (found.properties or {}).get("gift")) == ("v-1", "yes")
    assert "_x" not in (found.properties or {})


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("active", "subscription_started"),
        ("pending-cancel", "subscription_cancelled"),
        ("on-hold", "order_updated"),
    ],
)
def test_a_subscription_is_no_order_of_its_own(status: str, expected: str) -> None:
    (found,) = read(status=status, billing_period="month", parent_id=4)
    assert (found.type, found.order_id) == (expected, "4")


def test_times_of_the_shops_own_clock_are_not_guessed_at() -> None:
    (found,) = read(
        status="processing", date_created_gmt=None, date_modified_gmt=None, date_created="2026-03-02T10:00:00"
    )
    assert (found.ts, found.flags) == (STAMP, ["ts_missing"])


def test_what_is_wrong_with_a_delivery_is_said() -> None:
    for fields, said in (
        ({"id": 0}, "id is missing"),
        ({"line_items": [{"price": 1}]}, "line_items[0].product_id is missing"),
        ({"line_items": [{"product_id": 1, "quantity": "many"}]}, "line_items[0].quantity is 'many'"),
        ({"meta_data": "x"}, "meta_data is 'x'; allowed: a list"),
    ):
        with pytest.raises(BadEvent) as caught:
            read(status="processing", **fields)
        assert caught.value.detail.startswith(said)
    with pytest.raises(BadEvent, match="missing_type"):
        WooCommerce().events(b'{"id": 5}', STAMP)
