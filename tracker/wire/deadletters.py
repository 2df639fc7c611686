"""Dead letters: a refused record with its reason, its origin and its own bytes, so that it can be sent again.

Key and value are the original's. Headers: `reason`, `detail`, `source-topic`, `source-partition`,
`source-offset`, `source-timestamp` (ms), `source-size` (bytes of the original value, -1 for none), and each header
of the original with `original-` in front. A letter whose original is too large for the topic has the header
`pointer: 1`: its value is the first bytes only, and the original is read where the source headers say. The header
`sealed` says of a letter that it is `redacted` or `encrypted` (see `sealing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tracker.errors import BadEvent
from tracker.wire.bounds import MAX_EVENT_BYTES
from tracker.wire.sealing import ORIGINAL, PLAIN, POINTER, SEALED, Seal

Headers = Sequence[tuple[str, bytes]]

MAX_LETTER_BYTES = 800 * 1024
"""Original key, value and headers up to this size travel in the letter (brokers take 1 MiB by default)."""
PREFIX_BYTES = 4096
MAX_DETAIL = 1000
_PER_HEADER = 6
"""At most the bytes that the lengths of a header's name and value take: a record may have a million empty ones."""


class Origin(NamedTuple):
    """Where a record was read. `timestamp` in ms."""

    topic: str
    partition: int
    offset: int
    timestamp: int


class DeadLetter(NamedTuple):
    """A letter as read back. `value` is only the original's first bytes where `pointer` is set."""

    reason: str
    detail: str
    origin: Origin
    key: bytes | None
    value: bytes | None
    headers: Headers
    size: int
    pointer: bool
    sealed: str = ""
    """`redacted`, or `encrypted` where no key opened it: then there is neither key, value nor detail."""


class Letter(NamedTuple):
    """A letter as written to the dead-letter topic."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def write_letter(
    origin: Origin,
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
    error: BadEvent,
    largest: int = MAX_LETTER_BYTES,
    seal: Seal = PLAIN,
) -> Letter:
    """The letter for a record that `error` refused. `largest` is what the topic takes, besides the letter's own
    headers."""
    return Letter(*seal.close(*_open_letter(origin, key, value, headers, error, largest), largest))


def _open_letter(
    origin: Origin, key: bytes | None, value: bytes | None, headers: Headers, error: BadEvent, largest: int
) -> Letter:
    marks = [
        ("reason", _ascii(error.reason)),
        ("detail", _ascii(error.detail)[:MAX_DETAIL]),
        ("source-topic", _ascii(origin.topic)),
        ("source-partition", b"%d" % origin.partition),
        ("source-offset", b"%d" % origin.offset),
        ("source-timestamp", b"%d" % origin.timestamp),
        ("source-size", b"%d" % (-1 if value is None else len(value))),
    ]
    size = len(key or b"") + len(value or b"")
    size += sum(len(ORIGINAL) + _PER_HEADER + len(name) + len(given or b"") for name, given in headers)
    if size > min(largest, MAX_LETTER_BYTES):
        marks.append((POINTER, b"1"))
        prefix = min(PREFIX_BYTES, largest // 2)
        return Letter(key if key is None else key[:prefix], (value or b"")[:prefix], marks)
    marks += [(ORIGINAL + name, given) for name, given in headers]
    return Letter(key, value, marks)


def read_letter(key: bytes | None, value: bytes | None, headers: Headers, seal: Seal = PLAIN) -> DeadLetter:
    """The letter in a record of the dead-letter topic; raises `BadEvent` where a header is missing or wrong."""
    opened = seal.open(key, value, headers)
    key, value, headers = (None, None, headers) if opened is None else opened
    given = {name: content for name, content in headers if not name.startswith(ORIGINAL)}
    try:
        origin = Origin(
            given["source-topic"].decode("ascii"),
            int(given["source-partition"]),
            int(given["source-offset"]),
            int(given["source-timestamp"]),
        )
        size = int(given["source-size"])
        reason = given["reason"].decode("ascii")
    except (KeyError, ValueError) as error:
        raise BadEvent("bad_letter", f"not a dead letter of this tracker: header {error}") from None
    original = [(name[len(ORIGINAL) :], content) for name, content in headers if name.startswith(ORIGINAL)]
    detail = given.get("detail", b"").decode("ascii", "backslashreplace")
    sealed = given.get(SEALED, b"").decode("ascii", "backslashreplace")
    return DeadLetter(reason, detail, origin, key, value, original, size, POINTER in given, sealed)


def is_hopeless(letter: DeadLetter) -> bool:
    """Whether its record can only be refused again: it has no value, or more than an event may have, which is asked of
    every record before what settings and mappings say of it."""
    if letter.reason == "empty":
        return letter.size <= 0
    return letter.reason == "too_large" and letter.size > MAX_EVENT_BYTES


def _ascii(text: str) -> bytes:
    return text.encode("ascii", "backslashreplace")
