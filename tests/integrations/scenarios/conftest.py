"""Every scenario for every library; what a library cannot do is declared in its harness, and counted as unsupported."""

from __future__ import annotations

from pathlib import Path

import libraries
import parts
import pytest
import support
from fleet import Fleet

pytest.register_assert_rewrite("facts")
HERE = Path(__file__).parent


def pytest_addoption(parser):
    parser.addoption("--write-support", metavar="PATH", help="write the table of scenarios and libraries from this run")


def pytest_generate_tests(metafunc):
    found = [libraries.load(name) for name in libraries.NAMES]
    if "kind" in metafunc.fixturenames:
        pairs = [(name, kind) for name, one in zip(libraries.NAMES, found, strict=True) for kind in one.kinds]
        metafunc.parametrize(
            ("library", "kind"), pairs, indirect=["library"], ids=[f"{n}-{k}" for n, k in pairs], scope="session"
        )
    elif "library" in metafunc.fixturenames:
        metafunc.parametrize("library", libraries.NAMES, indirect=True, scope="session")


def cell(item):
    """Return (scenario, library) of a test, None of any other."""
    name = item.callspec.params.get("library") if hasattr(item, "callspec") else None
    return None if name is None else (item.function.__name__.removeprefix("test_"), name)


def pytest_collection_modifyitems(config, items):
    if config.getoption("--write-support", default=None):  # the page is compared once it is written
        items[:] = [item for item in items if item.path.name != "test_support.py"]
    for item in items:
        if item.path.parent == HERE and (found := cell(item)):
            scenario, name = found
            item.user_properties.append(("cell", found))
            reason = libraries.load(name).unsupported.get(scenario)
            if reason:
                item.add_marker(pytest.mark.skip(reason=f"{parts.UNSUPPORTED}{reason}"))


@pytest.fixture(scope="session")
def library(request, tmp_path_factory, receiver, redis_url):
    """The processes of one library, which its scenarios share."""
    number = 1 + libraries.NAMES.index(request.param)
    found = Fleet(
        request.param, tmp_path_factory.mktemp(request.param), receiver, redis_url.replace("/0", f"/{number}")
    )
    RUNNING.append(found)
    try:
        found.start()
        yield found
    finally:
        found.stop()


RUNNING = []


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem):
    """Stop the processes after the last scenario: a parallel run goes on with other tests, which need the machine."""
    if nextitem is None or nextitem.path.parent != HERE:
        while RUNNING:
            RUNNING.pop().stop()


RAN = {}
"""(scenario, library): whether every test of it passed or is unsupported."""


def pytest_runtest_logreport(report):
    found = dict(report.user_properties).get("cell")
    if found and (report.when == "call" or not report.passed):
        there = report.passed or parts.unsupported(report)
        RAN[tuple(found)] = RAN.get(tuple(found), True) and there


def pytest_sessionfinish(session):
    path = session.config.getoption("--write-support", default=None)
    if path and not hasattr(session.config, "workerinput"):
        gaps = [cell for cell in support.cells() if not RAN.get(cell)]
        if gaps:
            session.exitstatus = 1
            print(f"\n{path} is not written: these did not run or did not pass: {gaps}")
        else:
            Path(path).write_text(support.page(), encoding="utf-8")
