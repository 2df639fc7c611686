"""The error tree: every error says what was wrong, where it came from and what is allowed.

TrackerError
├── SettingError        a setting, flag or model file is wrong: nothing was started
├── ModelError          a journey model cannot be used
├── MappingError        a mapping of a shop's own dialect cannot be used
├── ScenarioError       a scenario cannot be read
├── BadRecording        lines of a file to replay are no events: nothing was sent
├── BadEvent            one record cannot be decoded or validated; it goes to the dead letters
├── Unavailable         broker or store is away: what was tried; pause and try again
└── PartitionError      one partition cannot go on
    ├── Fenced          another worker owns the partition now: start over
    ├── PositionRefused the store is not where this worker thought: run the assignment again
    └── Irreconcilable  store and broker contradict each other: an operator must choose
"""

from __future__ import annotations


class TrackerError(Exception):
    """Root of everything that the tracker raises on purpose."""


class SettingError(TrackerError):
    """A setting, flag or file is wrong; the message has its name, its value and what is allowed."""


class ModelError(SettingError):
    """A journey model cannot be used; the message has file, key, value and what is allowed."""


class MappingError(SettingError):
    """A mapping cannot be used; the message has file, line, key, value and what is allowed."""


class ScenarioError(SettingError):
    """A scenario cannot be read; the message has file, line, key, value and what is allowed."""


class BadRecording(TrackerError):
    """Lines of a recording are not canonical events; the message names them."""


class BadEvent(TrackerError):
    """A record that cannot become a canonical event. `reason` is a short, stable word for metrics and headers."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Unavailable(TrackerError):
    """Broker or store did not answer; the message says which, where, and what was tried."""


class PartitionError(TrackerError):
    """One partition cannot go on with what it was doing."""


class Fenced(PartitionError):
    """Another worker took the partition: this one must drop what it holds and start over."""


class PositionRefused(PartitionError):
    """The store's position is neither where the batch began nor where it ends."""


class Irreconcilable(PartitionError):
    """Store and broker contradict each other; the message lists the ways out."""
