from __future__ import annotations

import json
from typing import Any

import pytest

from tests.properties.log import Log, LogRecord, Worker, send_on
from tests.scenarios.play import canonical_stage
from tracker.domain.events import Consent, Event
from tracker.domain.model import FoldSettings
from tracker.domain.table import compile_table
from tracker.domain.units import MONEY
from tracker.errors import BadEvent
from tracker.journeys.loader import load
from tracker.stream.sources import EventSource
from tracker.wire.decode import REASONS
from tracker.wire.dialects.shopify import Shopify
from tracker.wire.dialects.shopify.topics import CARTS, CUSTOMERS, LEFT_OUT, NOBODYS, OF_AN_ORDER, ORDERS

STAMP = 1_700_000_000_000
AT = "2026-03-02T10:00:00+01:00"
TS = 1_772_442_000_000
TOPICS = {
    "https://shopify.dev/docs/api/admin-graphql/latest/enums/WebhookSubscriptionTopic": """
        app/uninstalled app/scopes_update app_purchases_one_time/update app_subscriptions/update
        app_subscriptions/approaching_capped_amount attributed_sessions/first attributed_sessions/last
        audit_events/admin_api_activity bulk_operations/finish carts/create carts/update channels/delete
        checkout_and_accounts_configurations/update checkouts/create checkouts/delete checkouts/update
        collection_listings/add collection_listings/remove collection_listings/update collection_publications/create
        collection_publications/delete collection_publications/update collections/create collections/delete
        collections/update companies/create companies/delete companies/update company_contact_roles/assign
        company_contact_roles/revoke company_contacts/create company_contacts/delete company_contacts/update
        company_locations/create company_locations/delete company_locations/update customer_account_settings/update
        customer_groups/create customer_groups/delete customer_groups/update customer_payment_methods/create
        customer_payment_methods/revoke customer_payment_methods/update customer.tags_added customer.tags_removed
        customers/create customers/delete customers/disable customers/enable customers/merge
        customers/purchasing_summary customers/update customers_email_marketing_consent/update
        customers_marketing_consent/update delivery_promise_settings/update discounts/create discounts/delete
        discounts/redeemcode_added discounts/redeemcode_removed discounts/update disputes/create disputes/update
        domains/create domains/destroy domains/update draft_orders/create draft_orders/delete draft_orders/update
        finance_app_staff_member/grant finance_app_staff_member/revoke finance_app_staff_member/update
        finance_app_staff_member/delete finance_kyc_information/update fulfillment_events/create
        fulfillment_events/delete fulfillment_holds/added fulfillment_holds/released
        fulfillment_orders/cancellation_request_accepted fulfillment_orders/cancellation_request_rejected
        fulfillment_orders/cancellation_request_submitted fulfillment_orders/cancelled
        fulfillment_orders/fulfillment_request_accepted fulfillment_orders/fulfillment_request_rejected
        fulfillment_orders/fulfillment_request_submitted fulfillment_orders/fulfillment_service_failed_to_complete
        fulfillment_orders/hold_released fulfillment_orders/line_items_prepared_for_local_delivery
        fulfillment_orders/line_items_prepared_for_pickup fulfillment_orders/manually_reported_progress_stopped
        fulfillment_orders/merged fulfillment_orders/moved fulfillment_orders/order_routing_complete
        fulfillment_orders/placed_on_hold fulfillment_orders/progress_reported fulfillment_orders/rescheduled
        fulfillment_orders/scheduled_fulfillment_order_ready fulfillment_orders/split fulfillments/create
        fulfillments/update inventory_items/create inventory_items/delete inventory_items/update
        inventory_levels/connect inventory_levels/disconnect inventory_levels/update inventory_shipments/add_items
        inventory_shipments/create inventory_shipments/delete inventory_shipments/mark_in_transit
        inventory_shipments/receive_items inventory_shipments/remove_items
        inventory_shipments/update_item_quantities inventory_shipments/update_tracking inventory_transfers/add_items
        inventory_transfers/cancel inventory_transfers/complete inventory_transfers/ready_to_ship
        inventory_transfers/remove_items inventory_transfers/update_item_quantities locales/create locales/destroy
        locales/update locations/activate locations/create locations/deactivate locations/delete locations/update
        markets/create markets/delete markets/update markets_backup_region/update metafield_definitions/create
        metafield_definitions/delete metafield_definitions/update metaobjects/create metaobjects/delete
        metaobjects/update order_transactions/create orders/cancelled orders/create orders/delete orders/edited
        orders/fulfilled orders/link_requested orders/paid orders/partially_fulfilled orders/risk_assessment_changed
        orders/shopify_protect_eligibility_changed orders/updated payment_schedules/due payment_terms/create
        payment_terms/delete payment_terms/update product_feeds/create product_feeds/full_sync
        product_feeds/full_sync_finish product_feeds/incremental_sync product_feeds/update product_listings/add
        product_listings/remove product_listings/update product_publications/create product_publications/delete
        product_publications/update products/create products/delete products/update profiles/create profiles/delete
        profiles/update publications/delete refunds/create returns/approve returns/cancel returns/close
        returns/decline returns/process returns/reopen returns/request returns/update
        reverse_deliveries/attach_deliverable reverse_fulfillment_orders/dispose scheduled_product_listings/add
        scheduled_product_listings/remove scheduled_product_listings/update segments/create segments/delete
        segments/update selling_plan_groups/create selling_plan_groups/delete selling_plan_groups/update
        shipping_addresses/create shipping_addresses/update shop/update subscription_billing_attempts/challenged
        subscription_billing_attempts/failure subscription_billing_attempts/success
        subscription_billing_cycle_edits/create subscription_billing_cycle_edits/delete
        subscription_billing_cycle_edits/update subscription_billing_cycles/skip subscription_billing_cycles/unskip
        subscription_contracts/activate subscription_contracts/cancel subscription_contracts/create
        subscription_contracts/expire subscription_contracts/fail subscription_contracts/pause
        subscription_contracts/update tax_partners/update tax_services/create tax_services/update
        tax_summaries/create tender_transactions/create themes/create themes/delete themes/publish themes/update
        variants/in_stock variants/out_of_stock
    """,
    "https://shopify.dev/docs/apps/build/compliance/privacy-law-compliance": """
        customers/data_request customers/redact shop/redact
    """,
}


