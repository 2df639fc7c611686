"""The OTTO sample as canonical events: clicks are product views, carts are products added, orders are orders.

Lines of one order share a time but carry no order id. Each line stays an event and an order of its own (862 records
in, 862 events out): nothing in the data says which lines belong together, and the tracker must not guess either.
"""

from __future__ import annotations

import json
from pathlib import Path

from tracker.domain.events import Event, Item

TYPES = {"clicks": "product_viewed", "carts": "product_added", "orders": "order_completed"}


def otto(path: Path) -> dict[str, list[Event]]:
    """Each visitor's events, in file order; ids are visitor and place, zero-padded so that ties keep file order."""
    people: dict[str, list[Event]] = {}
    for line in path.read_text("utf-8").splitlines():
        visitor = json.loads(line)
        name = f"otto-{visitor['session']}"
        people[f"c:{name}"] = [
            Event(
                event_id=f"{name}-{place:05}",
                type=TYPES[row["type"]],
                ts=row["ts"],
                customer_id=name,
                order_id=f"{name}-{place:05}" if row["type"] == "orders" else None,
                items=[Item(str(row["aid"]))],
            )
            for place, row in enumerate(visitor["events"])
        ]
    return people
