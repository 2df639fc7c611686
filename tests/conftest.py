"""Fixtures for every test: real servers, a namespace of one's own, the data set beside the checkout.

`kafka`, `redis_server`  a real broker and a real store, started once per run and shared: tests keep apart by
                         `namespace`. A test that stops, kills or configures a server starts its own:
                         `with KafkaServer() as kafka:`, `with RedisServer(aof=True) as redis_server:`.
`namespace`              a new prefix such as "t3f9a2c." for topics, groups, transactional ids and Redis keys
`shared_data`            the folder with the data sets

A test that asks for one of the servers is marked `integration`, as are all in the folders that start processes.
`make test` runs those one after the other, since they need both cores, and the others in two processes.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import KafkaServer, RedisServer, missing
from tracker.domain import fold

_ROOT = Path(__file__).parent.parent
_SERVERS = {"kafka", "redis_server"}
_FOLDERS = {"integration", "faults", "browser"}


def pytest_configure() -> None:
    """Whoever asks for tests of the compiled hot path must not get those of the plain one."""
    if os.environ.get("COMPILE_HOT_PATH") == "1" and not fold.__file__.endswith(".so"):
        pytest.exit(f"COMPILE_HOT_PATH=1, but tracker.domain.fold is {fold.__file__}", returncode=2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(_ROOT / "tests").parts[0]
        if folder in _FOLDERS or _SERVERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer]:
    with KafkaServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def namespace() -> str:
    return f"t{secrets.token_hex(3)}."


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = _ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        missing(f"{folder}", "put the data sets into ../shared/data beside the checkout")
    return folder
