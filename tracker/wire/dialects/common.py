"""What adapters share: JSON, names in snake case, ids, numbers that producers send as text, times, campaigns."""

from __future__ import annotations

import re
from datetime import tzinfo
from functools import lru_cache
from hashlib import blake2b
from math import isfinite
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec

from tracker.domain.events import Campaign
from tracker.errors import BadEvent
from tracker.wire.bounds import MAX_DEPTH, MAX_TYPE
from tracker.wire.times import TS_MISSING, milliseconds

LONGEST_NAME = 256
"""Characters of a name that are looked at (and remembered): those of a type, and room for separators."""
UTM = {"source": "source", "medium": "medium", "name": "campaign"}
"""Of a campaign's fields the utm parameters."""
_WORD_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_WORD = re.compile(r"[\W_]+")

T = TypeVar("T")


def json_object(value: bytes) -> dict[str, Any]:
    """A record's JSON object. Raises `BadEvent`."""
    try:
        raw = msgspec.json.decode(value)
    except RecursionError:
        raise BadEvent("too_deep", f"nested too deeply; allowed: {MAX_DEPTH}") from None
    except ValueError as error:
        raise BadEvent("not_json", f"{error}; the value starts with {value[:60]!r}; allowed: JSON in UTF-8") from None
    if not isinstance(raw, dict):
        raise BadEvent("wrong_type", f"the value is {value[:60]!r}; allowed: a JSON object")
    return raw


def converted(raw: dict[str, Any], kind: type[T], value: bytes) -> T:
    """A record's JSON object as a type. Raises `BadEvent`, which names the field at fault and shows the record."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise BadEvent("wrong_type", f"{error}; the value starts with {value[:60]!r}") from None
    except RecursionError:
        raise BadEvent("too_deep", f"nested too deeply; allowed: {MAX_DEPTH}") from None


def snake(name: str) -> str:
    """A producer's event name as a type: `Quiz Started`, `quizStarted` and `quiz-started` are `quiz_started`."""
    return _snake(name[:LONGEST_NAME])


@lru_cache(maxsize=4096)
def _snake(name: str) -> str:
    return _NOT_WORD.sub("_", _WORD_BORDER.sub("_", name)).strip("_").lower()[:MAX_TYPE]


def content_id(*parts: bytes) -> str:
    """The id of an event that has none: 32 hexadecimal digits, the same for the same content."""
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    return digest.hexdigest()


def text_id(given: object, field: str) -> str | None:
    """An id, which many send as a number; None where it is null or empty. Raises `BadEvent` (`wrong_type`), which
    names `field`."""
    if isinstance(given, str):
        return given or None
    if given is None:
        return None
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    raise BadEvent("wrong_type", f"{field} is {given!r:.60}; allowed: text or a whole number")


def number(given: object, field: str) -> float | None:
    """A price or sum, which many send as text ("899.00"); None where it is null or empty. Raises `BadEvent`
    (`bad_number`), which names `field`."""
    if given is None or given == "":
        return None
    try:
        found = None if isinstance(given, bool) or not isinstance(given, int | float | str) else float(given)
    except (ValueError, OverflowError):
        found = None
    if found is None or not isfinite(found):
        raise BadEvent("bad_number", f"{field} is {given!r:.60}; allowed: a number, or text that is one")
    return found


def whole(given: object, field: str) -> int | None:
    """The same of a quantity."""
    found = number(given, field)
    if found is None:
        return None
    if not found.is_integer():
        raise BadEvent("bad_number", f"{field} is {given!r:.60}; allowed: a whole number")
    return int(found)


def text(given: object, field: str) -> str | None:
    """Text, for which some send a number; None where it is null or empty. Raises `BadEvent` (`wrong_type`)."""
    if isinstance(given, bool) or not isinstance(given, str | int | float | None):
        raise BadEvent("wrong_type", f"{field} is {given!r:.60}; allowed: text")
    return None if given is None or given == "" else str(given)


def inner(given: object, field: str) -> dict[str, Any]:
    """An object, empty where it is null. Raises `BadEvent` (`wrong_type`)."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise BadEvent("wrong_type", f"{field} is {given!r:.60}; allowed: an object")
    return given


def rows(given: object, field: str) -> list[dict[str, Any]]:
    """A list of objects, empty where it is null. Raises `BadEvent` (`wrong_type`)."""
    if given is None:
        return []
    if not isinstance(given, list):
        raise BadEvent("wrong_type", f"{field} is {given!r:.60}; allowed: a list")
    return [inner(one, f"{field}[{place}]") for place, one in enumerate(given)]


def code(given: object, field: str) -> str | None:
    """A currency, in capital letters. Raises `BadEvent` (`wrong_type`)."""
    found = text(given, field)
    return None if found is None else found.strip().upper()


def moment(stamp: int, *given: tuple[object, str], zone: tzinfo | None = None) -> tuple[int, list[str] | None]:
    """(ms, flags) of the first of these (time, field) that is there, else the record's own time, flagged. Raises
    `BadEvent` (`bad_ts`)."""
    for time, field in given:
        if time is not None and time != "":
            return milliseconds(time, field, zone), None
    return stamp, [TS_MISSING]


def campaign_of(url: str | None) -> Campaign | None:
    """What the utm parameters of a link say."""
    if url is None or "utm_" not in url:
        return None
    try:
        found = parse_qs(urlsplit(url).query)
    except ValueError:
        return None
    named = {name: found[f"utm_{parameter}"][0] for name, parameter in UTM.items() if f"utm_{parameter}" in found}
    return Campaign(**named) if named else None


def email_id(email: str) -> str:
    """A visitor's id for somebody of whom only the address is known: the same for the same address, which it hides."""
    return f"email-{content_id(email.strip().lower().encode())}"
