"""The public surface: which names there are, that each is documented and typed, and what importing it loads."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from importlib import import_module, metadata, util
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import otjobs

PUBLIC = [
    "dispatching",
    "Dispatch",
    "executing",
    "Execution",
    "ended",
    "composite",
    "labels",
    "trigger",
    "current_execution",
    "flush",
    "OtjobsError",
    "__version__",
]
TESTING = ["Captured", "CountingIds", "TickingClock", "capture_jobs", "job_span_row"]
ERRORS = [
    "AccountError",
    "ConfigurationError",
    "FolderInUseError",
    "MissingExtraError",
    "NewerSchemaError",
    "OtjobsError",
    "PortInUseError",
    "QueryError",
    "RightsError",
    "ServerError",
    "StoreError",
    "StoreUnreachableError",
    "fault_counts",
    "guard",
    "warn",
]
MODULES = {"otjobs": PUBLIC, "otjobs.testing": TESTING, "otjobs.errors": ERRORS}
BACKEND_ONLY = {"celery", "chdb", "chdb-core", "click", "clickhouse-connect", "redis", "rich", "starlette", "uvicorn"}
"""What a service does not need: only the extras may bring it."""


@pytest.mark.parametrize("module", MODULES)
def test_the_exported_names_are_these(module):
    assert import_module(module).__all__ == MODULES[module]


def test_at_most_twelve_names_are_public_and_each_has_a_module():
    assert len(PUBLIC) <= 12
    assert sorted(otjobs._MODULES) == sorted(set(PUBLIC) - {"__version__"})


def test_type_checkers_and_the_interpreter_find_each_name_in_the_same_module():
    tree = ast.parse(Path(otjobs.__file__).read_text())
    typed = {
        alias.name: node.module
        for part in tree.body
        if isinstance(part, ast.If) and ast.unparse(part.test) == "TYPE_CHECKING"
        for node in part.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == otjobs._MODULES


def test_no_module_has_the_name_of_an_exported_member():
    """Its import would put the module in the member's place."""
    taken = [name for name in PUBLIC if util.find_spec(f"otjobs.{name}") is not None]
    assert taken == []


def test_a_misspelt_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'otjobs' has no attribute 'dispatch_ing'"):
        _ = otjobs.dispatch_ing


def test_all_names_are_listed_before_they_are_loaded():
    code = "import otjobs; before = dir(otjobs); from otjobs import *; print(set(otjobs.__all__) <= set(before), executing)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True <function executing at ")


def members():
    """Give (name, object) of every public member: functions, classes, and what public classes have."""
    for module in map(import_module, MODULES):
        for name in module.__all__:
            if name == "__version__":
                continue
            found = getattr(module, name)
            yield f"{module.__name__}.{name}", found
            if inspect.isclass(found):
                for inner, value in vars(found).items():
                    is_code = inspect.isfunction(value) or isinstance(value, (property, classmethod, staticmethod))
                    if is_code and not inner.startswith("_"):
                        yield f"{module.__name__}.{name}.{inner}", value


@pytest.mark.parametrize(("name", "member"), [pytest.param(*found, id=found[0]) for found in members()])
def test_every_public_member_is_documented(name, member):
    written = inspect.getdoc(member) or ""
    assert written.splitlines()[0].endswith("."), f"{name} needs one sentence first"


@pytest.mark.parametrize("kind", [otjobs.Dispatch, otjobs.Execution])
def test_every_public_attribute_is_documented(kind):
    written = inspect.getdoc(kind).partition("Attributes:")[2]
    described = [line.strip().partition(":")[0] for line in written.splitlines() if line.startswith("    ")]
    assert sorted(described) == sorted(name for name in kind.__slots__ if not name.startswith("_"))


@pytest.mark.parametrize("name", ["dispatching", "executing", "ended", "composite", "trigger", "flush"])
def test_every_parameter_of_the_api_is_described(name):
    function = getattr(otjobs, name)
    written = inspect.getdoc(function)
    assert [p for p in inspect.signature(function).parameters if f"    {p}: " not in written] == []


TYPED = """
import otjobs

def whole(payload: dict[str, str]) -> None:
    with otjobs.dispatching("resize", trigger="schedule") as d:
        payload.update(d.carrier)
    with otjobs.executing(payload) as e:
        e.set_outcome("rejected", dead_letter=True)
        e.end("success")
    otjobs.ended(payload, "expired")
    run: otjobs.Execution | None = otjobs.current_execution()
    sent: otjobs.Dispatch = d
    with otjobs.trigger("manual"), otjobs.labels(tenant="a"), otjobs.composite("batch"):
        print(run, sent)

def misspelt(e: otjobs.Execution) -> None:
    e.set_outcome("sucess")  # wrong
    e.end("failed")  # wrong
    otjobs.ended({}, "canceled")  # wrong
    otjobs.dispatching("resize", trigger="cron")  # wrong
    otjobs.trigger("cron")  # wrong
    print(otjobs.dispatch_ing)  # wrong
    otjobs.labels("a")  # wrong
"""


def test_a_misspelt_outcome_trigger_or_name_does_not_type_check(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(TYPED)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        "--config-file=",
        f"--cache-dir={tmp_path}",
    ]
    root = Path(otjobs.__file__).parents[1]
    done = subprocess.run([*command, str(program)], capture_output=True, text=True, cwd=root, timeout=500)
    told = {int(line.split(":")[1]) for line in done.stdout.splitlines() if line.startswith(str(program))}
    assert told == {at for at, line in enumerate(TYPED.splitlines(), 1) if line.endswith("# wrong")}, (
        done.stdout + done.stderr
    )


def loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_neither_opentelemetry_nor_another_module_of_its_own():
    found = loaded_by("import otjobs")
    assert {name for name in found if name.startswith(("otjobs", "opentelemetry", "wrapt"))} == {
        "otjobs",
        "otjobs._version",
    }


def test_a_service_brings_nothing_of_what_runs_beside_it():
    """Given the distribution without extras, the packages that it needs, and those that they need."""
    wanted, known = ["otjobs"], set()
    while wanted:
        name = wanted.pop()
        known.add(name)
        for needed in map(Requirement, metadata.requires(name) or ()):
            if (needed.marker is None or needed.marker.evaluate({"extra": ""})) and needed.name not in known:
                wanted.append(needed.name)
    assert "opentelemetry-sdk" in known
    assert known & BACKEND_ONLY == set()
