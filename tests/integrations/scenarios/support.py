"""The page docs/reference/support.md: which library does what, as the harness tables declare it."""

from __future__ import annotations

import ast
from pathlib import Path

import libraries

HERE = Path(__file__).parent
TITLES = {"celery": "Celery", "generic": "the API", "rq": "RQ"}
HEAD = """\
# What is traced in which library

Each line is a behaviour that one test checks in every library, on real workers and a real broker: the tree of spans,
attempts, outcomes, error types and times, against what the application itself has logged. "Yes" means that the test
passes. "No" means that the library itself cannot do it; the number leads to the reason below the table.

This page is made from a run of the tests: `pytest tests/integrations/scenarios --write-support docs/reference/support.md`.
"""


def scenarios() -> dict[str, str]:
    """Return name: sentence of each scenario, from the test files."""
    found = {}
    for path in sorted(HERE.glob("test_scenario_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found[node.name.removeprefix("test_")] = (ast.get_docstring(node) or node.name).splitlines()[0]
    return found


def cells() -> list[tuple[str, str]]:
    return [(scenario, name) for scenario in scenarios() for name in libraries.NAMES]


def page() -> str:
    notes: list[str] = []
    lines = [
        "| behaviour | " + " | ".join(TITLES.get(name, name) for name in libraries.NAMES) + " |",
        "| --- |" + " --- |" * len(libraries.NAMES),
    ]
    for scenario, sentence in scenarios().items():
        answers = []
        for name in libraries.NAMES:
            reason = libraries.load(name).unsupported.get(scenario)
            if reason is None:
                answers.append("yes")
            else:
                note = f"{TITLES.get(name, name)}: {reason}"
                if note not in notes:
                    notes.append(note)
                answers.append(f"no ({notes.index(note) + 1})")
        lines.append(f"| {sentence} | " + " | ".join(answers) + " |")
    told = "\n".join(f"{number}. {note[0].upper()}{note[1:]}" for number, note in enumerate(notes, 1))
    return HEAD + "\n" + "\n".join(lines) + "\n" + (f"\n{told}\n" if told else "")
