"""Whether a schema can follow another without breaking those who wrote programs for the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]


def breaks(old: Schema, new: Schema, *, received: bool = False) -> list[str]:
    """What a program written for `old` trips over in `new`: one that reads the messages, or (`received`) one that
    sends them. New fields trip nobody."""
    found = []
    after = dict(_properties(new))
    for path, before in _properties(old):
        if path not in after:
            found.append(f"{path} is gone")
            continue
        now = after[path]
        narrow, wide = (now, before) if received else (before, now)
        may = "may no longer" if received else "may now"
        kinds = _kinds(wide) - _kinds(narrow) - ({"integer"} if "number" in _kinds(narrow) else set())
        found += [f"{path} {may} be {kind}" for kind in sorted(kinds)]
        values = _values(narrow)
        if values is not None and (more := (_values(wide) or {"anything"}) - values):
            found.append(f"{path} {may} be {', '.join(sorted(map(str, more)))}")
    old_required, new_required = set(_required(old)), set(_required(new))
    if received:
        found += [f"{path} is required now" for path in sorted(new_required - old_required)]
    else:
        found += [f"{path} may be left out now" for path in sorted(old_required - new_required) if path in after]
    return found


def _alternatives(schema: Schema) -> tuple[Schema, ...]:
    return tuple(schema.get("anyOf", (schema,)))


def _properties(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    for name, inner in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        yield here, inner
        for kind in _alternatives(inner):
            yield from _properties(kind, here)
            if isinstance(kind.get("items"), dict):
                yield f"{here}[]", kind["items"]
                yield from _properties(kind["items"], f"{here}[]")


def _required(schema: Schema, path: str = "") -> Iterator[str]:
    for name in schema.get("required", ()):
        yield f"{path}.{name}" if path else name
    for name, inner in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        for kind in _alternatives(inner):
            yield from _required(kind, here)
            if isinstance(kind.get("items"), dict):
                yield from _required(kind["items"], f"{here}[]")


def _kinds(schema: Schema) -> set[str]:
    found: set[str] = set()
    for kind in _alternatives(schema):
        if "enum" in kind or "const" in kind:
            found |= {_kind_of(value) for value in kind.get("enum", [kind.get("const")])}
        else:
            given = kind.get("type", ["object", "array", "string", "number", "integer", "boolean", "null"])
            found |= {given} if isinstance(given, str) else set(given)
    return found


def _kind_of(value: object) -> str:
    names = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
    return names[type(value)]


def _values(schema: Schema) -> set[Any] | None:
    """The only values of a property, None where there may be any."""
    kinds = _alternatives(schema)
    if not all("enum" in kind or kind == {"type": "null"} for kind in kinds):
        return None
    return {value for kind in kinds for value in kind.get("enum", [None])}
