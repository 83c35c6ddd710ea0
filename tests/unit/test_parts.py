"""What the test command says of parts that are not there, and in which environment CI runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import parts
import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import parts, pytest

parts.PARTS["redis"] = (lambda: False, "make services")
parts.PARTS["go"] = (lambda: False, "install Go 1.25 or newer")

@pytest.fixture
def wanting():
    parts.require("redis")

@pytest.mark.parametrize("n", range(3))
def test_a(n, wanting): pass

def test_b(): parts.require("redis")

def test_c(): parts.require("go")

def test_d(): pytest.skip("another reason")

def test_e(): pass

@pytest.mark.skip(reason=parts.UNSUPPORTED + "it knows no such thing.")
def test_f(): pass
"""


PARALLEL = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")


def run(folder: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (folder / "test_them.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -ra\n")
    clean = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PYTHONPATH": str(ROOT / "tests"), **env}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, str(folder)]
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("options", [(), PARALLEL], ids=["one at a time", "parallel"])
def test_a_missing_part_is_one_line_with_how_to_get_it_and_how_many_tests_wait(tmp_path, options):
    done = run(tmp_path, *options)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("SKIPPED", "MISSING"))]
    assert lines == [
        "SKIPPED [1] test_them.py:18: another reason",
        "MISSING go: not there; get it with: install Go 1.25 or newer (1 test skipped)",
        "MISSING redis: not there; get it with: make services (4 tests skipped)",
    ]
    # What a library cannot do is no skip
    assert "1 passed, 6 skipped, 1 unsupported" in done.stdout
    assert done.returncode == 0


def test_a_missing_part_that_is_required_fails(tmp_path):
    done = run(tmp_path, OTJOBS_TEST_REQUIRE="all")
    assert "2 failed, 1 passed, 1 skipped, 3 errors, 1 unsupported" in done.stdout
    assert (
        done.stdout.count("redis is required here (OTJOBS_TEST_REQUIRE) but not there; get it with: make services") >= 4
    )
    assert "MISSING" not in done.stdout
    assert done.returncode == 1


def test_a_parallel_run_begins_with_the_files_that_take_longest(tmp_path):
    longest = (ROOT / "tests" / "long_first.txt").read_text().split()
    assert [name for name in longest if not (ROOT / name).is_file()] == []
    # Given files that are there, and an earlier one that nobody named
    names = ["tests/a/test_a.py", *longest]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("def test(): pass\n")
    done = run(tmp_path, "-vv", *PARALLEL, "-n", "1")
    begun = re.findall(r"PASSED (\S+)::test", done.stdout)
    assert begun[: len(longest)] == longest


def test_a_worker_has_all_scenarios_of_a_library_and_else_whole_files(tmp_path):
    scenarios = tmp_path / "integrations" / "scenarios"
    scenarios.mkdir(parents=True)
    text = "import pytest\n@pytest.mark.parametrize('library', ['celery-fork', 'rq'])\ndef test_{}(library): pass\n"
    for n in range(3):
        (scenarios / f"test_scenario_{n}.py").write_text(text.format(n))
    done = run(tmp_path, "-v", *PARALLEL, "-n", "3")
    ran = re.findall(r"\[(gw\d)\] .* PASSED \S*(?:\[(celery|rq)|(test_them))", done.stdout)
    assert len(ran) == 7
    workers = [{worker for worker, *what in ran if name in what} for name in ("celery", "rq", "test_them")]
    assert [len(found) for found in workers] == [1, 1, 1]
    assert len(set.union(*workers)) == 3


@pytest.mark.parametrize("worker", [0, 1, 2])
def test_workers_of_a_parallel_run_have_no_port_in_common(worker):
    script = "import parts; print(*(parts.free_port() for _ in range(200)))"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "PYTEST_XDIST_WORKER": f"gw{worker}"}
    command = [sys.executable, "-c", script]
    out = subprocess.check_output(command, env={**env, "PYTEST_XDIST_WORKER_COUNT": "3"}, text=True, timeout=60)
    ports = [int(port) for port in out.split()]
    assert len(set(ports)) == 200
    assert {(port - 10_000) % 3 for port in ports} == {worker}


def test_threads_get_different_ports():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as together:
            ports = list(together.map(lambda _: parts.free_port(), range(1000)))
    finally:
        sys.setswitchinterval(before)
    assert len(set(ports)) == 1000


def test_ci_runs_the_command_of_the_readme_in_an_empty_environment(tmp_path):
    # Given a make that tells its environment
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "make").write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n[ "$1" = test ] && env > {tmp_path}/environment\nexit 0\n'
    )
    (tools / "make").chmod(0o755)
    (tmp_path / "repo" / ".ci").mkdir(parents=True)
    python = tmp_path / "repo" / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)
    script = tmp_path / "repo" / ".ci" / "run"
    script.write_text((ROOT / ".ci" / "run").read_text())
    noise = {
        "COLUMNS": "40",
        "FORCE_COLOR": "1",
        "OTEL_SERVICE_NAME": "x",
        "OTJOBS_URL": "http://nowhere",
        "LC_ALL": "C",
        "NO_COLOR": "1",
    }
    env = {**os.environ, **noise, "PIP_INDEX_URL": "https://index.test/simple", "PATH": f"{tools}:{os.environ['PATH']}"}
    subprocess.run(["bash", script], env=env, check=True, timeout=60)
    given = dict(line.split("=", 1) for line in (tmp_path / "environment").read_text().splitlines() if "=" in line)
    assert not noise.keys() & given.keys()
    assert given["TERM"] == "dumb"
    assert given["PIP_INDEX_URL"] == "https://index.test/simple"
    assert "all" in given["OTJOBS_TEST_REQUIRE"]
    calls = (tmp_path / "calls").read_text().split("\n")
    assert calls[-3:-1] == ["test", "peers PEERS=--part"]
    assert "make test" in (ROOT / "README.md").read_text()
