"""What /livez and /readyz say, and when."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tracker.child import free_port
from tracker.health import SLOWEST_START, STALE, Health
from tracker.metrics import Metrics, serve


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(["ingest", "track"], clock)


def wrong(checks: object) -> dict[str, str]:
    assert isinstance(checks, dict)
    return {what: why for what, why in checks.items() if why is not None}


def test_a_worker_is_ready_once_everything_is_open_and_both_groups_are_joined(health: Health) -> None:
    assert len(wrong(health.ready())) == 3
    health.opened()
    health.joined("ingest", True)
    assert wrong(health.ready()) == {"track joined its group": "not now"}
    health.joined("track", True)
    assert not wrong(health.ready())


def test_a_stopped_partition_needs_an_operator_and_no_new_start(health: Health) -> None:
    health.opened()
    for stage in ("ingest", "track"):
        health.joined(stage, True)
        health.alive(stage)
    health.stopped("track", 2)
    assert wrong(health.ready()) == {"track has no stopped partition": "2 stopped: see the log"}
    assert not wrong(health.live())
    health.stopped("track", 0)
    assert not wrong(health.ready())


def test_a_stage_without_a_sign_of_life_for_a_minute_needs_a_new_start(health: Health, clock: Clock) -> None:
    health.alive("ingest")
    health.alive("track")
    clock.now += STALE - 1
    health.alive("ingest")
    assert not wrong(health.live())
    clock.now += 1
    assert wrong(health.live()) == {"track moves": "no sign of life for 60 s"}
    health.alive("track")
    assert not wrong(health.live())


def test_a_stage_that_does_not_begin_needs_a_new_start(health: Health, clock: Clock) -> None:
    clock.now += SLOWEST_START - 1
    health.alive("ingest")
    assert not wrong(health.live()), "a slow start is no hang"
    clock.now += 1
    assert wrong(health.live()) == {"track moves": "not begun in 300 s"}
    health.alive("track")
    assert not wrong(health.live())


@pytest.fixture
def url(health: Health) -> Iterator[str]:
    server = serve(Metrics(), health, "127.0.0.1", free_port())
    assert server is not None
    yield f"http://127.0.0.1:{server.port}"
    server.close()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_both_are_served_beside_the_metrics(health: Health, clock: Clock, url: str) -> None:
    assert get(f"{url}/livez") == (200, "[+] ingest moves: ok\n[+] track moves: ok\n")
    status, text = get(f"{url}/readyz")
    assert status == 503
    assert text.startswith("[-] broker and store opened: not yet\n[-] ingest joined its group: not now\n[+] ingest has")
    health.opened()
    for stage in ("ingest", "track"):
        health.joined(stage, True)
        health.alive(stage)
    assert get(f"{url}/readyz")[0] == 200
    clock.now += STALE
    assert get(f"{url}/livez")[0] == 503
    assert get(f"{url}/metrics")[0] == 200
    assert get(f"{url}/health") == (404, "/metrics, /livez, /readyz\n")
