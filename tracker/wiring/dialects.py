"""Which dialect each raw topic speaks, from the settings, and the schemas that its records name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tracker.errors import SettingError
from tracker.settings import Settings
from tracker.wire.dialects import DIALECTS
from tracker.wire.reading import AUTO, CANONICAL, Reader, reader_of
from tracker.wire.topics import Topics

if TYPE_CHECKING:
    from tracker.broker.registry import SchemaRegistry


class Dialects:
    """Reads raw records."""

    def __init__(self, settings: Settings, topics: Topics) -> None:
        """Raises `SettingError` where `TRACKER_DIALECTS` names a topic or a dialect that there is not."""
        chosen = _chosen(settings)
        self._by_topic = {
            full: chosen.get(topic, AUTO) for full, topic in zip(topics.raw_topics, settings.raw_topics, strict=True)
        }
        self._registry = _registry(settings.schema_registry_url)

    def reader(self, topic: str) -> Reader:
        """A reader for one partition of a raw topic, by its name on the broker."""
        return reader_of(self._by_topic[topic], {} if self._registry is None else self._registry.decoders)

    async def learn(self, values: Iterable[bytes | None]) -> None:
        """Fetch the schemas that records with these values name. Raises `Unavailable`."""
        if self._registry is not None:
            await self._registry.learn(values)

    async def close(self) -> None:
        """Release the registry's connections."""
        if self._registry is not None:
            await self._registry.close()


def _registry(url: str) -> SchemaRegistry | None:
    if not url:
        return None
    # Its client takes a while to load, and most shops have none.
    from tracker.broker.registry import SchemaRegistry

    return SchemaRegistry(url)


def _chosen(settings: Settings) -> dict[str, str]:
    known = (AUTO, CANONICAL, *(dialect.name for dialect in DIALECTS))
    chosen: dict[str, str] = {}
    for pair in settings.dialects:
        topic, _, dialect = pair.partition("=")
        if topic not in settings.raw_topics:
            allowed = ", ".join(settings.raw_topics)
            raise SettingError(f"TRACKER_DIALECTS has {pair!r}: {topic!r} is not in TRACKER_RAW_TOPICS ({allowed})")
        if dialect not in known:
            raise SettingError(f"TRACKER_DIALECTS has {pair!r}; allowed dialects: {', '.join(known)}")
        if chosen.setdefault(topic, dialect) != dialect:
            raise SettingError(f"TRACKER_DIALECTS has {topic!r} twice; allowed: one dialect for each topic")
    return chosen
