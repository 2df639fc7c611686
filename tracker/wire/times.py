"""Times as shops write them: numbers in seconds, milli-, micro- or nanoseconds, text with or without a zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import parsedate_to_datetime

import msgspec

from tracker.errors import BadEvent
from tracker.wire.bounds import MAX_TS, MIN_TS

TS_MISSING = "ts_missing"
"""Flag of an event that said no time: it has its record's."""
TS_RESCALED = "ts_rescaled"
"""Flag of a canonical event whose `ts` was in another unit than milliseconds."""
ALLOWED = (
    "a number of seconds, milli-, micro- or nanoseconds since 1970, or RFC 3339 with a zone, for example "
    "2026-01-31T12:00:00Z"
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_UNITS = ((1, 1), (1000, 1), (1, 1000), (1, 1_000_000))
"""(factor, divisor) to milliseconds. The years 1990 to 2200 in one unit lie apart from those in any other."""


def scaled(given: float) -> int | None:
    """A number since 1970 as ms, in the unit in which it lies between 1990 and 2200 (what is below 1 ms is cut off);
    None where there is none."""
    for factor, divisor in _UNITS:
        if MIN_TS * divisor <= given * factor < MAX_TS * divisor:
            return int(given * factor // divisor)
    return None


def milliseconds(given: object, field: str, zone: tzinfo | None = None) -> int:
    """A time as ms UTC. Text without a zone is in `zone`, and refused where that is None; a date alone is its
    midnight; MongoDB's extended JSON is opened. Raises `BadEvent` (`bad_ts`), which names `field`."""
    found: int | None = None
    if isinstance(given, dict):
        given = _extended(given)
    if isinstance(given, int | float) and not isinstance(given, bool):
        found = scaled(given)
    elif isinstance(given, str):
        text = given.strip()
        if "-" in text or not _is_number(text):
            found = _parsed(text, zone)
        else:
            found = scaled(float(text) if "." in text else int(text))
    if found is None:
        raise BadEvent("bad_ts", f"{field} is {given!r:.60}; allowed between 1990 and 2200: {ALLOWED}")
    return found


def _extended(given: dict[object, object]) -> object:
    """What is in `{"$date": …}`, where relaxed and canonical forms and those before version 2 have text, a number or
    `{"$numberLong": "…"}`; anything else as it is."""
    if given.keys() != {"$date"}:
        return given
    date = given["$date"]
    return date["$numberLong"] if isinstance(date, dict) and date.keys() == {"$numberLong"} else date


def _is_number(text: str) -> bool:
    return len(text) <= 25 and text.isascii() and text.replace(".", "", 1).isdigit()


def _parsed(text: str, zone: tzinfo | None) -> int | None:
    if text[16:19] == ":60":  # a leap second, which lies at the end of the minute as Unix time counts
        before = _parsed(f"{text[:17]}59{text[19:]}", zone)
        return None if before is None else before + 1000
    try:
        moment = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        try:
            moment = parsedate_to_datetime(text) if text[:1].isalpha() else datetime.fromisoformat(text)
        except (ValueError, TypeError, IndexError):
            return None
    if moment.tzinfo is None:
        if zone is None:
            return None
        moment = moment.replace(tzinfo=zone)
    try:
        ms = (moment - _EPOCH) // _MS
    except OverflowError:
        return None
    return ms if MIN_TS <= ms < MAX_TS else None
