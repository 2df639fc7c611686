"""A worker that cannot start says why in one line, and its exit code tells a supervisor whether to try again."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.services import KafkaServer, RedisServer
from tracker.child import free_port


def _start(**env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tracker", "worker"],
        env={**os.environ, "TRACKER_METRICS_PORT": "0", **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_a_broker_it_fails_so_that_it_is_started_again() -> None:
    brokers = f"127.0.0.1:{free_port()}"
    done = _start(TRACKER_BROKERS=brokers)
    assert done.returncode == 1
    assert f"Error: no broker answers at TRACKER_BROKERS = {brokers}" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_its_topics_it_ends_as_with_a_wrong_setting(kafka: KafkaServer, redis_server: RedisServer) -> None:
    done = _start(
        TRACKER_BROKERS=kafka.bootstrap, TRACKER_REDIS_URL=redis_server.url, TRACKER_NAMESPACE="nothing-here."
    )
    assert done.returncode == 2
    assert "nothing-here.journey.events" in done.stderr
    assert "`tracker topics` makes them" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_store_it_fails_so_that_it_is_started_again(kafka: KafkaServer, namespace: str) -> None:
    env = {"TRACKER_BROKERS": kafka.bootstrap, "TRACKER_NAMESPACE": namespace}
    subprocess.run([sys.executable, "-m", "tracker", "topics"], env={**os.environ, **env}, check=True, timeout=60)
    done = _start(**env, TRACKER_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert done.returncode == 1
    assert "Error: Redis at 127.0.0.1:" in done.stderr
    assert "Traceback" not in done.stderr
