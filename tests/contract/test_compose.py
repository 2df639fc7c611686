from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

_ROOT = Path(__file__).parents[2]
_COMPOSE = _ROOT / "docker-compose.yml"
_DOCKERFILE = _ROOT / "deploy" / "docker" / "Dockerfile"


def _services() -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = yaml.safe_load(_COMPOSE.read_text(encoding="utf-8"))["services"]
    return services


def _check(file: Path, schema: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_compose_file_is_a_compose_file() -> None:
    _check(_COMPOSE, "vendor.compose-spec")


def test_a_compose_file_with_a_mistake_is_found(tmp_path: Path) -> None:
    bad = tmp_path / "docker-compose.yml"
    bad.write_text(_COMPOSE.read_text(encoding="utf-8").replace("restart:", "restrat:", 1), encoding="utf-8")
    with pytest.raises(AssertionError, match="restrat"):
        _check(bad, "vendor.compose-spec")


@pytest.mark.parametrize("file", [_COMPOSE, _DOCKERFILE], ids=["compose", "dockerfile"])
def test_every_setting_named_there_exists_and_takes_the_value(file: Path) -> None:
    from tracker import settings

    given = _settings_in(file)
    assert given, f"{file.name} names no setting: is the test looking at the right thing?"
    known = {settings.variable(name): name for name in settings.names()}
    assert given.keys() <= known.keys(), f"unknown: {sorted(given.keys() - known.keys())}"
    settings.load({known[variable]: value for variable, value in given.items()})


def test_the_store_drops_nothing_and_survives_a_power_cut() -> None:
    words = " ".join(_services()["redis"]["command"])
    assert "--maxmemory-policy noeviction" in words
    assert "--appendonly yes --appendfsync everysec" in words


def test_prometheus_asks_the_worker_where_it_answers() -> None:
    prometheus = yaml.safe_load((_ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    (job,) = prometheus["scrape_configs"]
    (names,) = job["dns_sd_configs"]
    worker = _services()["worker"]
    assert names["names"] == ["worker"]
    assert str(names["port"]) == worker["environment"]["TRACKER_METRICS_PORT"]
    assert f"EXPOSE {names['port']}" in _DOCKERFILE.read_text(encoding="utf-8")


def test_what_compose_mounts_and_builds_from_is_there() -> None:
    for path in _paths():
        assert (_ROOT / path).exists(), f"{path} is named in {_COMPOSE.name} but not there"


def test_the_image_runs_without_root_and_knows_when_it_is_well() -> None:
    lines = _DOCKERFILE.read_text(encoding="utf-8").splitlines()
    last_stage = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM")) :]
    assert "USER 10001" in last_stage
    (check,) = re.findall(r"^    CMD (\[.*\])$", "\n".join(last_stage), re.MULTILINE)
    program = json.loads(check)
    compile(program[2], "healthcheck", "exec")


def _settings_in(file: Path) -> dict[str, str]:
    """TRACKER_* variables with the value given to them."""
    if file == _DOCKERFILE:
        return dict(re.findall(r"\b(TRACKER_[A-Z_]+)=(\S+)", file.read_text(encoding="utf-8")))
    environments = (service.get("environment", {}) for service in _services().values())
    return {
        name: value
        for environment in environments
        for name, value in environment.items()
        if name.startswith("TRACKER_")
    }


def _paths() -> Iterator[str]:
    for service in _services().values():
        if build := service.get("build"):
            yield build["dockerfile"]
        yield from (volume.split(":")[0] for volume in service.get("volumes", ()) if volume.startswith("./"))
