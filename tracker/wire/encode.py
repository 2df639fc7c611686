"""Outputs to records: CloudEvents 1.0 in Kafka's binary mode, keyed by person.

An output goes to the same partition number as its source; only what is sent on inside the log (forwards, absorbed
pasts) crosses to the partition of the person it is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import msgspec

from tracker.domain.ids import derive
from tracker.domain.outputs import (
    AbsorbState,
    Claimed,
    DropOff,
    EraseToo,
    Forward,
    LateEvent,
    Linked,
    Output,
    SessionClosed,
    Tombstone,
    Transition,
    Trigger,
    Unlinked,
)
from tracker.wire.control import (
    FORWARD_HEADERS,
    Absorb,
    Claim,
    Control,
    Entombed,
    Erase,
    Merge,
    Unmerge,
    control_headers,
    encode_control,
)
from tracker.wire.partition import partition_of
from tracker.wire.topics import Topics

_json = msgspec.json.Encoder().encode


class Encoded(NamedTuple):
    """A record to publish, but for its timestamp."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class OutputEncoder:
    """Encodes the outputs of one tracker. `partitions` is that of the log and of every output topic."""

    def __init__(self, topics: Topics, partitions: int) -> None:
        self._topics = topics
        self._partitions = partitions
        source = f"/{topics.track_group}".encode()
        self._transition = _constant(source, b"journey.transition")
        self._dropoff = {kind: _constant(source, b"journey." + kind.encode()) for kind in DROPOFF_KINDS}
        self._trigger = _constant(source, b"journey.trigger")
        self._session = _constant(source, b"journey.session")
        self._late = _constant(source, b"journey.late")

    def plain(self, topic: str) -> str:
        """A topic's name without the namespace, for metrics."""
        return topic.removeprefix(self._topics.prefix)

    def encode(self, output: Output, partition: int) -> Encoded | None:
        """The record of an output of this partition; None for what is only counted."""
        topics = self._topics
        if isinstance(output, Transition):
            headers = _about(output.id, output.at, output.person_id, self._transition)
            return Encoded(topics.transitions, partition, output.person_id.encode(), _json(output), headers)
        if isinstance(output, SessionClosed):
            id_ = derive(output.session_id, output.revision)
            headers = _about(id_, output.ended_at, output.person_id, self._session)
            return Encoded(topics.sessions, partition, output.person_id.encode(), _json(output), headers)
        if isinstance(output, DropOff):
            at = output.detected_at if output.kind == "dropped_off" else output.last_event.ts
            headers = _about(output.id, at, output.person_id, self._dropoff[output.kind])
            return Encoded(topics.dropoffs, partition, output.person_id.encode(), _json(output), headers)
        if isinstance(output, Trigger):
            headers = _about(output.id, output.detected_at, output.person_id, self._trigger)
            return Encoded(topics.triggers, partition, output.person_id.encode(), _json(output), headers)
        if isinstance(output, Forward):
            key = output.to.encode()
            place = partition_of(key, self._partitions)
            return Encoded(topics.events, place, key, _json(output.event), FORWARD_HEADERS)
        if isinstance(output, AbsorbState):
            absorb = Absorb(derive(output.source, output.to), output.source, output.ts, output.payload)
            return self._control(output.to, absorb)
        if isinstance(output, Claimed):
            return self._control(output.key, Claim(output.person, output.ts, output.instead), FORWARD_HEADERS)
        if isinstance(output, Linked):
            return self._control(output.visitor, Merge(output.customer, output.ts), FORWARD_HEADERS)
        if isinstance(output, EraseToo):
            return self._control(output.to, Erase(output.until - 1, output.spread, output.member))
        if isinstance(output, Tombstone):
            entombed = Entombed(output.mark, output.until)
            headers = control_headers(entombed)
            return Encoded(topics.events, output.partition, b"", encode_control(entombed), headers)
        if isinstance(output, Unlinked):
            unmerge = Unmerge(output.visitor, output.customer, output.token)
            return self._control(output.customer, unmerge, FORWARD_HEADERS)
        if isinstance(output, LateEvent):
            id_ = derive("late", output.person_id, output.event.event_id)
            headers = _about(id_, output.event.ts, output.person_id, self._late)
            headers.append(("tracker-late-by-ms", str(output.late_by).encode()))
            return Encoded(topics.late, partition, output.person_id.encode(), _json(output.event), headers)
        return None

    def _control(self, to: str, record: Control, headers: Sequence[tuple[str, bytes]] = ()) -> Encoded:
        key = to.encode()
        place = partition_of(key, self._partitions)
        return Encoded(self._topics.events, place, key, encode_control(record), [*control_headers(record), *headers])


DROPOFF_KINDS = ("dropped_off", "recovered", "cancelled")


def _constant(source: bytes, kind: bytes) -> tuple[tuple[str, bytes], ...]:
    return (
        ("ce_source", source),
        ("ce_specversion", b"1.0"),
        ("ce_type", kind),
        ("content-type", b"application/json"),
    )


def _about(id_: str, at: int, subject: str, constant: tuple[tuple[str, bytes], ...]) -> list[tuple[str, bytes]]:
    time = b"%b.%03dZ" % (_second(at // 1000), at % 1000)
    return [("ce_id", id_.encode()), ("ce_time", time), ("ce_subject", subject.encode()), *constant]


@lru_cache(maxsize=4096)
def _second(seconds: int) -> bytes:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
