"""From a raw record to canonical events: which dialect it is in, and the events that its adapter finds there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec

from tracker.domain.events import Event
from tracker.errors import BadEvent
from tracker.wire.bounds import MAX_EVENT_BYTES, check
from tracker.wire.decode import encode_event, finished, quick, read_event
from tracker.wire.dialects import DIALECTS, Dialect, Fields, Webhook
from tracker.wire.envelopes import MAGIC, Opened, Schemas, completed, is_structured, opened, unwrapped

CANONICAL = "canonical"
AUTO = "auto"


class Read(NamedTuple):
    """A canonical event, whose it is, and its JSON."""

    event: Event
    person: str
    value: bytes


class Reading(NamedTuple):
    """What a record holds: no event where it tells of nobody's journey."""

    dialect: str
    events: Sequence[Read]


Reader = Callable[[Any, int], Reading]
"""Reads aiokafka's records of one raw partition, each with its time in ms; raises `BadEvent`, and whatever a malformed
record may cause."""

Spoken = str | Dialect | tuple[Dialect, ...]
"""What a topic's records may be in: the dialect of a name, `AUTO` for any, a dialect, or one of several. The canonical
form is read beside several."""

_CANONICAL_FIELDS = frozenset({"event_id", "type"})
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read_canonical(record: Any, stamp: int) -> Reading:
    """A record in the canonical form; what it leaves out may be on the envelope that it came in."""
    value = record.value
    if isinstance(record, Opened) and record.attributes is not None:
        value = completed(value, record.attributes)
    return Reading(CANONICAL, (Read(*read_event(value, stamp)),))


def reader_of(spoken: Spoken, schemas: Schemas | None = None) -> Reader:
    """A reader for one raw partition whose records are in this dialect, or in any of these. Raises `KeyError` for a
    name that no dialect has."""
    read: Reader
    if spoken == AUTO:
        read = Detecting()
    elif spoken == CANONICAL:
        read = read_canonical
    elif isinstance(spoken, str):
        read = partial(read_as, {known.name: known for known in DIALECTS}[spoken])
    elif isinstance(spoken, tuple):
        read = Detecting(spoken)
    else:
        read = partial(read_as, spoken)
    return Opening(read, {} if schemas is None else schemas)


def read_as(dialect: Dialect, record: Any, stamp: int) -> Reading:
    """A record in a known dialect."""
    value = record.value
    if not value:
        raise BadEvent("empty", f"the record has no value; allowed: a JSON object in the dialect {dialect.name}")
    if len(value) > MAX_EVENT_BYTES:
        raise BadEvent("too_large", f"the record's value has {len(value)} bytes; allowed: {MAX_EVENT_BYTES}")
    if record.headers and isinstance(dialect, Webhook):
        events = dialect.delivered(value, stamp, _texts(record.headers))
    else:
        events = dialect.events(value, stamp)
    found = []
    for event in events:
        encoded = encode_event(event)
        found.append(Read(event, check(event, encoded), encoded))
    return Reading(dialect.name, found)


def _texts(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    return {name.lower(): (given or b"").decode("utf-8", "replace") for name, given in headers}


class Opening:
    """Reads what is in envelopes as `read` reads it."""

    def __init__(self, read: Reader, schemas: Schemas) -> None:
        self._read = read
        self._schemas = schemas

    def __call__(self, record: Any, stamp: int) -> Reading:
        """Most records are in no envelope."""
        value = record.value
        if record.headers or (value and value[0] == MAGIC):
            record = opened(record, self._schemas)
        return self._read(record, stamp)


class Detecting:
    """Reads records of whatever dialect they are in; a topic seldom mixes them, so the last one is tried first."""

    def __init__(self, dialects: Sequence[Dialect] = DIALECTS) -> None:
        self._dialects = list(dialects)
        self._canonical = True
        """Whether the last record was."""
        self._by_header = {dialect.header: dialect for dialect in dialects if isinstance(dialect, Webhook)}

    def __call__(self, record: Any, stamp: int) -> Reading:
        """What has the canonical form is canonical, and what nothing recognises is refused as such."""
        value = record.value
        fields = None if self._canonical or record.headers else _fields_of(value)
        if fields is not None and not fields.keys() >= _CANONICAL_FIELDS and not is_structured(fields):
            dialect = self._recognised(fields)
            if dialect is not None:
                return read_as(dialect, record, stamp)
        event = quick(value)
        self._canonical = event is not None
        if event is not None:
            return Reading(CANONICAL, (Read(*finished(event, value)),))
        dialect = self._delivered(record.headers) if record.headers else None
        if dialect is None:
            fields = _fields_of(value) if fields is None else fields
            if fields is None:
                return read_canonical(record, stamp)
            if is_structured(fields) and not isinstance(record, Opened):
                return self(unwrapped(value), stamp)
            dialect = self._recognised(fields)
        return read_canonical(record, stamp) if dialect is None else read_as(dialect, record, stamp)

    def _delivered(self, headers: Iterable[tuple[str, bytes | None]]) -> Dialect | None:
        found = (self._by_header.get(name.lower()) for name, _ in headers)
        return next((dialect for dialect in found if dialect is not None), None)

    def _recognised(self, fields: Fields) -> Dialect | None:
        dialects = self._dialects
        for place, dialect in enumerate(dialects):
            if dialect.recognises(fields):
                if place:
                    dialects.insert(0, dialects.pop(place))
                return dialect
        return None


def _fields_of(value: bytes | None) -> Fields | None:
    if not value or len(value) > MAX_EVENT_BYTES:
        return None
    try:
        return _fields(value)
    except (ValueError, RecursionError):
        return None
