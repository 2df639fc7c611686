"""Which dialect each raw topic speaks, from the settings."""

from __future__ import annotations

from collections.abc import Callable

from tracker.errors import SettingError
from tracker.settings import Settings
from tracker.wire.dialects import DIALECTS
from tracker.wire.reading import AUTO, CANONICAL, Reader, reader_of
from tracker.wire.topics import Topics


def dialects_of(settings: Settings, topics: Topics) -> Callable[[str], Reader]:
    """Makes a reader for a partition of a raw topic, by its name on the broker. Raises `SettingError` where
    `TRACKER_DIALECTS` names a topic or a dialect that there is not."""
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
    by_name = dict(zip(topics.raw_topics, settings.raw_topics, strict=True))
    return lambda topic: reader_of(chosen.get(by_name[topic], AUTO))
