"""What each room keeps to itself: docs/architecture.md says it, this reads it from the source."""

from __future__ import annotations

import ast
import re

import pytest
from import_graph import arrows, modules

from otjobs import attributes

MODULES = modules()
MOST_LINES = 400


def texts(module: str) -> list[str]:
    """Return every string of a module's code, docstrings left out."""
    tree = ast.parse(MODULES[module].read_text())
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in alone)
    return [node.value for node in found if isinstance(node.value, str)]


def imported(module: str) -> set[str]:
    """Return what a module imports of others, also inside functions and for type checkers."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found


def test_no_module_is_too_long():
    long = {
        name: lines for name, path in MODULES.items() if (lines := len(path.read_text().splitlines())) >= MOST_LINES
    }
    assert long == {}


def test_attribute_names_stand_in_one_module():
    elsewhere = {name: found for name in MODULES if (found := attributes.NAMES.intersection(texts(name)))}
    assert elsewhere == {"otjobs.attributes": attributes.NAMES}


def test_no_statement_of_sql_stands_in_python():
    statement = re.compile(r"\s*(SELECT|INSERT|DROP|OPTIMIZE|TRUNCATE|EXCHANGE)\s")
    assert {name: found for name in MODULES if (found := [text for text in texts(name) if statement.match(text)])} == {}


def test_only_the_sdk_wing_and_the_capture_of_tests_import_the_sdk():
    inside = re.compile(r"opentelemetry\.(sdk|exporter|attributes)\b")
    found = {name for name in MODULES if any(map(inside.match, imported(name)))}
    assert {name for name in found if not name.startswith("otjobs.sdk.")} == {"otjobs.testing.capture"}


def test_the_sdk_wing_imports_only_itself_and_the_base():
    above = ("otjobs.carrier", "otjobs.propagation", "otjobs.traceparent")
    arrows_of_wing = [arrow for arrow in arrows() if arrow.source.startswith("otjobs.sdk.")]
    assert arrows_of_wing
    assert [str(arrow) for arrow in arrows_of_wing if arrow.target in above] == []


@pytest.mark.parametrize("library", ["billiard", "celery", "kombu", "rq"])
def test_no_integration_imports_its_library_on_top_of_a_module(library):
    """It waits for the application to do that."""
    found = set()
    for name in MODULES:
        if name.startswith("otjobs.integrations."):
            for node in ast.parse(MODULES[name].read_text()).body:
                heads = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                heads += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                found.update(name for head in heads if head.split(".")[0] == library)
    assert found == set()
