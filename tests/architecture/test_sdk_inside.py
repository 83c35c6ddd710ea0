"""Only the SDK wing knows the inside of the OpenTelemetry SDK, and in it one module for each part."""

from __future__ import annotations

import ast
import functools
import importlib
import re
from pathlib import Path

import pytest
from import_graph import ROOT

EXPORTERS = "otjobs/sdk/exporters.py"
SPANS = {"otjobs/sdk/fast_spans.py", "otjobs/sdk/own_attributes.py", "otjobs/sdk/fast_encoder.py"}
"""The fields of spans, and of tracers that make them: made in one, kept apart in the next, and written in the last."""
SPAN_FILES = ("sdk/trace/__init__.py", "attributes/__init__.py", "sdk/util/__init__.py", "trace/__init__.py")


@functools.cache
def names_of_the_sdk() -> frozenset[str]:
    """Return the private names of OpenTelemetry's providers, processors, exporters, encoders and spans."""
    found: set[str] = set()
    for package in ("sdk", "attributes", "trace", "exporter.otlp.proto.http", "exporter.otlp.proto.grpc"):
        (folder,) = importlib.import_module(f"opentelemetry.{package}").__path__
        for file in Path(folder).rglob("*.py"):
            found |= set(re.findall(r"(?:self\.|def |class |^)(_[a-zA-Z]\w*)", file.read_text(), re.MULTILINE))
    return frozenset(found - {"_instrument"})  # a method of other instrumentations, too


def touched_in(text: str) -> dict[str, int]:
    """Return the private names that a module reads or sets on objects other than its own, with their lines."""
    found = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and not (
            isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        ):
            found[node.attr] = node.lineno
        elif isinstance(node, ast.Call):
            found |= {
                a.value: node.lineno for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)
            }
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("opentelemetry"):
            found |= {alias.name: node.lineno for alias in node.names}
    return {
        name: line for name, line in found.items() if re.fullmatch(r"_[a-zA-Z]\w*", name) and not name.endswith("__")
    }


def touching() -> dict[str, dict[str, int]]:
    files = [f for f in (ROOT / "otjobs").rglob("*.py") if "backend" not in f.parts]
    inside = {str(f.relative_to(ROOT)): touched_in(f.read_text()) for f in files}
    known = names_of_the_sdk()
    return {f: {n: line for n, line in names.items() if n in known} for f, names in inside.items()}


def test_no_other_module_names_a_private_attribute_of_the_sdk():
    elsewhere = {f: names for f, names in touching().items() if names and f not in {EXPORTERS, *SPANS}}
    assert elsewhere == {}


def test_the_modules_of_spans_name_no_private_attribute_of_providers_processors_and_exporters():
    of_spans = set()
    (folder,) = importlib.import_module("opentelemetry.sdk").__path__
    for name in SPAN_FILES:
        of_spans |= set(re.findall(r"\b(_[a-zA-Z]\w*)", (Path(folder).parent / name).read_text()))
    of_providers = {"_active_span_processor", "_span_processors", "_batch_processor", "_exporter", "_atexit_handler"}
    for file in SPANS:
        names = set(touching()[file])
        assert names
        assert names - {"_encode_resource_spans"} <= of_spans - of_providers, file


@pytest.mark.parametrize(
    "line",
    [
        "x = processor._batch_processor",
        "setattr(a, '_export', f)",
        "getattr(p, '_queue', ())",
        "from opentelemetry.sdk.trace import _Span",
    ],
)
def test_a_private_attribute_is_seen(line):
    assert names_of_the_sdk() & touched_in(line).keys()
