"""Turns YAML text into a struct by the struct's own types, and says in which line something is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, NoReturn

import msgspec
import yaml
from yaml.reader import ReaderError

from tracker.domain.texts import Text
from tracker.durations import ALLOWED as DURATION_ALLOWED
from tracker.durations import parse_duration
from tracker.errors import ModelError

Key = tuple[str | int, ...]

CLOCK_TIMES = frozenset({"start", "end"})
DEEPEST = 60
"""Keys and places above a value; conditions, which alone nest, stay far below."""
MOST_VALUES = 200_000
"""Values of a document, those of each alias counted: ten lines of aliases to aliases can say a billion things."""
SHOWN = 80
"""Characters of a value that an error repeats."""
_ODD = re.compile("[^\\t\\n -~\\xa0-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
"""What steers a terminal, or what no XML document may contain."""
EXTENDS = "extends"
"""Top-level key: the document takes over every top-level key of that one which it does not give itself."""
Base = Callable[[str, str], tuple[str, str]]
"""Source and text of the document that an `extends` names, and the source that it stands in; raises ValueError with
what is allowed."""


def nearest(wrong: str, known: Iterable[str]) -> str:
    """` Did you mean …?`, or nothing."""
    close = get_close_matches(wrong, list(known), n=1)
    return f" Did you mean {close[0]}?" if close else ""


class Reader:
    """Reads one document and those that it extends. `places` tells, for every path that was read, in which of them and
    in which line it stands. Scalars are taken as they are written and read by the field's type, so that `no`, `on` and
    22:00 stay what they look like."""

    def __init__(self, source: str, base: Base) -> None:
        self.source = source
        self.base = base
        self.places: dict[Key, tuple[str, int]] = {}
        self._values = 0

    def at(self, path: Key) -> str:
        """`file:line` of a key, or of the nearest one around it."""
        known = next(path[:end] for end in range(len(path), -1, -1) if path[:end] in self.places)
        return "{}:{}".format(*self.places[known])

    def fail(self, path: Key, problem: str) -> NoReturn:
        """Raise ModelError with file, line and key."""
        raise ModelError(f"{self.at(path)}: {dotted(path) or 'the file'}{problem}")

    def read(self, text: str, cls: type[Any]) -> Any:
        """The document as a struct of `cls`; raises ModelError."""
        return self._value((), self._whole(self.source, text, ()), msgspec.inspect.type_info(cls))

    def _whole(self, source: str, text: str, extending: tuple[str, ...]) -> yaml.Node:
        """The document with what it takes over from the one that it extends; `extending` are those that led to it."""
        node = composed(source, text)
        if not isinstance(node, yaml.MappingNode):
            return node
        pair = next((pair for pair in node.value if key_of(pair[0]) == EXTENDS), None)
        if pair is None:
            return node
        node.value.remove(pair)
        key, value = pair
        self.places[(EXTENDS,)] = place(key)
        if not isinstance(value, yaml.ScalarNode) or is_null(value):
            self.fail((EXTENDS,), f" is {shown(value)}; allowed: the id or path of a model")
        own = {key_of(key) for key, _ in node.value}
        if "id" not in own:
            self.fail((EXTENDS,), f" is {value.value!r}: a model needs an id of its own beside it")
        try:
            base_source, base_text = self.base(value.value, source)
        except ValueError as error:
            self.fail((EXTENDS,), f" is {value.value!r}, {error}")
        if base_source in (source, *extending):
            self.fail((EXTENDS,), f" is {value.value!r}, which extends this model in turn")
        base = self._whole(base_source, base_text, (source, *extending))
        if not isinstance(base, yaml.MappingNode):
            self.fail((EXTENDS,), f" is {value.value!r}, which is {shown(base)}; allowed: keys and values")
        node.value += [pair for pair in base.value if key_of(pair[0]) not in own]
        return node

    def _value(self, path: Key, node: yaml.Node, kind: msgspec.inspect.Type) -> Any:
        if len(path) > DEEPEST:  # an alias that contains itself
            self.fail(path[:4], " is nested too deep")
        self._values += 1
        if self._values > MOST_VALUES:
            self.fail(path[:2], f" is one value too many; allowed: {MOST_VALUES:,} in all, those of aliases included")
        self.places.setdefault(path, place(node))
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
                    if not node.value:  # more often a slip of indentation than meant
                        self.fail(path, " is empty; leave the key out, or write null for none")
                    return None
                wanted = next(t for t in kind.types if not isinstance(t, msgspec.inspect.NoneType))
                return self._value(path, node, wanted)
            case msgspec.inspect.DictType():
                if not isinstance(node, yaml.MappingNode):
                    self.fail(path, f" is {shown(node)}; allowed: keys and values")
                return plain(node)
        if not isinstance(node, yaml.ScalarNode) or is_null(node):
            self.fail(path, f" is {shown(node)}; allowed: {_wanted(kind)}")
        return self._scalar(path, node.value, kind)

    def _struct(self, path: Key, node: yaml.Node, kind: msgspec.inspect.StructType) -> Any:
        fields = {field.encode_name: field for field in kind.fields}
        if not isinstance(node, yaml.MappingNode):
            self.fail(path, f" is {shown(node)}; allowed: keys and values ({', '.join(fields)})")
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_of(key_node)
            self.places[*path, key] = place(key_node)
            if key in found or (not path and key == EXTENDS):
                self.fail((*path, key), " is there twice")
            if key not in fields:
                allowed = [*fields, EXTENDS] if not path else list(fields)
                self.fail((*path, key), f" is not a key.{nearest(key, allowed)} Allowed: {', '.join(allowed)}")
            found[key] = self._value((*path, key), value_node, fields[key].type)
        for name, field in fields.items():
            if field.required and name not in found:
                self.fail(path, f": {name} is missing")
        return kind.cls(**{fields[name].name: value for name, value in found.items()})

    def _scalar(self, path: Key, text: str, kind: msgspec.inspect.Type) -> Any:
        odd = _ODD.search(text)
        if odd is not None:
            self.fail(path, f" has the character {odd[0]!r}; allowed: what can be printed")
        if isinstance(kind, msgspec.inspect.LiteralType):
            if text not in kind.values:
                allowed = ", ".join(map(str, kind.values))
                self.fail(path, f" is {quoted(text)}; allowed: {allowed}.{nearest(text, map(str, kind.values))}")
            return text
        if isinstance(kind, msgspec.inspect.BoolType):
            if text not in ("true", "false"):
                self.fail(path, f" is {quoted(text)}; allowed: true, false")
            return text == "true"
        if isinstance(kind, msgspec.inspect.Metadata):
            try:
                return parse_duration(text)
            except ValueError:
                self.fail(path, f" is {quoted(text)}; allowed: {DURATION_ALLOWED}")
        if isinstance(kind, msgspec.inspect.FloatType):
            if not re.fullmatch(r"-?\d{1,9}(\.\d{1,6})?", text):
                self.fail(path, f" is {quoted(text)}; allowed: a number")
            return float(text)
        if not is_int(kind):
            if not text.strip():
                self.fail(path, " is empty")
            return text
        if path[-1] in CLOCK_TIMES:
            clock = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text)
            if clock is None:
                self.fail(path, f" is {quoted(text)}; allowed: a time of the day, for example 22:00")
            return int(clock[1]) * 60 + int(clock[2])
        if not re.fullmatch(r"-?\d{1,9}", text):
            self.fail(path, f" is {quoted(text)}; allowed: a whole number")
        return int(text)


def composed(source: str, text: str) -> yaml.Node:
    """The nodes of a document, which know `source` as their file; raises ModelError."""
    try:
        loader = yaml.SafeLoader(text)
        loader.name = source
        node = loader.get_single_node()
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ModelError(f"{source}:{line}: not YAML: the character {text[error.position]!r}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or str(error)
        raise ModelError(f"{source}:{line}: not YAML: {problem}") from None
    except RecursionError:
        raise ModelError(f"{source}:1: the file is nested too deep") from None
    if node is None:
        raise ModelError(f"{source}:1: the file is empty")
    return node


def plain(node: yaml.Node) -> Any:
    """What YAML says, but for its dates and its minutes: 1990-05-17 and 20:15 stay texts."""
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): plain(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [plain(value) for value in node.value]
    if is_null(node):
        return None
    text = str(node.value)
    if not isinstance(node, yaml.ScalarNode) or node.style is not None:
        return text
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?\d{1,15}", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?\d{1,15}\.\d{1,15}", text) else text


def place(node: yaml.Node) -> tuple[str, int]:
    """File and line of a node."""
    return node.start_mark.name, node.start_mark.line + 1


def key_of(key: yaml.Node) -> str:
    """A key as it is written; what stands there where it is no text."""
    return key.value if isinstance(key, yaml.ScalarNode) else f"a key of {shown(key)}"


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


def quoted(text: str) -> str:
    """A value in quotes, cut where it is long."""
    return repr(text) if len(text) <= SHOWN else f"{text[:SHOWN]!r}…"


def shown(node: yaml.Node) -> str:
    """What stands there, for an error message."""
    if isinstance(node, yaml.ScalarNode):
        return "empty" if is_null(node) else quoted(node.value)
    return "a list" if isinstance(node, yaml.SequenceNode) else "keys and values"
