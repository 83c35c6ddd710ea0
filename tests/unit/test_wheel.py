"""What the package that users install says of itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Give the wheel's files, built from a copy: setuptools writes beside what it builds, and reads what it once wrote."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "otjobs", source / "otjobs", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, source]
    subprocess.run(command, check=True, timeout=200)
    [found] = out.glob("*.whl")
    with zipfile.ZipFile(found) as files:
        yield files


@pytest.fixture(scope="module")
def metadata(wheel):
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(wheel.read(name).decode())


def test_every_extra_brings_something_to_a_user_and_none_is_for_developers(metadata):
    required = metadata.get_all("Requires-Dist")
    extras = metadata.get_all("Provides-Extra")
    assert {"celery", "embedded"} <= set(extras), "the README names them"
    assert [extra for extra in extras if not any(f'extra == "{extra}"' in line for line in required)] == []
    assert not {"dev", "test", "grafana"} & set(extras)
    assert [line for line in required if line.startswith(("pytest", "mypy", "ruff", "grafana"))] == []


def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel):
    suffixes = {".py", ".sql", ".xml", ".typed"}
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "otjobs").rglob("*") if path.suffix in suffixes}
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == files
