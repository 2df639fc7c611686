"""Mappings of shops' own dialects, read from YAML files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import yaml

from tracker.errors import MappingError, ModelError
from tracker.journeys.reader import DEEPEST, composed, dotted, place, plain
from tracker.wire.dialects.mapping import MappedDialect, compile_mapping
from tracker.wire.dialects.rules import Key, Wrong

log = logging.getLogger(__name__)

Places = dict[Key, tuple[str, int]]
"""File and line of every key."""


def load_mapping(file: str | Path) -> tuple[MappedDialect, list[str]]:
    """The dialect that a file describes, and what in it may be a slip. Raises `MappingError` with file, line, key,
    value and what is allowed."""
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MappingError(f"{file}: cannot be read: {error}") from None
    places: Places = {}
    try:
        dialect = compile_mapping(_plain((), composed(str(file), text), places))
    except ModelError as error:
        raise MappingError(str(error)) from None
    except Wrong as wrong:
        raise MappingError(_said(wrong.at, wrong.problem, places)) from None
    return dialect, [
        _said(at, f" is {name}, which is not a canonical event type", places) for at, name in dialect.unknown
    ]


def _said(at: Key, problem: str, places: Places) -> str:
    """`file:line: key` and the problem; the line is that of the nearest key around where there is none."""
    known = next(at[:end] for end in range(len(at), -1, -1) if at[:end] in places)
    file, line = places[known]
    return f"{file}:{line}: {dotted(at)}{problem}"


def _plain(at: Key, node: yaml.Node, places: Places) -> Any:
    if len(at) > DEEPEST:  # an alias that contains itself
        raise MappingError(_said(at[:4], " is nested too deep", places))
    places.setdefault(at, place(node))
    if isinstance(node, yaml.SequenceNode):
        return [_plain((*at, index), one, places) for index, one in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return plain(node)
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        places[*at, key] = place(key_node)
        if key in found:
            raise MappingError(_said((*at, key), " is there twice", places))
        found[key] = _plain((*at, key), value_node, places)
    return found
