"""The floors of docs/architecture.md: imports only fall, without circles, and every module stands alone.

Every import counts as an arrow: also one that only type checkers read, and one inside a function.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest
from import_graph import ROOT, Arrow, arrows, circles, modules


class Floor(NamedTuple):
    name: str
    house: str
    patterns: tuple[str, ...]
    height: int


def floors() -> list[Floor]:
    """Return the table of the page, from the top floor down."""
    page = (ROOT / "docs/architecture.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (inside|beside|both) \| ((?:`[^`]+` ?)+)\|", page, re.MULTILINE)
    found = []
    for at, (name, house, written) in enumerate(rows):
        patterns = tuple(n if n == "otjobs" else f"otjobs.{n}" for n in re.findall(r"`([^`]+)`", written))
        found.append(Floor(name, house, patterns, -at))
    return found


FLOORS = floors()
MODULES = modules()
ARROWS = arrows()


def floors_of(module: str) -> list[Floor]:
    return [floor for floor in FLOORS for pattern in floor.patterns if fnmatchcase(module, pattern)]


def is_allowed(arrow: Arrow) -> bool:
    """An arrow may fall, or stay on its floor; from one house into the other there is none."""
    source, target = floors_of(arrow.source)[0], floors_of(arrow.target)[0]
    return target.height <= source.height and target.house in (source.house, "both")


def test_the_page_has_a_floor_for_every_module_and_only_one():
    assert len(FLOORS) == 13
    assert {module: floors_of(module) for module in MODULES if len(floors_of(module)) != 1} == {}


def test_every_module_that_the_page_names_exists():
    patterns = {pattern for floor in FLOORS for pattern in floor.patterns}
    assert {pattern for pattern in patterns if not any(fnmatchcase(module, pattern) for module in MODULES)} == set()


def test_imports_only_fall():
    assert len(ARROWS) > 300
    assert [str(arrow) for arrow in ARROWS if not is_allowed(arrow)] == []


def test_there_are_no_circles():
    assert circles(ARROWS) == []


def test_nothing_inside_a_service_imports_what_runs_beside_it():
    into = [arrow for arrow in ARROWS if arrow.target.startswith("otjobs.backend")]
    assert into
    assert [str(arrow) for arrow in into if not arrow.source.startswith("otjobs.backend")] == []


def test_one_library_does_not_import_another():
    """A library is a module or a package below `integrations` whose name has no underscore, but `late` and `stock`."""

    def library(module: str) -> str:
        found = re.match(r"otjobs\.integrations\.(?!late$|stock$)([a-z]\w*)", module)
        return found[1] if found else ""

    between = [arrow for arrow in ARROWS if library(arrow.source) and library(arrow.target)]
    assert between
    assert [str(arrow) for arrow in between if library(arrow.source) != library(arrow.target)] == []


def test_a_circle_and_an_arrow_up_are_seen(tmp_path):
    """Given a small package with a circle through a function and one through type checkers."""
    package = tmp_path / "otjobs"
    package.mkdir()
    for name, text in {
        "__init__": "",
        "texts": "if TYPE_CHECKING:\n    from otjobs.faults import guard\n",
        "faults": "def f():\n    from otjobs import texts\n",
        "times": "import otjobs.faults\nfrom otjobs import backend\n",
        "backend": "",
    }.items():
        (package / f"{name}.py").write_text(text)
    found = arrows(tmp_path)
    assert [str(arrow) for arrow in found] == [
        "otjobs.faults:2 imports otjobs.texts",
        "otjobs.texts:2 imports otjobs.faults",
        "otjobs.times:2 imports otjobs.backend",
        "otjobs.times:1 imports otjobs.faults",
    ]
    assert circles(found) == [("otjobs.faults", "otjobs.texts")]
    assert [str(arrow) for arrow in found if not is_allowed(arrow)] == ["otjobs.times:2 imports otjobs.backend"]


ALONE = """
import importlib, os, sys, traceback
names, third_party = sys.argv[1].split(), sys.argv[2].split()
for name in third_party:
    importlib.import_module(name)
for name in names:
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        print(name, status, flush=True)
        continue
    status = 1
    try:
        assert not [loaded for loaded in sys.modules if loaded.partition(".")[0] == "otjobs"]
        importlib.import_module(name)
        status = 0
    except BaseException:
        traceback.print_exc()
    os._exit(status)
"""
"""Import each module in a process that has loaded nothing of ours; what others publish is loaded once."""
THIRD_PARTY = (
    "celery click clickhouse_connect opentelemetry.instrumentation.instrumentor opentelemetry.sdk.trace rich.table"
)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_module_can_be_imported_alone(tmp_path):
    names = list(MODULES)
    environment = {**os.environ, "OTJOBS_DEMO_FOLDER": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, " ".join(names), THIRD_PARTY],
        capture_output=True,
        text=True,
        env=environment,
        timeout=550,
    )
    assert done.stdout.splitlines() == [f"{name} 0" for name in names], done.stderr


LOADED = """
import importlib, sys
for name in sys.argv[1].split():
    importlib.import_module(name)
print(*sorted(sys.modules))
"""


def loaded_by(names: list[str]) -> set[str]:
    done = subprocess.run([sys.executable, "-c", LOADED, " ".join(names)], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_what_runs_beside_a_service_loads_only_the_base_and_of_opentelemetry_only_messages():
    """But for the demo's application, which is a service."""
    names = [n for n in MODULES if n.startswith("otjobs.backend") and not n.startswith("otjobs.backend.demo.")]
    names = [name for name in names if not name.startswith("otjobs.backend.cli.")] + ["otjobs.backend.cli.app"]
    found = loaded_by(names)
    assert "otjobs.backend.server.writer" in found
    base = {pattern for floor in FLOORS if floor.name == "base" for pattern in floor.patterns}
    ours = {name for name in found if name.startswith("otjobs.") and not name.startswith("otjobs.backend")}
    assert ours - base == set()
    others = {name for name in found if name.startswith(("opentelemetry.", "wrapt"))}
    assert {name for name in others if not name.startswith("opentelemetry.proto")} == set()


def test_a_command_loads_neither_the_server_nor_opentelemetry():
    found = loaded_by(["otjobs.backend.cli"])
    assert {name for name in found if name.startswith(("otjobs", "opentelemetry"))} == {
        "otjobs",
        "otjobs._version",
        "otjobs.backend",
        "otjobs.backend.cli",
    }


def test_the_table_is_a_part_of_the_page_that_people_find():
    for page in ("README.md", "CONTRIBUTING.md"):
        assert "(docs/architecture.md)" in Path(ROOT, page).read_text()
