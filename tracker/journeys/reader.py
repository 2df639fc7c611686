"""Turns YAML text into a struct by the struct's own types, and says in which line something is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, NoReturn

import msgspec
import yaml

from tracker.domain.texts import Text
from tracker.durations import ALLOWED as DURATION_ALLOWED
from tracker.durations import parse_duration
from tracker.errors import ModelError

Key = tuple[str | int, ...]

CLOCK_TIMES = frozenset({"start", "end"})


def nearest(wrong: str, known: Iterable[str]) -> str:
    """` Did you mean …?`, or nothing."""
    close = get_close_matches(wrong, list(known), n=1)
    return f" Did you mean {close[0]}?" if close else ""


class Reader:
    """Reads one document. `lines` tells, for every path that was read, where it stands. Scalars are taken as they
    are written and read by the field's type, so that `no`, `on` and 22:00 stay what they look like."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines: dict[Key, int] = {}

    def fail(self, path: Key, problem: str) -> NoReturn:
        """Raise ModelError with file, line and key."""
        known = next(path[:end] for end in range(len(path), -1, -1) if path[:end] in self.lines)
        raise ModelError(f"{self.source}:{self.lines[known]}: {dotted(path)}{problem}")

    def read(self, text: str, cls: type[Any]) -> Any:
        """The document as a struct of `cls`; raises ModelError."""
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 if mark else 1
            problem = getattr(error, "problem", None) or str(error)
            raise ModelError(f"{self.source}:{line}: not YAML: {problem}") from None
        if node is None:
            raise ModelError(f"{self.source}:1: the file is empty")
        return self._value((), node, msgspec.inspect.type_info(cls))

    def _value(self, path: Key, node: yaml.Node, kind: msgspec.inspect.Type) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        match kind:
            case msgspec.inspect.StructType():
                if kind.cls is Text and isinstance(node, yaml.ScalarNode):
                    return Text(self._value(path, node, msgspec.inspect.StrType()))
                return self._struct(path, node, kind)
            case msgspec.inspect.VarTupleType():
                if not isinstance(node, yaml.SequenceNode):
                    self.fail(path, f" is {shown(node)}; allowed: a list")
                return tuple(self._value((*path, i), n, kind.item_type) for i, n in enumerate(node.value))
            case msgspec.inspect.UnionType():
                if is_null(node):
                    return None
                wanted = next(t for t in kind.types if not isinstance(t, msgspec.inspect.NoneType))
                return self._value(path, node, wanted)
        if not isinstance(node, yaml.ScalarNode) or is_null(node):
            self.fail(path, f" is {shown(node)}; allowed: {_wanted(kind)}")
        return self._scalar(path, node.value, kind)

    def _struct(self, path: Key, node: yaml.Node, kind: msgspec.inspect.StructType) -> Any:
        fields = {field.encode_name: field for field in kind.fields}
        if not isinstance(node, yaml.MappingNode):
            self.fail(path, f" is {shown(node)}; allowed: keys and values ({', '.join(fields)})")
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            self.lines[*path, key] = key_node.start_mark.line + 1
            if key in found:
                self.fail((*path, key), " is there twice")
            if key not in fields:
                allowed = ", ".join(fields)
                self.fail((*path, key), f" is not a key.{nearest(key, fields)} Allowed: {allowed}")
            found[key] = self._value((*path, key), value_node, fields[key].type)
        for name, field in fields.items():
            if field.required and name not in found:
                self.fail(path, f"{': ' if path else ''}{name} is missing")
        return kind.cls(**{fields[name].name: value for name, value in found.items()})

    def _scalar(self, path: Key, text: str, kind: msgspec.inspect.Type) -> Any:
        name = path[-1]
        if isinstance(kind, msgspec.inspect.LiteralType):
            if text not in kind.values:
                allowed = ", ".join(map(str, kind.values))
                self.fail(path, f" is {text!r}; allowed: {allowed}")
            return text
        if isinstance(kind, msgspec.inspect.BoolType):
            if text not in ("true", "false"):
                self.fail(path, f" is {text!r}; allowed: true, false")
            return text == "true"
        if isinstance(kind, msgspec.inspect.Metadata):
            try:
                return parse_duration(text)
            except ValueError:
                self.fail(path, f" is {text!r}; allowed: {DURATION_ALLOWED}")
        if isinstance(kind, msgspec.inspect.FloatType):
            if not re.fullmatch(r"-?\d{1,9}(\.\d{1,6})?", text):
                self.fail(path, f" is {text!r}; allowed: a number")
            return float(text)
        if not is_int(kind):
            if not text.strip():
                self.fail(path, " is empty")
            return text
        if name in CLOCK_TIMES:
            clock = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text)
            if clock is None:
                self.fail(path, f" is {text!r}; allowed: a time of the day, for example 22:00")
            return int(clock[1]) * 60 + int(clock[2])
        if not re.fullmatch(r"-?\d{1,9}", text):
            self.fail(path, f" is {text!r}; allowed: a whole number")
        return int(text)


def is_int(kind: msgspec.inspect.Type) -> bool:
    """Whether a number is wanted."""
    return isinstance(kind, msgspec.inspect.IntType)


def _wanted(kind: msgspec.inspect.Type) -> str:
    if isinstance(kind, msgspec.inspect.BoolType):
        return "true, false"
    return "a number" if isinstance(kind, msgspec.inspect.IntType | msgspec.inspect.FloatType) else "a text"


def is_null(node: yaml.Node) -> bool:
    """Whether the YAML says nothing, or null."""
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def dotted(path: Key) -> str:
    """`phases[2].enter[0].events`; list places count from 1, as people do."""
    text = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def shown(node: yaml.Node) -> str:
    """What stands there, for an error message."""
    if isinstance(node, yaml.ScalarNode):
        return "empty" if is_null(node) else repr(node.value)
    return "a list" if isinstance(node, yaml.SequenceNode) else "keys and values"
