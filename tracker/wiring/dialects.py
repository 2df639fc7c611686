"""Which dialect each raw topic speaks, from the settings, and the schemas that its records name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from tracker.errors import MappingError, SettingError
from tracker.settings import Settings
from tracker.wire.dialects import DIALECTS, Dialect
from tracker.wire.dialects.mapping import MappedDialect
from tracker.wire.reading import AUTO, CANONICAL, Reader, Spoken, reader_of
from tracker.wire.topics import Topics
from tracker.wiring.mappings import load_mapping

if TYPE_CHECKING:
    from tracker.broker.registry import SchemaRegistry

log = logging.getLogger(__name__)


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


def dialect_of(name: str, warn: Callable[[str], object] = log.warning) -> Dialect | None:
    """A dialect by its name or by the path of a mapping, None for `auto` and `canonical`, which are none. Raises
    `SettingError`."""
    if name in (AUTO, CANONICAL):
        return None
    known = {dialect.name: dialect for dialect in DIALECTS}
    if name in known:
        return known[name]
    if not name.endswith((".yaml", ".yml")):
        allowed = ", ".join((AUTO, CANONICAL, *known))
        raise SettingError(f"{name!r} is no dialect; allowed: {allowed}, or the path of a mapping (.yaml)")
    mapped, slips = load_mapping(name)
    for slip in slips:
        warn(slip)
    return mapped


def _chosen(settings: Settings) -> dict[str, Spoken]:
    named: dict[str, list[str]] = {}
    for pair in settings.dialects:
        topic, _, name = pair.partition("=")
        if topic not in settings.raw_topics:
            allowed = ", ".join(settings.raw_topics)
            raise SettingError(f"TRACKER_DIALECTS has {pair!r}: {topic!r} is not in TRACKER_RAW_TOPICS ({allowed})")
        names = named.setdefault(topic, [])
        if name not in names:
            names.append(name)
    try:
        return {topic: _spoken(topic, names) for topic, names in named.items()}
    except MappingError:
        raise
    except SettingError as error:
        raise SettingError(f"TRACKER_DIALECTS: {error}") from None


def _spoken(topic: str, names: Sequence[str]) -> Spoken:
    """What `reader_of` is told of a topic that speaks these."""
    dialects = [dialect_of(name) for name in names]
    if len(names) == 1:
        return dialects[0] or names[0]
    several = [dialect for dialect in dialects if dialect is not None]
    for dialect in several:
        if isinstance(dialect, MappedDialect) and dialect.marks is None:
            raise SettingError(f"{topic} has several dialects, and {dialect.name} has no recognise to tell its records")
    return (*several, *(dialect for dialect in DIALECTS if AUTO in names and dialect not in several))
