"""Paths into a record: JMESPath, with a short cut for names joined by dots, which most of a mapping's paths are.

https://jmespath.org/specification.html says what a path may be. A plain name may also have letters beyond ASCII, which
JMESPath wants in double quotes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions

from tracker.errors import BadEvent

Path = Callable[[Any], Any]
"""What a path finds in a value, None where that is nothing; raises `BadEvent` where a function cannot take what it is
given."""

_PLAIN = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_FUNCTIONS: dict[str, Any] = Functions.FUNCTION_TABLE


def compile_path(text: str) -> Path:
    """Raises `ValueError`, which says what is wrong with the path."""
    if _PLAIN.fullmatch(text):
        return _dotted(text.split("."))
    try:
        expression = jmespath.compile(text)
    except JMESPathError as error:
        raise ValueError(" ".join(str(error).split())) from None
    _check_functions(expression.parsed)

    def search(value: Any) -> Any:
        try:
            return expression.search(value)
        except JMESPathError as error:
            raise BadEvent("wrong_type", f"{text}: {' '.join(str(error).split())}") from None

    return search


def holds(found: object) -> bool:
    """Whether what a path found counts as true: anything but null, false, and empty text, lists and objects."""
    return found is not None and found is not False and found not in ("", [], {})


def _dotted(names: list[str]) -> Path:
    if len(names) == 1:
        only = names[0]
        return lambda value: value.get(only) if isinstance(value, dict) else None

    def get(value: Any) -> Any:
        for name in names:
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return value

    return get


def _check_functions(node: Any) -> None:
    """The library finds out about unknown functions, and missing arguments, only when they are called."""
    if node["type"] == "function_expression":
        name, given = node["value"], len(node["children"])
        if name not in _FUNCTIONS:
            raise ValueError(f"{name}() is no function of JMESPath; there are {', '.join(sorted(_FUNCTIONS))}")
        wanted = _FUNCTIONS[name]["signature"]
        if given < len(wanted) or (given > len(wanted) and not wanted[-1].get("variadic")):
            raise ValueError(f"{name}() has {given} arguments; it takes {len(wanted)}")
    for child in node["children"]:
        if isinstance(child, dict):
            _check_functions(child)
