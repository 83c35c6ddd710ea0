"""Run a library's suite plain and instrumented at the same time, and name the tests that pass only plain."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache import ROOT, cache, filling, run

from peers.traced import INSTRUMENTOR, REPORT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peers.suite import Suite

TOOLS = ROOT / "tools"
LIMIT_SECONDS = 3600
"""A run that takes longer is ended; the tests that it did not reach count as not passed."""


@dataclass(frozen=True)
class Run:
    """How the tests ended: `passed`, `skipped` or `failed` by their ids."""

    ended: dict[str, str]
    spans: int
    log: Path

    def passed(self) -> set[str]:
        """Return the tests that passed."""
        return {test for test, how in self.ended.items() if how == "passed"}

    def tail(self) -> str:
        """Return the end of what pytest wrote."""
        return self.log.read_text(errors="replace")[-6000:]

    def summary(self) -> str:
        """Return counts in one line."""
        counts = {how: sum(1 for one in self.ended.values() if one == how) for how in ("passed", "skipped", "failed")}
        return ", ".join(f"{count} {how}" for how, count in counts.items()) + f"; {self.spans} spans"


def fetch(suite: Suite) -> tuple[Path, Path]:
    """Return the folders of the library's source and of what its tests need; pip gets them once."""
    name = f"{suite.distribution}-{version(suite.distribution)}"
    target = cache() / "peers" / name
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    if not target.exists():
        with filling(target) as work:
            run(
                [
                    *pip,
                    "download",
                    "-d",
                    work,
                    "--no-deps",
                    "--no-binary",
                    suite.distribution,
                    name.replace("-", "==", 1),
                ]
            )
            [archive] = work.glob("*.tar.gz")
            with tarfile.open(archive) as files:
                files.extractall(work, filter="data")
            [source] = (path for path in work.iterdir() if path.is_dir())
            source.rename(work / "source")
    needed = cache() / "peers" / f"needed-{'-'.join(sorted(suite.needed))}"
    if suite.needed and not needed.exists():
        with filling(needed) as work:
            run([*pip, "install", "--no-deps", "--target", work, *suite.needed])
    return target / "source", needed


def once(suite: Suite, source: Path, needed: Path, tests: Sequence[str], folder: Path, *, instrumented: bool) -> Run:
    """Run tests one way, with services of their own."""
    copy = shutil.copytree(source, folder / "source")  # tests write beside themselves
    report, log = folder / "report.json", folder / "pytest.log"
    command = [sys.executable, "-m", "pytest", "-p", "peers.traced", "-p", "no:cacheprovider", "-q"]
    command += ["--continue-on-collection-errors", *suite.options, *tests]
    with suite.services(folder) as services, log.open("w") as out:
        environment = {
            **os.environ,
            **suite.environment,
            **services,
            "PYTHONPATH": os.pathsep.join(map(str, (copy, TOOLS, needed))),
            REPORT: str(report),
            INSTRUMENTOR: suite.instrumentor if instrumented else "",
        }
        # In a session of its own: tests of workers kill process groups.
        process = subprocess.Popen(
            command, cwd=copy, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            process.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"{log}: not done after {LIMIT_SECONDS} s", flush=True)
        finally:
            process.kill()
            process.wait()
    found: dict[str, Any] = json.loads(report.read_text()) if report.exists() else {"ended": {}, "spans": 0}
    return Run(found["ended"], found["spans"], log)


def both(suite: Suite, source: Path, needed: Path, tests: Sequence[str], folder: Path) -> tuple[Run, Run]:
    """Run tests plain and instrumented, side by side where they can be: they wait more than they compute."""
    with ThreadPoolExecutor(1 if suite.alone else 2) as together:
        plain = together.submit(once, suite, source, needed, tests, folder / "plain", instrumented=False)
        traced = together.submit(once, suite, source, needed, tests, folder / "instrumented", instrumented=True)
        return plain.result(), traced.result()


def compare(suite: Suite, source: Path, needed: Path, tests: Sequence[str], folder: Path) -> list[str]:
    """Return what is wrong; nothing if every test that passes plain passes instrumented or has a reason not to."""
    plain, traced = both(suite, source, needed, tests, folder / "first")
    print(f"{suite.name}, plain: {plain.summary()}\n{suite.name}, instrumented: {traced.summary()}", flush=True)
    if not plain.passed():
        return [f"no test passed plain\n{plain.tail()}"]
    if not traced.passed():
        return [f"no test passed instrumented\n{traced.tail()}"]
    wrong = [] if traced.spans else ["the instrumented run made no span"]
    wrong += [f"{test} passes, and has a reason not to" for test in sorted(suite.reasons.keys() & traced.passed())]
    only = plain.passed() - traced.passed() - suite.reasons.keys()
    if only:
        # Tests of others fail now and then by themselves: these again, alone.
        plain, traced = both(suite, source, needed, sorted(only), folder / "again")
        recovered = only & plain.passed() & traced.passed()
        for test in sorted(recovered):
            print(f"failed instrumented, and passed both ways when run again: {test}", flush=True)
        only -= recovered
    if only:
        wrong += [traced.tail(), *(f"{test} passes only plain" for test in sorted(only))]
    return wrong


def main(suites: Sequence[Suite], *, part: bool) -> int:
    """Run suites, whole or the part that CI has time for; return 1 if anything is wrong."""
    wrong = []
    with tempfile.TemporaryDirectory(prefix="otjobs-peers-", ignore_cleanup_errors=True) as folder:
        for suite in suites:
            tests = suite.part if part else suite.tests
            if tests:
                source, needed = fetch(suite)
                wrong += compare(suite, source, needed, tests, Path(folder) / suite.name)
    print(*wrong, "FAILED" if wrong else "no test passes only plain", sep="\n")
    return int(bool(wrong))
