"""What everything on the broker is called: topics, consumer groups and transactional ids of one namespace."""

from __future__ import annotations

import re

import msgspec

from tracker.errors import SettingError

_LEGAL = re.compile(r"[A-Za-z0-9._-]{1,249}")


class Topics(msgspec.Struct, frozen=True):
    """All names of one tracker. `namespace` goes in front of each as it is: "acme." makes "acme.journey.events".
    `raw` are the raw topics without it. Raises `SettingError` for a name that Kafka does not allow."""

    namespace: str = ""
    raw: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for topic in (*self.raw_topics, *self.produced):
            if not _LEGAL.fullmatch(topic):
                raise SettingError(
                    f"topic name {topic!r} (namespace {self.namespace!r}): allowed are 1 to 249 letters, digits, "
                    "dots, underscores and dashes"
                )

    @property
    def prefix(self) -> str:
        """What stands in front of every name; Redis keys and consumer groups carry it too."""
        return self.namespace

    @property
    def raw_topics(self) -> tuple[str, ...]:
        """The raw topics by their full names."""
        return tuple(self.prefix + topic for topic in self.raw)

    @property
    def events(self) -> str:
        """The log: canonical events and control records, keyed by person."""
        return f"{self.prefix}journey.events"

    @property
    def transitions(self) -> str:
        """People moving between phases."""
        return f"{self.prefix}journey.transitions"

    @property
    def dropoffs(self) -> str:
        """Drop-offs, and how they ended."""
        return f"{self.prefix}journey.dropoffs"

    @property
    def triggers(self) -> str:
        """What the other rules of a model emit."""
        return f"{self.prefix}journey.triggers"

    @property
    def sessions(self) -> str:
        """Closed sessions."""
        return f"{self.prefix}journey.sessions"

    @property
    def dead_letters(self) -> str:
        """Records that could not become events."""
        return f"{self.prefix}journey.dead-letters"

    @property
    def late(self) -> str:
        """Events older than the allowed lateness."""
        return f"{self.prefix}journey.late"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The topics of outputs: each must have as many partitions as `events`."""
        return (self.transitions, self.dropoffs, self.triggers, self.sessions)

    @property
    def produced(self) -> tuple[str, ...]:
        """Every topic that the tracker itself writes to."""
        return (self.events, *self.outputs, self.dead_letters, self.late)

    @property
    def ingest_group(self) -> str:
        """The consumer group of the ingest stage."""
        return f"{self.prefix}tracker-ingest"

    @property
    def track_group(self) -> str:
        """The consumer group of the track stage; its offsets of `events` carry the positions."""
        return f"{self.prefix}tracker-track"

    @property
    def position_group(self) -> str:
        """Keeps the positions instead, on a broker without transactions: a group that never has members."""
        return f"{self.prefix}tracker-track-positions"

    @property
    def dead_letters_group(self) -> str:
        """Keeps how far the dead letters have been sent again; it never has members either."""
        return f"{self.prefix}tracker-dead-letters"

    def transactional_id(self, partition: int) -> str:
        """The stable id that fences the writers of one partition of `events`."""
        return f"{self.prefix}tracker-track-{partition}"
