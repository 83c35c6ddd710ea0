"""The unit tests of what runs in a service pass with the oldest OpenTelemetry SDK, and with the one before the newest."""

from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path

import parts
import pytest

HERE = Path(__file__).resolve().parent
OTHERS = {"docs", "older_sdks", "parts", "peers", "public", "testing", "wheel", "without_libraries"}
"""Not about what runs in a service, or with types, databases and builds that these environments have not."""


def test_the_oldest_is_the_one_that_the_package_asks_for():
    project = tomllib.loads((parts.ROOT / "pyproject.toml").read_text())["project"]
    stable, unstable = parts.tool("sdks").SDKS["oldest"]
    assert f"opentelemetry-sdk>={stable.removesuffix('.0')}" in project["dependencies"]
    assert f"opentelemetry-instrumentation>={unstable}" in project["dependencies"]


def test_the_previous_is_one_minor_version_before_the_one_that_the_tests_run_with():
    pins = (parts.ROOT / "constraints.txt").read_text().splitlines()
    [newest] = [pin.partition("==")[2] for pin in pins if pin.startswith("opentelemetry-sdk==")]
    major, minor, _ = parts.tool("sdks").SDKS["previous"][0].split(".")
    assert f"{major}.{int(minor) + 1}" == newest.rpartition(".")[0]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("which", ["oldest", "previous"])
def test_the_unit_tests_pass_with_an_older_sdk(which):
    parts.require(f"sdk-{which}")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "PYTEST_"))}
    files = sorted(str(file) for file in HERE.glob("test_*.py") if file.stem.removeprefix("test_") not in OTHERS)
    done = subprocess.run(
        [
            parts.tool("sdks").python(which),
            "-m",
            "pytest",
            "-q",
            "-rs",
            "-p",
            "no:cacheprovider",
            "-m",
            "not slow",
            *files,
        ],
        cwd=parts.ROOT,
        env={**clean, "PYTHONPATH": str(parts.ROOT)},
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "fast_" not in "".join(line for line in done.stdout.splitlines() if line.startswith("SKIPPED"))
