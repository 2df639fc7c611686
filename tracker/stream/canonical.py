"""Raw records become records of the log: decoded, validated, keyed by person, with what they say about identity.

Pure but for the memory of links sent. A batch of one raw partition gives the records to append, in order, and
tells the partition's source clock what it said about time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracker.domain.events import BOT
from tracker.domain.units import NEVER
from tracker.errors import BadEvent
from tracker.metrics import Tally
from tracker.stream.bots import is_bot
from tracker.stream.links import Links
from tracker.stream.ports import OutRecord
from tracker.stream.sources import SourceClock
from tracker.wire.bounds import MIN_TS
from tracker.wire.control import (
    CONTROL_HEADER,
    Progress,
    control_kind,
    decode_control,
)
from tracker.wire.deadletters import Origin, write_letter
from tracker.wire.decode import encode_event
from tracker.wire.identities import Identities
from tracker.wire.partition import partition_of
from tracker.wire.reading import Read, Reader
from tracker.wire.sealing import PLAIN, Seal
from tracker.wire.times import TS_MISSING
from tracker.wire.topics import Topics

FUTURE_MS = 5 * 60_000
"""How far past its record's timestamp an event's `ts` may be under the wall clock."""
IN_FUTURE = "ts_in_future"
LOG_APPEND_TIME = 1
OVERHEAD = 8 * 1024
"""What a record may have besides its value: the key, and a dead letter's headers."""
_NO_HEADERS: list[tuple[str, bytes]] = []
AS_THEY_ARE = Identities()

# Whatever else reading a record can end with, it is that record's fault and must not stop the line.
UNEXPECTED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class Canonical:
    """Turns raw records into records of the log, for one raw partition.

    `partitions` has the number of partitions by topic. Under the wall clock (`wall`) a `ts` too far in the future
    is replaced by the record's timestamp and flagged."""

    def __init__(
        self,
        topics: Topics,
        partitions: Mapping[str, int],
        read: Reader,
        tally: Tally,
        max_record_bytes: int,
        *,
        wall: bool,
        bots: str = "exclude",
        identities: Identities = AS_THEY_ARE,
        seal: Seal = PLAIN,
    ) -> None:
        """`bots`: as in TRACKER_BOTS, whether bots' events are flagged, and whether they link nobody."""
        self._seal = seal
        self._events = topics.events
        self._dead_letters = topics.dead_letters
        self._partitions = partitions[topics.events]
        self._letters = partitions[topics.dead_letters]
        self._largest = max_record_bytes - OVERHEAD
        self._read = read
        self._tally = tally
        self._wall = wall
        self._bots = bots != "off"
        self._bots_out = bots == "exclude"
        self._identities = identities
        self._links = Links(self._events, self._partitions)

    def take(self, records: Sequence[Any], source: SourceClock, now: int) -> tuple[list[OutRecord], int | None]:
        """(what to append, offset of the last progress marker) for aiokafka's records of one partition, read at
        `now` ms. A record's own time is the broker's; one that a producer set counts up to `now` at most. Of a
        record's events all count or, where one is refused, none."""
        out: list[OutRecord] = []
        add, topic, partitions, wall, read = out.append, self._events, self._partitions, self._wall, self._read
        links = self._links
        counted, dialects, mended = self._tally.events, self._tally.dialects, self._tally.mended
        checked = self._checked
        newest = NEVER
        marker = None
        for record in records:
            try:
                if record.headers and (kind := control_kind(record.headers)) is not None:
                    source.progress(_progress(kind, record.value))
                    marker = record.offset
                    continue
                stamp = record.timestamp
                if record.timestamp_type != LOG_APPEND_TIME and not MIN_TS <= stamp <= now:
                    stamp = now
                dialect, found = read(record, stamp)
                found = [checked(one, stamp) for one in found]
            except BadEvent as error:
                add(self._letter(record, error, now))
                continue
            except UNEXPECTED as error:
                add(self._letter(record, BadEvent("unexpected", f"{error!r:.400}"), now))
                continue
            dialects[dialect] += 1
            if not found:
                self._tally.skipped[dialect] += 1
            for event, person, value in found:
                key = person.encode()
                add(OutRecord(topic, partition_of(key, partitions), key, value, _NO_HEADERS, now))
                counted[event.type, "accepted"] += 1
                for flag in event.flags or ():
                    mended[flag] += 1
                if event.ts > newest:
                    newest = min(event.ts, max(stamp, newest))
                if self._bots_out and event.flags and BOT in event.flags:
                    continue
                if event.anonymous_id is not None and person[0] == "c":
                    links.merge(event, person, out, now)
                if event.order_id is not None or event.cart_id is not None or event.checkout_id is not None:
                    links.claim(event, person, out, now)
        if wall and newest != NEVER:
            source.read(newest)
        return out, marker

    def _checked(self, read: Read, stamp: int) -> Read:
        """An event whose time is as good as its record's, and that says whether a bot caused it. Raises `BadEvent`."""
        if self._identities.needed(read.event):
            read = self._identities.read(read)
        event, person, value = read
        flags: list[str] = []
        if self._wall:
            if event.ts > stamp + FUTURE_MS:
                event.ts = stamp
                flags.append(IN_FUTURE)
        elif event.flags is not None and TS_MISSING in event.flags:
            raise BadEvent("missing_ts", "it has no time, and under TRACKER_CLOCK=event its record's says nothing")
        if self._bots and event.user_agent is not None and is_bot(event):
            flags.append(BOT)
        if flags:
            event.flags = [*(event.flags or ()), *flags]
            read = Read(event, person, value := encode_event(event))
        if len(value) > self._largest:  # numbers may take more bytes than they came with
            raise BadEvent(
                "too_large",
                f"the event has {len(value)} bytes; allowed by the broker's largest record: {self._largest}",
            )
        return read

    def _letter(self, record: Any, error: BadEvent, now: int) -> OutRecord:
        self._tally.dead_letters[error.reason] += 1
        origin = Origin(record.topic, record.partition, record.offset, record.timestamp)
        given = record.key, record.value, record.headers
        letter = write_letter(origin, *given, error, self._largest, self._seal)
        return OutRecord(self._dead_letters, record.partition % self._letters, *letter, now)


def _progress(kind: str, value: bytes | None) -> int:
    """The time of a progress marker, the only control record that a raw topic may hold."""
    if kind != "progress":
        raise BadEvent("bad_control", f"header {CONTROL_HEADER} is {kind!r:.60}; allowed in a raw topic: progress")
    control = decode_control(kind, value)
    assert isinstance(control, Progress)
    return control.ts
