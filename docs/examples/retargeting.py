"""A retargeting system in one file: reads drop-offs, does every one once, survives being killed at any moment.

python retargeting.py [namespace]   environment: TRACKER_BROKERS, and SEEN for the file that remembers what is done
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer


def act(message: dict[str, Any]) -> str:
    """What to do about a message: here it is only said."""
    who = message.get("customer_id") or message["person_id"]
    if message["kind"] == "dropped_off":
        cart = message.get("cart")
        about = f"{cart['value']:g} {cart['currency']} in the cart" if cart else "nothing in the cart"
        return f"remind {who}: {message['reason']} in {message['phase']}, {about}"
    if message["kind"] == "recovered":
        return f"stop reminding {who}: bought for {message['value']:g} {message['currency']}"
    return f"forget the reminder of {who}: had bought already"


async def main(brokers: str, namespace: str, seen: sqlite3.Connection) -> None:
    consumer = AIOKafkaConsumer(
        f"{namespace}journey.dropoffs",
        bootstrap_servers=brokers,
        group_id=f"{namespace}retargeting",
        isolation_level="read_committed",  # without it you see outputs of transactions that were aborted
        enable_auto_commit=False,  # the offset is committed after the work, not by the clock
        auto_offset_reset="earliest",
    )
    try:
        await consumer.start()
        async for record in consumer:
            headers = dict(record.headers)
            done = "INSERT INTO seen VALUES (?) ON CONFLICT DO NOTHING"
            with seen:  # one local transaction: remembered if and only if done
                if seen.execute(done, [headers["ce_id"].decode()]).rowcount:
                    print(act(json.loads(record.value)), flush=True)
            await consumer.commit()
    finally:
        await consumer.stop()


if __name__ == "__main__":
    database = sqlite3.connect(os.environ.get("SEEN", "seen.db"))
    database.execute("CREATE TABLE IF NOT EXISTS seen (ce_id TEXT PRIMARY KEY)")
    with suppress(KeyboardInterrupt):
        asyncio.run(main(os.environ["TRACKER_BROKERS"], sys.argv[1] if sys.argv[1:] else "", database))
