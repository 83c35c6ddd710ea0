"""Help that teaches, a reference that cannot drift, and what is said where a library is missing."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
import reference
from click.testing import CliRunner
from running import run

from otjobs.backend.cli.app import cli

COMMANDS = sorted(cli.commands)


def test_the_command_alone_shows_what_there_is():
    done = run("--help")
    assert done.status == 0
    for name in COMMANDS:
        assert f"\n  {name} " in done.out
    assert "..." not in done.out.partition("Commands:")[2]  # every short help fits
    assert run("--version").out == "otjobs, version 0.1.0\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name):
    shown = CliRunner().invoke(cli, [name, "--help"], terminal_width=100)
    assert shown.exit_code == 0
    assert f"Example:\n    otjobs {name}" in shown.output
    for parameter in cli.commands[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help
            assert all(option in shown.output for option in parameter.opts)
    assert all(len(line) <= 100 for line in shown.output.splitlines())


def test_the_reference_page_is_what_the_commands_say():
    assert reference.FILE.read_text(encoding="utf-8") == reference.page(), (
        "write it with: python tests/cli/reference.py"
    )
    assert sorted(reference.ORDER) == COMMANDS


def without(*modules, call=()):
    """Run the command in an interpreter that has no such modules."""
    hide = "".join(f"sys.modules[{name!r}] = None; " for name in modules)
    script = f"import sys; {hide}from otjobs.backend.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", script, *call], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", ["click", "rich"])
def test_without_the_extra_cli(name):
    assert without(name) == (2, "", f"otjobs: {name} is not installed; install it with: pip install 'otjobs[cli]'\n")


EMBEDDED = ("chdb", "grpc", "starlette", "uvicorn", "celery", "redis")


def test_the_extra_cli_alone_is_enough_to_read_and_to_learn():
    status, out, _ = without(*EMBEDDED, call=["demo", "--help"])
    assert (status, "otjobs demo --keep" in out) == (0, True)
    status, _, err = without(*EMBEDDED, call=["queues", "--url", "http://127.0.0.1:9/x"])
    assert (status, "no database answers" in err) == (1, True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["demo"], "otjobs: celery is not installed; install it with: pip install 'otjobs[demo]'\n"),
        (["up", "--data", "{tmp}", "--http-port", "0", "--sql-port", "0"], "pip install 'otjobs[embedded]'\n"),
        (
            ["queues", "--url", "chdb://{tmp}"],
            "otjobs: chdb is not installed; install it with: pip install 'otjobs[embedded]'\n",
        ),
    ],
)
def test_a_missing_extra_is_named_with_the_command_that_gets_it(tmp_path, call, message):
    status, out, err = without(*EMBEDDED, call=[part.replace("{tmp}", str(tmp_path)) for part in call])
    assert status == 1
    assert err.endswith(message)
    assert err.count("\n") == 1
