from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[2]
_LOCKS = ["requirements.txt", "requirements-dev.txt", "requirements-data.txt"]
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return match[0].lower().replace("_", "-")


def _locked(lock: str) -> dict[str, str]:
    return {_name(name): version for name, version in _PIN.findall((_ROOT / lock).read_text(encoding="utf-8"))}


def _project() -> dict[str, Any]:
    return tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("lock", "groups"),
    [
        ("requirements.txt", ["build"]),
        ("requirements-dev.txt", ["build", "dev"]),
        ("requirements-data.txt", ["data"]),
    ],
)
def test_a_lock_holds_everything_that_pyproject_asks_for(lock: str, groups: list[str]) -> None:
    project = _project()
    asked = [name for group in groups for name in project["dependency-groups"][group]]
    if "build" in groups:
        asked += project["project"]["dependencies"]
    assert {_name(requirement) for requirement in asked} <= _locked(lock).keys(), "run make lock"


def test_development_runs_the_versions_that_users_get() -> None:
    runtime, development = _locked("requirements.txt"), _locked("requirements-dev.txt")
    assert runtime.items() <= development.items()


@pytest.mark.parametrize("lock", _LOCKS)
def test_a_lock_names_versions_and_hashes_and_no_host(lock: str) -> None:
    for line in (_ROOT / lock).read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r"[a-z0-9.-]+==[^/@]+ \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line), line


def test_the_wheel_has_every_file_of_the_package(tmp_path: Path) -> None:
    tree = tmp_path / "tree"  # a copy: setuptools packs what an earlier build has left behind, too
    tree.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(_ROOT / name, tree)
    shutil.copytree(_ROOT / "tracker", tree / "tracker", ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*build, "--wheel-dir", str(tmp_path), str(tree)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("tracker/")}
    files = (file for file in (_ROOT / "tracker").rglob("*") if file.is_file() and file.suffix != ".pyc")
    assert packed == {file.relative_to(_ROOT).as_posix() for file in files}
    assert {"tracker/py.typed", "tracker/store/commit.lua", "tracker/journeys/nettbutikk-5.yaml"} <= packed
