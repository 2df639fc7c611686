"""The rules' numbers as the oracle reads them: plain data, written from the design and not from the tracker's code."""

from __future__ import annotations

from dataclasses import dataclass

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

CONVERSION = ("order_completed", "trial_started", "subscription_started", "contract_signed")
CHECKOUT = (
    "checkout_started",
    "checkout_step_viewed",
    "checkout_step_completed",
    "payment_info_entered",
    "payment_failed",
)
ANY = "*"
"""As an event type of an entry: any active event."""


@dataclass(frozen=True)
class PhaseRow:
    """A phase: its entries are (event types, least number of orders)."""

    id: str
    stage: str
    enter: tuple[tuple[tuple[str, ...], int], ...]
    back_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """All that a fold of one person depends on; durations in ms, quiet hours in minutes of the day in UTC."""

    phases: tuple[PhaseRow, ...]
    reopen: tuple[str, ...]
    conversion: tuple[str, ...] = CONVERSION
    gap: int = 30 * MINUTE
    cap: int = 24 * HOUR
    browse_wait: int = HOUR
    cart_wait: int = 4 * HOUR
    checkout_wait: int = 4 * HOUR
    journey_timeout: int = 30 * DAY
    cart_ttl: int = 30 * DAY
    recovery_window: int = 30 * DAY
    quiet: tuple[int, int] | None = None
    consent_default: bool = True


NETTBUTIKK = Table(
    phases=(
        PhaseRow("bevissthet", "before", (((ANY,), 0),)),
        PhaseRow(
            "vurdering",
            "before",
            (
                (
                    (
                        "search_performed",
                        "product_list_viewed",
                        "product_viewed",
                        "review_read",
                        "size_guide_viewed",
                        "video_watched",
                        "calculator_used",
                        "wishlist_added",
                    ),
                    0,
                ),
            ),
        ),
        PhaseRow("kjøp", "purchase", ((("product_added", *CHECKOUT), 0),), ("cart_emptied",)),
        PhaseRow("bruk", "after", ((("order_delivered", "product_used"), 0),)),
        PhaseRow(
            "lojalitet",
            "after",
            (
                (("product_reviewed", "product_shared", "referral_made", "loyalty_joined"), 0),
                (CONVERSION, 2),
            ),
        ),
    ),
    reopen=(
        "search_performed",
        "product_viewed",
        "product_list_viewed",
        "promotion_clicked",
        "ad_clicked",
        "email_clicked",
        "sms_clicked",
    ),
)
"""The default model, `nettbutikk-5`."""
