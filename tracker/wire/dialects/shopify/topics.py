"""The topics of Shopify's webhooks, and what each tells of a person's journey."""

from __future__ import annotations

from collections.abc import Mapping

ORDERS: Mapping[str, str] = {
    "orders/create": "order_completed",
    "orders/paid": "order_completed",
    "orders/updated": "order_updated",
    "orders/partially_fulfilled": "order_updated",
    "orders/fulfilled": "order_shipped",
    "orders/cancelled": "order_cancelled",
    "orders/link_requested": "order_updated",
    "orders/risk_assessment_changed": "order_updated",
    "orders/shopify_protect_eligibility_changed": "order_updated",
}
"""Topics whose payload is an order."""
OF_AN_ORDER: Mapping[str, str] = {
    "orders/delete": "order_cancelled",
    "orders/edited": "order_updated",
    "refunds/create": "order_refunded",
    "fulfillments/create": "order_shipped",
    "fulfillments/update": "order_updated",
    "fulfillment_events/create": "order_updated",
    "fulfillment_events/delete": "order_updated",
    "order_transactions/create": "order_updated",
    "returns/request": "return_requested",
    "returns/approve": "order_updated",
    "returns/cancel": "order_updated",
    "returns/close": "order_updated",
    "returns/decline": "order_updated",
    "returns/process": "order_updated",
    "returns/reopen": "order_updated",
    "returns/update": "order_updated",
}
"""Topics whose payload names an order and nobody: whose it is, the order's other events tell."""
CARTS: Mapping[str, str] = {
    "carts/create": "cart_updated",
    "carts/update": "cart_updated",
    "checkouts/create": "checkout_started",
    "checkouts/update": "checkout_step_completed",
}
CUSTOMERS: Mapping[str, str] = {
    "customers/create": "identified",
    "customers/update": "customer_updated",
    "customers/enable": "customer_updated",
    "customers/disable": "customer_updated",
    "customer.tags_added": "customer_updated",
    "customer.tags_removed": "customer_updated",
    "customers_email_marketing_consent/update": "customer_updated",
    "subscription_contracts/cancel": "subscription_cancelled",
    "subscription_contracts/expire": "subscription_cancelled",
    "subscription_contracts/fail": "subscription_cancelled",
}
LEFT_OUT: frozenset[str] = frozenset(
    """
    checkouts/delete customers/delete customers/merge customers/purchasing_summary customers/data_request
    customers/redact subscription_contracts/create subscription_contracts/activate subscription_contracts/pause
    subscription_contracts/update
    """.split()
)
NOBODYS: frozenset[str] = frozenset(
    """
    app app_purchases_one_time app_subscriptions attributed_sessions audit_events bulk_operations channels
    checkout_and_accounts_configurations collection_listings collection_publications collections companies
    company_contact_roles company_contacts company_locations customer_account_settings customer_groups
    customer_payment_methods customers_marketing_consent delivery_promise_settings discounts disputes domains
    draft_orders finance_app_staff_member finance_kyc_information fulfillment_holds fulfillment_orders inventory_items
    inventory_levels inventory_shipments inventory_transfers locales locations markets markets_backup_region
    metafield_definitions metaobjects payment_schedules payment_terms product_feeds product_listings
    product_publications products profiles publications reverse_deliveries reverse_fulfillment_orders
    scheduled_product_listings segments selling_plan_groups shipping_addresses shop subscription_billing_attempts
    subscription_billing_cycle_edits subscription_billing_cycles tax_partners tax_services tax_summaries
    tender_transactions themes variants
    """.split()
)
"""Resources that tell of nobody's journey."""
