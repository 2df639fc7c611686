"""The dialects that ingest understands, one adapter a module; a name no specification knows is snake-cased and kept.

Adding one: a module with a class that has the shape of `Dialect`, a line in `DIALECTS`, its page's examples as fixtures
in `tests/dialects/`, a section in `docs/dialects.md`.
"""

from __future__ import annotations

from tracker.wire.dialects.braze import Braze
from tracker.wire.dialects.dialect import Dialect, Fields, Webhook
from tracker.wire.dialects.ga4 import GA4
from tracker.wire.dialects.segment import RUDDERSTACK, SEGMENT
from tracker.wire.dialects.shopify import Shopify
from tracker.wire.dialects.snowplow import SNOWPLOW
from tracker.wire.dialects.woocommerce import WooCommerce

DIALECTS: tuple[Dialect, ...] = (SEGMENT, RUDDERSTACK, GA4, SNOWPLOW, Shopify(), WooCommerce(), Braze())
"""Those that a record can be recognised as, in the order in which they are tried."""

__all__ = ["DIALECTS", "Dialect", "Fields", "Webhook"]
