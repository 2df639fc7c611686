"""One value of a mapping: where it stands in a record, what its words mean, what it must be.

A rule is a path, or keys: `path` or `constant`; `from` (which object the path starts in); `default`, `values` and
`else`; and the options of the kind of value that is wanted there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from difflib import get_close_matches
from functools import partial
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from tracker.errors import BadEvent
from tracker.wire.dialects.common import number, text_id, whole
from tracker.wire.dialects.paths import Path, compile_path
from tracker.wire.times import milliseconds

Key = tuple[str | int, ...]
"""Where something stands in a mapping."""
Convert = Callable[[Any, str], Any]
"""Makes what a path found the kind of value that is wanted; the text names the field. Raises `BadEvent`."""

PER_SECOND = {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}
COMMON = ("path", "constant", "from", "default", "values", "else")
KINDS: Mapping[str, tuple[str, ...]] = {
    "any": (),
    "text": (),
    "id": (),
    "number": ("divide", "decimal"),
    "whole": (),
    "flag": (),
    "list": ("split",),
    "time": ("unit", "format", "zone"),
}
"""The kinds of values, each with its own options."""


class Wrong(ValueError):
    """A mapping cannot be used. `at` is where in it, `problem` says what is wrong there and what is allowed."""

    def __init__(self, at: Key, problem: str) -> None:
        super().__init__(at, problem)
        self.at = at
        self.problem = problem


class Scope(NamedTuple):
    """What paths start in: the line of a cart (elsewhere the event), the event, the whole record."""

    here: Any
    event: Any
    record: Any


class Rule(NamedTuple):
    """A compiled value."""

    label: str
    """The field, and the path where the shop's own name for it stands."""
    path: Path | None
    source: int
    """Place in the scope."""
    constant: Any
    default: Any
    values: Mapping[str, Any] | None
    otherwise: Any
    convert: Convert

    def found(self, scope: Scope) -> Any:
        """The value, None where there is none. Raises `BadEvent`."""
        if self.path is None:
            return self.constant
        given = self.path(scope[self.source])
        if given is None or given == "":
            return self.default
        if self.values is not None:
            given = self.values.get(word(given), given if self.otherwise is KEPT else self.otherwise)
            if given is None:
                return self.default
        return self.convert(given, self.label)


KEPT = object()
"""`otherwise` of a rule without `else`: what its `values` do not name stays as it is."""


def compile_rule(spec: object, at: Key, kind: str, sources: Collection[str] = ("record",)) -> Rule:
    """A rule that gives a value of this kind; `sources` is what `from` may say. Raises `Wrong`."""
    keys = keys_of(spec, at)
    known(keys, at, (*COMMON, *KINDS[kind]))
    if ("path" in keys) == ("constant" in keys):
        raise Wrong(at, ": allowed: a path, or keys with one of path and constant")
    convert = _convert(keys, at, kind)
    label = str(next((part for part in reversed(at) if isinstance(part, str)), ""))
    fixed = {name: _fixed(keys[name], (*at, name), convert) for name in ("constant", "default") if name in keys}
    if "constant" in keys:
        if len(keys) > 1:
            beside = next(name for name in keys if name != "constant")
            raise Wrong((*at, beside), " is not allowed beside constant")
        return Rule(label, None, 0, fixed["constant"], None, None, None, convert)
    return Rule(
        label=f"{label} ({keys['path']})",
        path=path_of(keys["path"], (*at, "path") if isinstance(spec, dict) else at),
        source=Scope._fields.index(choice(keys, "from", at, sources, "here")),
        constant=None,
        default=fixed.get("default"),
        values=_values(keys, at, convert),
        otherwise=_fixed(keys["else"], (*at, "else"), convert) if "else" in keys else KEPT,
        convert=convert,
    )


def path_of(spec: object, at: Key) -> Path:
    """A compiled path. Raises `Wrong`."""
    if not isinstance(spec, str):
        raise Wrong(at, f" is {spec!r}; allowed: a path, for example order.lines[0].sku")
    try:
        return compile_path(spec)
    except ValueError as error:
        problem = f" is {spec!r}: {error}; allowed: a JMESPath expression, in double quotes what is no plain name"
        raise Wrong(at, problem) from None


def table_of(spec: object, at: Key) -> dict[str, Any]:
    """Keys and values. Raises `Wrong`."""
    if not isinstance(spec, dict):
        raise Wrong(at, f" is {spec!r:.60}; allowed: keys and values")
    return spec


def keys_of(spec: object, at: Key) -> dict[str, Any]:
    """The keys of a rule, which may be its path alone. Raises `Wrong`."""
    if isinstance(spec, str):
        return {"path": spec}
    if not isinstance(spec, dict):
        raise Wrong(at, f" is {spec!r:.60}; allowed: a path, or keys and values")
    return dict(spec)


def known(keys: Iterable[str], at: Key, allowed: Iterable[str]) -> None:
    """Raises `Wrong` for the first key that is not allowed."""
    allowed = tuple(allowed)
    for key in keys:
        if key not in allowed:
            raise Wrong((*at, key), f" is not a key.{nearest(key, allowed)} Allowed: {', '.join(allowed)}")


def nearest(wrong: str, allowed: Iterable[str]) -> str:
    """` Did you mean …?`, or nothing."""
    close = get_close_matches(wrong, list(allowed), n=1)
    return f" Did you mean {close[0]}?" if close else ""


