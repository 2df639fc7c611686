"""Dialects on real Kafka: told by a record's headers, and described by a mapping that a setting names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.bench import RAW, Bench, events, letters
from tracker.wire.decode import decode_canonical

pytestmark = pytest.mark.integration

KASSE = Path(__file__).parents[2] / "docs" / "examples" / "kasse.yaml"


async def test_a_webhook_is_read_by_its_header_and_a_till_by_its_mapping(bench: Bench) -> None:
    bench.more = {"dialects": (f"{RAW[1]}={KASSE}",)}
    order = {"id": 5, "processed_at": "2026-03-02T10:00:00Z", "customer": {"id": 7}}
    headers = [("trace", b"1"), ("x-Shopify-Topic", b"orders/paid")]
    await bench.write(0, json.dumps({"id": 9}).encode(), headers=[("X-Shopify-Topic", b"products/update")])
    await bench.write(0, json.dumps(order).encode(), headers=headers)
    for record in json.loads(KASSE.with_suffix(".json").read_text(encoding="utf-8")):
        await bench.write(1, json.dumps(record).encode())
    await bench.write(1, json.dumps(order).encode(), headers=headers)  # no till's
    async with bench.running():
        (letter,) = await letters(bench, 1)
        records = await bench.until(lambda records: len(events(records)) >= 4)
    found = [decode_canonical(record.value) for record in events(records)]
    assert sorted((event.type, event.customer_id or event.anonymous_id) for event in found) == [
        ("order_completed", "42"),
        ("order_completed", "7"),
        ("order_refunded", "42"),
        ("product_viewed", "v-81"),
    ]
    assert letter.detail == "type (hendelse) is missing"
