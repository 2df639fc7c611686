"""The limit to measure the worker against: read the log with aiokafka, decode every event, and do nothing else.

python -m loadtests.reader BROKERS TOPIC EVENTS    prints JSON: events, seconds of CPU and of wall time
"""

from __future__ import annotations

import json
import secrets
import sys
import time

import msgspec
import uvloop

from tracker.broker.kafka import make_consumer
from tracker.domain.events import Event


async def read(brokers: str, topic: str, count: int) -> dict[str, float]:
    """Read and decode until `count` events are in. CPU counts from before the first poll, prefetching included;
    the decoder is msgspec's into the tracker's own `Event`, without the bounds that the tracker checks besides."""
    decode = msgspec.json.Decoder(Event).decode
    consumer = make_consumer(brokers, f"reader-{secrets.token_hex(4)}", topic, auto_offset_reset="earliest")
    await consumer.start()
    try:
        seen = 0
        cpu, wall = time.process_time(), 0.0
        while seen < count:
            polled = await consumer.getmany(timeout_ms=500, max_records=5000)
            if polled and not wall:
                wall = time.perf_counter()
            for records in polled.values():
                for record in records:
                    if not record.headers:
                        decode(record.value)
                        seen += 1
        return {
            "events": seen,
            "cpu": time.process_time() - cpu,
            "wall": time.perf_counter() - wall,
        }
    finally:
        await consumer.stop()


if __name__ == "__main__":
    print(json.dumps(uvloop.run(read(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