def read(payload: dict[str, Any], topic: str | None = None, **headers: str) -> list[Event]:
    given = {"x-shopify-topic": topic} if topic is not None else {}
    return Shopify().delivered(json.dumps(payload).encode(), STAMP, given | headers)


def refused(payload: dict[str, Any], topic: str | None = None) -> BadEvent:
    with pytest.raises(BadEvent) as caught:
        read(payload, topic)
    assert caught.value.reason in REASONS
    return caught.value


def order(**more: Any) -> dict[str, Any]:
    gid = "gid://shopify/Order/1"
    plain = {"id": 1, "admin_graphql_api_id": gid, "processed_at": AT, "updated_at": AT, "customer": {"id": 7}}
    return plain | more


def test_every_topic_that_there_is_is_known() -> None:
    known = {*ORDERS, *OF_AN_ORDER, *CARTS, *CUSTOMERS, *LEFT_OUT}
    listed = {topic for topics in TOPICS.values() for topic in topics.split()}
    assert {topic for topic in listed - known if topic.partition("/")[0] not in NOBODYS} == set()
    assert known <= listed, "and no other is made up"
    assert {topic.partition("/")[0] for topic in listed} >= NOBODYS


def test_a_topic_that_nobody_has_listed_keeps_its_name() -> None:
    (found,) = read({"id": 5, "customer": {"id": 7}}, "Loyalty/points_added", **{"x-shopify-triggered-at": AT})
    assert (found.type, found.customer_id, found.ts, found.flags) == ("loyalty_points_added", "7", TS, None)
    assert refused({"id": 5}, "loyalty/points_added").reason == "no_identity"


@pytest.mark.parametrize("topic", ["products/update", "customers/redact", "checkouts/delete", "shop/update"])
def test_what_tells_of_nobodys_journey_is_left_out(topic: str) -> None:
    assert read({"id": 1}, topic) == []


def test_an_order_is_one_event_however_often_it_is_delivered() -> None:
    (created,), (paid,), (untold,) = (read(order(), topic) for topic in ("orders/create", "orders/paid", None))
    assert created == paid == untold
    assert (created.type, created.order_id, created.ts) == ("order_completed", "1", TS)


def test_updates_are_told_apart_by_their_time() -> None:
    ids = {read(order(updated_at=at), "orders/updated")[0].event_id for at in (AT, AT, "2026-03-02T10:00:01+01:00")}
    assert len(ids) == 2


def test_an_update_tells_of_cancellation_and_refunds_too() -> None:
    refunds = [
        {"id": 8, "created_at": AT, "transactions": [{"kind": "refund", "status": "success", "amount": "5.00"}]},
        {"id": 9, "created_at": AT, "transactions": [{"kind": "refund", "status": "failure", "amount": "5.00"}]},
    ]
    found = read(order(cancelled_at=AT, refunds=refunds), "orders/updated")
    assert [one.type for one in found] == ["order_updated", "order_cancelled", "order_refunded", "order_refunded"]
    assert [one.value for one in found[2:]] == [5.0, 0.0], (
        "a refund that failed, or gave back goods only, is of nothing"
    )
    (alone,) = read(refunds[0] | {"order_id": 1}, "refunds/create")
    assert alone.event_id == found[2].event_id
    assert {one.customer_id for one in found} == {"7"}


def test_what_names_only_an_order_is_of_whoever_the_order_is() -> None:
    (refund,) = read({"id": 8, "order_id": 1, "created_at": AT}, "refunds/create")
    (anonymous,) = read(order(customer=None), "orders/create")
    assert refund.anonymous_id == anonymous.anonymous_id == "shopify-order-1"
    assert read(order(), "orders/create")[0].anonymous_id is None


