"""Control records: what the log says besides events. They carry a reserved header that names their kind.

| kind | value | written by |
|---|---|---|
| `watermark` | JSON `{"sources": {"shop.clicks/0": ms}}` | ingest, to every partition of `journey.events` |
| `passed` | JSON `{"partitions": {"0": [w0, w1]}}` | track, to every partition |
| `config` | JSON `Config` | the partition's owner, to its partition |
| `merge` | JSON `{"customer": "c:<id>", "ts": ms}`, key `a:<id>` | ingest, to the anonymous person's partition |
| `claim` | JSON `{"person": "c:<id>", "ts": ms}`, key `order:<id>` | ingest, and track for merged people |
| `absorb` | MessagePack `Absorb`, key `c:<id>` | track, to the customer's partition |
| `erase` | JSON `Erase`, key: the person | `tracker erase`, and track for the ids linked to them |
| `entombed` | JSON `Entombed` | track, to every other partition |
| `unmerge` | JSON `Unmerge`, key `a:<id>` and `c:<id>` | `tracker unmerge`, and track to the customer's partition |
| `rebuilt` | MessagePack `Rebuilt`, key `a:<id>` or `c:<id>` | `tracker unmerge` |
| `progress` | JSON `{"ts": ms}` | `tracker replay`, to every raw partition: everything before is written |
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec

from tracker.domain.model import FoldSettings
from tracker.domain.units import NEVER
from tracker.errors import BadEvent

CONTROL_HEADER = "tracker-control"
FORWARD_HEADER = "tracker-forward"
"""Header (value `1`) of an event that track sent on to the partition of the person it belongs to now, and of a merge or
claim that follows from others."""

LATEST = 253_402_300_799_999
"""The end of the year 9999, in ms."""
FORWARD_HEADERS: list[tuple[str, bytes]] = [(FORWARD_HEADER, b"1")]  # aiokafka wants a list


class WatermarkMarks(msgspec.Struct, frozen=True):
    """All sources of one ingest worker: every event of a source with `ts` below its mark is in the log."""

    sources: dict[str, int]


class Passed(msgspec.Struct, frozen=True):
    """(w0, w1) of the partitions of one track worker, by partition number."""

    partitions: dict[int, tuple[int, int]]


class Config(msgspec.Struct, frozen=True):
    """What the fold reads besides records: each model's full YAML text, its settings, the code's fold version,
    the sources whose marks make up the watermark, and how many partitions the log has (0: not said)."""

    models: tuple[str, ...]
    fold: FoldSettings
    fold_version: int
    sources: tuple[str, ...]
    partitions: int = 0


class Merge(msgspec.Struct, frozen=True):
    """From now on the record's key (an anonymous person) is this customer; `ts` is that of the event that said so."""

    customer: str
    ts: int


class Claim(msgspec.Struct, frozen=True, omit_defaults=True):
    """The record's key (an order, cart or checkout) was named by this person in an event of `ts`. `instead`: a visitor
    who claimed it before and has been merged into them."""

    person: str
    ts: int
    instead: str | None = None


class Unmerge(msgspec.Struct, frozen=True):
    """The visitor and the customer are not the same. To the visitor's partition it is an order, to the customer's the
    mark up to which events of the visitor came. `token` tells one run of the command from another."""

    visitor: str
    customer: str
    token: str


class Rebuilt(msgspec.Struct, frozen=True):
    """What would be known of the record's key without the link that an `Unmerge` took apart: an encoded `State`, and by
    how much the map's counters differ; `wrong` are ids of drop-offs that were said of them because of the link."""

    state: bytes
    counters: dict[str, int]
    wrong: list[str] = []
    guard: tuple[int, int] = (NEVER, NEVER)
    """Their erasure, and the `shut` of their state, as of the `Unmerge`."""


class Absorb(msgspec.Struct, frozen=True):
    """An anonymous person's past, sent to the customer it belongs to. `id` makes taking it in idempotent,
    `ts` is that of the merge, `payload` an encoded `tracker.domain.identity.Legacy`."""

    id: str
    person: str
    ts: int
    payload: bytes


class Erase(msgspec.Struct, frozen=True, omit_defaults=True):
    """Nothing of the record's key, a person, from before `ts` may be known any more; with `spread` nothing of the ids
    linked to them either. With a `member` the key forgets them: an account, a shared device, an order's id."""

    ts: Annotated[int, msgspec.Meta(ge=0, le=LATEST)]
    spread: bool = False
    member: str | None = None


class Entombed(msgspec.Struct, frozen=True):
    """Somebody was erased: whoever has this mark (see `erasure.mark_of_person`), as far as before `until` (ms)."""

    mark: bytes
    until: int


class Progress(msgspec.Struct, frozen=True):
    """Everything before `ts` has been written to this raw partition. Whoever may write there can say it, so it has
    bounds: a time that no position can hold would be in the log for good, and stop every partition."""

    ts: Annotated[int, msgspec.Meta(ge=0, le=LATEST)]


Control = WatermarkMarks | Passed | Config | Merge | Claim | Absorb | Unmerge | Rebuilt | Erase | Entombed | Progress

KINDS: dict[str, type[Control]] = {
    "watermark": WatermarkMarks,
    "passed": Passed,
    "config": Config,
    "merge": Merge,
    "claim": Claim,
    "absorb": Absorb,
    "erase": Erase,
    "entombed": Entombed,
    "unmerge": Unmerge,
    "rebuilt": Rebuilt,
    "progress": Progress,
}

BINARY = (Absorb, Rebuilt)
_encode_json = msgspec.json.Encoder().encode
_encode_msgpack = msgspec.msgpack.Encoder().encode
_decoders = {
    kind: (msgspec.msgpack.Decoder(shape) if shape in BINARY else msgspec.json.Decoder(shape))
    for kind, shape in KINDS.items()
}
_headers = {shape: [(CONTROL_HEADER, kind.encode())] for kind, shape in KINDS.items()}


def source_name(topic: str, partition: int) -> str:
    """What a raw partition is called in marks and configs."""
    return f"{topic}/{partition}"


def control_headers(record: Control) -> list[tuple[str, bytes]]:
    """The headers that make a record a control record."""
    return _headers[type(record)]


def encode_control(record: Control) -> bytes:
    """The value of a control record."""
    return _encode_msgpack(record) if type(record) in BINARY else _encode_json(record)


def control_kind(headers: Iterable[tuple[str, bytes | None]]) -> str | None:
    """The kind of a control record, None for an event. The kind may be one that this version does not know; a header
    without a value, which Kafka allows, has none of them."""
    for name, value in headers:
        if name == CONTROL_HEADER:
            return (value or b"").decode("ascii", "backslashreplace")
    return None


def decode_control(kind: str, value: bytes | None) -> Control:
    """The control record of a kind; raises `BadEvent("bad_control")` on an unknown kind or a malformed value."""
    decoder = _decoders.get(kind)
    if decoder is None:
        raise BadEvent("bad_control", f"header {CONTROL_HEADER} is {kind!r:.60}; allowed: {', '.join(KINDS)}")
    try:
        return decoder.decode(value or b"")
    except (ValueError, RecursionError) as error:
        raise BadEvent("bad_control", f"{kind} record: {error}; it starts with {(value or b'')[:60]!r}") from None
