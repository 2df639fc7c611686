"""`tracker erase`: builds what `tracker.stream.erasing` needs."""

from __future__ import annotations

import time

from tracker.broker.kafka import partitions_of
from tracker.broker.sender import Sender
from tracker.errors import SettingError
from tracker.settings import Settings
from tracker.stream.erasing import Erased, Eraser
from tracker.wiring.parts import delivery_of, run, store_of, topics_of


def run_erase(settings: Settings, persons: list[str], patience: float) -> list[Erased]:
    """`tracker erase`: those of these person ids of whom something is kept, or else all of them, with every id linked
    to them, up to now. Waits at most `patience` seconds for the tracker to have done it."""

    async def erase() -> list[Erased]:
        topic, brokers = topics_of(settings).events, settings.brokers_text
        partitions = (await partitions_of(brokers, topic))[topic]
        if not partitions:
            raise SettingError(
                f"topic {topic} is missing on {brokers}; `tracker topics` makes it, and TRACKER_NAMESPACE goes in "
                "front of its name"
            )
        store = store_of(settings)
        sender = Sender(brokers, idempotent=await delivery_of(settings))
        try:
            eraser = Eraser(store, topic, partitions, sender.append)
            now = time.time_ns() // 1_000_000
            ts = now if settings.clock == "wall" else await eraser.watermark()
            return await eraser.erase(await eraser.known(persons) or persons, ts, now, patience)
        finally:
            await sender.close()
            await store.close()

    return run(erase())
