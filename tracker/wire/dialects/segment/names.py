"""The names of Segment's semantic events, and the types that they are."""

from __future__ import annotations

import re
from functools import lru_cache

from tracker.domain.events import EVENT_TYPES
from tracker.wire.dialects.common import LONGEST_NAME, snake

_SEPARATORS = re.compile(r"[\W_]+")

_TABLE = """
    Products Searched                   search_performed
    Product List Viewed                 product_list_viewed
    Product List Filtered               product_list_viewed
    Product Added to Wishlist           wishlist_added
    Product Removed from Wishlist       wishlist_removed
    Wishlist Product Added to Cart      product_added
    Order Canceled                      order_cancelled
    Email Link Clicked                  email_clicked
    Live Chat Conversation Started      chat_started
    Video Playback Started              video_watched
    Signed Out                          logged_out
    Segment Consent Preference Updated  customer_updated

    Viewed Product Category             product_list_viewed
    Viewed Product                      product_viewed
    Clicked Product                     product_clicked
    Added Product                       product_added
    Removed Product                     product_removed
    Viewed Cart                         cart_viewed
    Started Order                       checkout_started
    Started Checkout                    checkout_started
    Viewed Checkout Step                checkout_step_viewed
    Completed Checkout Step             checkout_step_completed
    Entered Payment Info                payment_info_entered
    Updated Order                       order_updated
    Completed Order                     order_completed
    Refunded Order                      order_refunded
    Cancelled Order                     order_cancelled
    Canceled Order                      order_cancelled
    Viewed Promotion                    promotion_viewed
    Clicked Promotion                   promotion_clicked
"""
"""Names that are not their type's own words: of the present specification, then of its first version and of what
reported to Google Analytics."""

_OWN = """
    Product Clicked
    Cart Shared
    Email Delivered
    Email Bounced
    Email Marked as Spam
    Unsubscribed
    Application Installed
    Application Opened
    Application Backgrounded
    Application Foregrounded
    Application Updated
    Application Uninstalled
    Application Crashed
    Install Attributed
    Push Notification Received
    Push Notification Bounced
    Push Notification Tapped
    Deep Link Opened
    Deep Link Clicked
    Account Created
    Account Deleted
    Account Added User
    Account Removed User
    Signed Up
    Signed In
    Invite Sent
    Trial Ended
    Video Playback Paused
    Video Playback Interrupted
    Video Playback Buffer Started
    Video Playback Buffer Completed
    Video Playback Seek Started
    Video Playback Seek Completed
    Video Playback Resumed
    Video Playback Completed
    Video Playback Exited
    Video Content Started
    Video Content Playing
    Video Content Completed
    Video Ad Started
    Video Ad Playing
    Video Ad Completed
    Video Quality Updated
    Live Chat Conversation Ended
    Live Chat Message Sent
    Live Chat Message Received
    Experiment Viewed
"""
"""Specified names that are types of their own: activity, which a model may name."""


def _lines(table: str) -> list[str]:
    return [line.strip() for line in table.strip().splitlines() if line.strip()]


def _squashed(name: str) -> str:
    """A name without what producers vary in: case and separators."""
    return _SEPARATORS.sub("", name).lower()


_TYPES = (
    {_squashed(name): name for name in EVENT_TYPES}
    | {_squashed(name): snake(name) for name in _lines(_OWN)}
    | {_squashed(name): kind for name, kind in (line.rsplit(maxsplit=1) for line in _lines(_TABLE))}
)


NOT_THEIRS = frozenset({"email_delivered", "email_bounced", "push_notification_received", "push_notification_bounced"})
"""What a message's carrier did, and nobody else."""


def type_of(name: str) -> str:
    """The type of a track call's event; that of a name which nobody specified is the name in snake case, empty where
    it has no letter or digit of the Latin alphabet."""
    return _type_of(name[:LONGEST_NAME])


@lru_cache(maxsize=4096)
def _type_of(name: str) -> str:
    return _TYPES.get(_squashed(name)) or snake(name)