def choice(keys: Mapping[str, Any], name: str, at: Key, allowed: Collection[str], default: str) -> str:
    """One of a few words. Raises `Wrong`."""
    if name not in keys:
        return default
    given = keys[name]
    if not isinstance(given, str) or given not in allowed:
        raise Wrong((*at, name), f" is {given!r}; allowed: {', '.join(allowed)}")
    return given


def word(given: object) -> str:
    """A value as `values` and `recognise` name it: true, 7 and "7" are written true, 7 and 7."""
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    return str(given)


def _fixed(given: object, at: Key, convert: Convert) -> Any:
    if given is None:
        return None
    try:
        return convert(given, str(at[-1]))
    except BadEvent as error:
        raise Wrong(at, f" does not fit: {error.detail}") from None


def _values(keys: Mapping[str, Any], at: Key, convert: Convert) -> dict[str, Any] | None:
    if "values" not in keys:
        if "else" in keys:
            raise Wrong((*at, "else"), " is for what values does not name; allowed beside values only")
        return None
    table = table_of(keys["values"], (*at, "values"))
    return {name: _fixed(given, (*at, "values", name), convert) for name, given in table.items()}


def _convert(keys: Mapping[str, Any], at: Key, kind: str) -> Convert:
    if kind == "number":
        divide = keys.get("divide", 1)
        if isinstance(divide, bool) or not isinstance(divide, int | float) or divide <= 0:
            raise Wrong((*at, "divide"), f" is {divide!r}; allowed: a number above 0, for example 100")
        return partial(_number, divide=divide, comma=choice(keys, "decimal", at, (".", ","), ".") == ",")
    if kind == "list":
        split = keys.get("split")
        if split is not None and (not isinstance(split, str) or not split):
            raise Wrong((*at, "split"), f" is {split!r}; allowed: what stands between the words, for example ','")
        return partial(_texts, split=split)
    if kind == "time":
        return _time(keys, at)
    return {"any": _any, "text": _text, "id": text_id, "whole": whole, "flag": _flag}[kind]


def _time(keys: Mapping[str, Any], at: Key) -> Convert:
    zone = None
    if "zone" in keys:
        try:
            zone = UTC if keys["zone"] == "UTC" else ZoneInfo(str(keys["zone"]))
        except (ValueError, OSError, LookupError):
            problem = f" is {keys['zone']!r}; allowed: UTC or the name of a time zone, for example Europe/Oslo"
            raise Wrong((*at, "zone"), problem) from None
    if "unit" in keys:
        if "format" in keys:
            raise Wrong((*at, "unit"), " is of numbers, format of text; allowed: one of them")
        return partial(_counted, unit=choice(keys, "unit", at, PER_SECOND, "ms"))
    if "format" not in keys:
        return lambda given, field: milliseconds(given, field, zone)
    pattern = str(keys["format"])
    if "%z" not in pattern and zone is None:
        raise Wrong((*at, "format"), f" is {pattern!r} without %z; zone must say which time zone is meant")
    try:
        datetime.strptime(datetime(2026, 1, 31, 12, tzinfo=UTC).strftime(pattern), pattern)  # noqa: DTZ007 only tried
    except ValueError as error:
        problem = f" is {pattern!r}: {error}; allowed: as Python's strptime, for example %d.%m.%Y %H:%M"
        raise Wrong((*at, "format"), problem) from None
    return partial(_written, pattern=pattern, zone=zone)


def _written(given: Any, field: str, pattern: str, zone: tzinfo | None) -> int:
    try:
        moment = datetime.strptime(str(given), pattern)  # noqa: DTZ007 its zone comes below
    except ValueError:
        raise BadEvent("bad_ts", f"{field} is {given!r:.60}; allowed: text of the format {pattern}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return milliseconds(moment.isoformat(), field)


def _counted(given: Any, field: str, unit: str) -> int:
    found = number(given, field)
    assert found is not None, "a rule converts what is there"
    return int(found * 1000 // PER_SECOND[unit])


def _number(given: Any, field: str, divide: float, *, comma: bool) -> float | None:
    if comma and isinstance(given, str):
        given = re.sub(r"[\s.']", "", given).replace(",", ".")
    found = number(given, field)
    return found if found is None or divide == 1 else found / divide


def _any(given: Any, _field: str) -> Any:
    return given


def _text(given: Any, field: str) -> str:
    if isinstance(given, str):
        return given
    if isinstance(given, int | float):
        return word(given)
    raise BadEvent("wrong_type", f"{field} is {given!r:.60}; allowed: text")


def _flag(given: Any, field: str) -> bool:
    found = {"true": True, "false": False, "1": True, "0": False}.get(word(given).lower())
    if found is None:
        raise BadEvent("wrong_type", f"{field} is {given!r:.60}; allowed: true, false, 1, 0 or a word of its values")
    return found


def _texts(given: Any, field: str, split: str | None) -> list[str]:
    if isinstance(given, str):
        given = given.split(split) if split is not None else [given]
    if not isinstance(given, list):
        raise BadEvent("wrong_type", f"{field} is {given!r:.60}; allowed: a list")
    return [text.strip() for text in (_text(one, field) for one in given if one is not None) if text.strip()]