@pytest.mark.parametrize(
    ("customer", "more", "expected"),
    [
        ({"email_marketing_consent": {"state": "subscribed"}}, {}, True),
        ({"email_marketing_consent": {"state": "unsubscribed"}}, {"buyer_accepts_marketing": True}, False),
        ({"email_marketing_consent": {"state": "not_subscribed"}}, {}, False),
        ({"accepts_marketing": True}, {}, True),
        ({}, {"buyer_accepts_marketing": True}, True),
        ({}, {"buyer_accepts_marketing": False}, None),
    ],
)
def test_consent_is_the_customers_state_else_the_ticked_box(
    customer: dict[str, Any], more: dict[str, Any], expected: bool | None
) -> None:
    (found,) = read(order(customer={"id": 7} | customer, **more), "orders/create")
    assert found.consent == (None if expected is None else Consent(marketing=expected))


def test_the_key_of_a_carts_token_is_no_part_of_it() -> None:
    cart = {"id": "c", "token": "c1?key=secret", "line_items": [{"variant_id": 3, "quantity": 1}], "note": ""}
    (found,) = read(cart, "carts/update", **{"x-shopify-triggered-at": AT})
    assert (found.cart_id, found.anonymous_id, found.items and found.items[0].product_id) == ("c1", "c1", "3")
    (bought,) = read(order(cart_token="c1?key=secret"), "orders/create")
    assert (bought.cart_id, bought.anonymous_id) == ("c1", "c1")


def test_two_changes_of_a_cart_in_one_second_are_two_events() -> None:
    cart = {"token": "c", "updated_at": AT, "note": None}
    lines = [[{"product_id": 1, "quantity": quantity}] for quantity in (1, 2)]
    ids = {read(cart | {"line_items": line}, "carts/update")[0].event_id for line in (*lines, lines[0])}
    assert len(ids) == 2


def test_a_delivery_without_a_time_has_its_headers_else_its_records() -> None:
    (told,) = read({"id": 1}, "orders/delete", **{"x-shopify-triggered-at": AT})
    (untold,) = read({"id": 1}, "orders/delete")
    assert (told.ts, told.flags, untold.ts, untold.flags) == (TS, None, STAMP, ["ts_missing"])


@pytest.mark.parametrize(
    ("payload", "topic", "reason", "detail"),
    [
        ({"id": 1}, None, "missing_type", "header x-shopify-topic is missing"),
        ({"processed_at": AT}, "orders/create", "missing_id", "id of the order is missing"),
        (order(total_price="much"), "orders/create", "bad_number", "total_price is 'much'"),
        (order(processed_at="soon"), "orders/create", "bad_ts", "processed_at is 'soon'"),
        (order(line_items={}), "orders/create", "wrong_type", "line_items is {}; allowed: a list"),
        (order(line_items=[{"price": "1"}]), "orders/create", "missing_id", "line_items[0].product_id is missing"),
        (order(customer=7), "orders/create", "wrong_type", "customer is 7; allowed: an object"),
        (order(buyer_accepts_marketing="yes"), "orders/create", "wrong_type", "buyer_accepts_marketing is 'yes'"),
        ({"id": 3}, "refunds/create", "missing_id", "id or order_id of the refund is missing"),
        ({"id": 3}, "fulfillments/create", "missing_id", "order_id is missing in the payload of fulfillments/create"),
        ({"line_items": []}, "carts/update", "missing_id", "token is missing"),
    ],
)
def test_what_is_wrong_with_a_delivery_is_said(
    payload: dict[str, Any], topic: str | None, reason: str, detail: str
) -> None:
    error = refused(payload, topic)
    assert error.reason == reason
    assert error.detail.startswith(detail)


def test_a_refund_that_names_only_its_order_is_its_buyers() -> None:
    log, stage, worker = (
        Log(),
        canonical_stage(),
        Worker(compile=lambda _: compile_table(load("nettbutikk-5"), FoldSettings())),
    )
    refunded = {
        "id": 8,
        "order_id": 1,
        "created_at": AT,
        "transactions": [{"kind": "refund", "status": "success", "amount": "100.00", "currency": "NOK"}],
    }
    deliveries = [
        ("orders/create", order(total_price="250.00", currency="NOK")),
        ("refunds/create", refunded),
    ]
    for offset, (topic, payload) in enumerate(deliveries):
        headers = (("X-Shopify-Topic", topic.encode()),)
        raw = LogRecord(offset, None, json.dumps(payload).encode(), headers, timestamp=TS)
        for out in stage.take([raw], EventSource(), TS)[0]:
            log.add(out.key or b"", out.value or b"", list(out.headers))
        send_on(log, worker)
    log.watermark(TS + 86_400_000)
    send_on(log, worker)
    facts = worker.people()["c:7"].facts
    assert (facts.order_count, {currency: amount / MONEY for currency, amount in facts.revenue.items()}) == (
        1,
        {"NOK": 150.0},
    )
