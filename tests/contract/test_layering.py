"""Imports point inward. The table below is the architecture: what each part of tracker/ may import of the others."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_TRACKER = Path(__file__).parents[2] / "tracker"

_LEAVES = {"errors", "durations", "health", "metrics", "settings"}
_INSIDE = {"domain", "wire", "child"} | _LEAVES
_ANYTHING = _INSIDE | {"loop", "journeys", "stream", "store", "broker", "demo"}

# A part is a module or package right inside tracker/. It may import itself and the parts named here; "stream.ports"
# means that one module. A new part must be added on purpose.
_MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "durations": {"errors"},
    "redisurl": set(),
    "kinds": {"errors", "durations", "redisurl"},
    "settings": {"errors", "durations", "kinds"},
    "health": set(),
    "metrics": {"errors", "health"},
    "child": {"errors"},
    "loop": set(),
    "domain": set(),
    "wire": {"domain", "errors"},
    "journeys": {"domain", "durations", "errors"},
    "stream": _LEAVES | {"domain", "wire"},
    "store": _INSIDE | {"redisurl", "stream.ports"},
    "broker": _INSIDE | {"stream.ports"},
    "demo": {"domain", "wire", "journeys", "errors"},
    "wiring": _ANYTHING,
    "commands": _ANYTHING | {"wiring"},
    "cli": {"commands", "errors", "settings"},
    "__main__": {"cli"},
}

# The domain is a pure function of its arguments: no clock, no randomness, no input or output.
_DOMAIN_PACKAGES = {"msgspec", "xxhash"}
_IMPURE = {
    *("asyncio", "glob", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "select"),
    *("shutil", "signal", "socket", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid"),
}


def imports(source: str) -> Iterator[str]:
    """Full names of everything that a module imports, wherever in it. (The linter forbids relative imports.)"""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(module: str, source: str) -> list[str]:
    """What is wrong with the imports of `module`, such as tracker.wire.decode."""
    path = module.split(".")
    if len(path) == 1:
        part, allowed = "tracker/__init__.py", set[str]()
    elif path[1] in _MAY_IMPORT:
        part, allowed = path[1], _MAY_IMPORT[path[1]]
    else:
        return [f"{module}: {path[1]} is no known part; say in {Path(__file__).name} what it may import"]
    wrong = []
    for name in sorted(set(imports(source))):
        top, _, inner = name.partition(".")
        if top == "tracker":
            target = inner.split(".")[0]
            allowed_here = target in {part, *allowed} or any(
                inner == module_ or inner.startswith(f"{module_}.") for module_ in allowed if "." in module_
            )
            if not allowed_here:
                wrong.append(f"{module} imports {name}, but {part} may import only {sorted(allowed)}")
        elif part == "domain" and top in _IMPURE:
            wrong.append(f"{module} imports {name}, but the domain is pure")
        elif part == "domain" and top not in sys.stdlib_module_names | _DOMAIN_PACKAGES:
            wrong.append(f"{module} imports {name}, but the domain uses only {sorted(_DOMAIN_PACKAGES)}")
    return wrong


def test_imports_point_inward() -> None:
    wrong = []
    for file in sorted(_TRACKER.rglob("*.py")):
        path = file.relative_to(_TRACKER.parent).with_suffix("").parts
        module = ".".join(path[:-1] if path[-1] == "__init__" else path)
        wrong += violations(module, file.read_text(encoding="utf-8"))
    assert not wrong, "\n".join(wrong)


def test_the_table_itself_points_inward() -> None:
    order = list(_MAY_IMPORT)
    for part, allowed in _MAY_IMPORT.items():
        for target in {name for name in allowed if "." not in name}:
            assert order.index(target) < order.index(part), f"{part} may import {target}, which comes after it"


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("tracker.domain.step", "from tracker.wire.decode import decode", "domain may import only []"),
        ("tracker.domain.step", "from tracker import wire", "tracker.domain.step imports tracker.wire"),
        ("tracker.domain.step", "def f():\n    import time", "the domain is pure"),
        ("tracker.domain.step", "import orjson", "the domain uses only ['msgspec', 'xxhash']"),
        ("tracker.stream.track", "from tracker.store.redis import RedisStore", "imports tracker.store.redis"),
        ("tracker.store.redis", "from tracker.stream.processor import Processor", "stream.processor.Processor"),
        ("tracker.wire.decode", "import tracker.settings", "wire may import only ['domain', 'errors']"),
        ("tracker.wiring", "from tracker.cli import main", "wiring may import only"),
        ("tracker", "from tracker.cli import main", "tracker/__init__.py may import only []"),
        ("tracker.helpers.text", "", "helpers is no known part"),
    ],
)
def test_an_import_that_points_outward_is_found(module: str, source: str, complaint: str) -> None:
    (found,) = violations(module, source)
    assert complaint in found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("tracker.store.redis", "from tracker.stream.ports import Commit"),
        ("tracker.store.redis", "from tracker.stream import ports"),
        ("tracker.store.redis", "from tracker.store import script"),
        (
            "tracker.domain.step",
            "import dataclasses, msgspec\nfrom xxhash import xxh3_64\nimport tracker.domain.events",
        ),
        ("tracker.commands.worker", "from tracker.wiring import run_worker"),
    ],
)
def test_an_import_that_points_inward_is_fine(module: str, source: str) -> None:
    assert violations(module, source) == []


def test_no_test_is_imported_by_another() -> None:
    """What two test modules need lies in a module of its own, where it is found."""
    tests = Path(__file__).parents[1]
    borrowed = {
        f"{path.relative_to(tests)} imports {name}"
        for path in tests.rglob("*.py")
        for name in imports(path.read_text())
        if name.startswith("tests.") and any(part.startswith("test_") for part in name.split(".")[:-1])
    }
    assert borrowed == set()
