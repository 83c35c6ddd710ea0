"""The frame that runs the suites of other libraries plain and instrumented, on a small suite of nobody."""

from __future__ import annotations

import sys

import parts
import pytest

sys.path.insert(0, str(parts.TOOLS))

from peers import frame
from peers.suite import Suite

TOY = """
import builtins, os, signal, time
from opentelemetry import trace

class Toy:
    def instrument(self):
        builtins.instrumented = True
"""
TESTS = """
import builtins, os
import pytest
from opentelemetry import trace

instrumented = getattr(builtins, "instrumented", False)

def test_makes_a_span():
    trace.get_tracer("toy").start_span("a").end()

def test_never_passes():
    assert False

@pytest.mark.parametrize("n", range(3))
def test_suffers(n):
    assert n != 1 or not instrumented

def test_skips():
    if instrumented: pytest.skip("this too is a difference")

def test_fails_the_first_time():
    been = os.path.join(os.environ["BEEN"], "been" if instrumented else "plain")
    try:
        assert not instrumented or os.path.exists(been)
    finally:
        open(been, "w").close()

def test_in_parts(subtests):
    for n in range(3):
        with subtests.test(n=n):
            assert n != 2 or not instrumented

def test_dies():
    if instrumented and os.environ.get("DIES"): os._exit(7)
"""
SUFFER = ("test_toy.py::test_in_parts", "test_toy.py::test_skips", "test_toy.py::test_suffers[1]")


@pytest.fixture
def compare(tmp_path, capsys):
    source = tmp_path / "source"
    source.mkdir()
    (source / "toy.py").write_text(TOY)
    (source / "test_toy.py").write_text(TESTS)
    (source / "pytest.ini").write_text("[pytest]\n")

    def run(tests=("test_toy.py",), **given):
        environment = {"BEEN": str(tmp_path), **given.pop("environment", {})}
        suite = Suite(
            name="toy",
            distribution="toy",
            instrumentor="toy:Toy",
            needed=(),
            tests=tests,
            part=(),
            environment=environment,
            **given,
        )
        wrong = frame.compare(suite, source, tmp_path / "needed", tests, tmp_path / "runs")
        return wrong, capsys.readouterr().out

    return run


def test_what_passes_only_plain_is_named_and_what_fails_by_itself_is_not(compare):
    wrong, out = compare()
    assert wrong[1:] == [f"{test} passes only plain" for test in SUFFER]
    assert "test_toy.py::test_suffers[1] - " in wrong[0], "the end of what the second run wrote"
    assert "toy, plain: 8 passed, 0 skipped, 1 failed; 0 spans" in out
    assert "toy, instrumented: 4 passed, 1 skipped, 4 failed; 1 spans" in out
    assert "passed both ways when run again: test_toy.py::test_fails_the_first_time" in out


def test_a_listed_reason_is_an_excuse_until_the_test_passes(compare):
    wrong, _ = compare(reasons=dict.fromkeys([*SUFFER, "test_toy.py::test_makes_a_span"], "it is so"))
    assert wrong == ["test_toy.py::test_makes_a_span passes, and has a reason not to"]


def test_a_run_that_was_not_traced_shows_nothing(compare):
    wrong, _ = compare(tests=("test_toy.py::test_suffers[0]",))
    assert wrong == ["the instrumented run made no span"]


def test_a_run_that_dies_is_no_success(compare):
    [wrong], _ = compare(environment={"DIES": "1"})
    assert wrong.startswith("no test passed instrumented")
