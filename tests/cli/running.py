"""Run the command: in this process, or as a shell does."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import cli_history
from click.testing import CliRunner

from otjobs.backend.store import connect
from otjobs.backend.store.migrate import migrate

OTJOBS = [sys.executable, "-c", "import sys; from otjobs.backend.cli import main; sys.exit(main())"]


@dataclass
class Done:
    status: int
    out: str
    err: str


def invoke(*arguments, url="", given="") -> Done:
    """Run the command in this process, which is quicker; its output is no terminal."""
    from otjobs.backend.cli.app import cli

    environment = {name: None for name in os.environ if name.startswith(("OTEL_", "OTJOBS_"))}
    done = CliRunner().invoke(
        cli, arguments, input=given, env={**environment, "OTJOBS_URL": url or None}, prog_name="otjobs"
    )
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Done(done.exit_code, done.stdout, done.stderr)


def run(*arguments, url="", given="", env=None, seconds=60) -> Done:
    """Run the command as a shell does, in a pipe."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "OTJOBS_"))}
    if url:
        clean["OTJOBS_URL"] = url
    done = subprocess.run(
        [*OTJOBS, *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=seconds,
        env={**clean, **(env or {})},
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def fill(url: str) -> str:
    store = connect(url)
    migrate(store)
    store.insert_spans(list(cli_history.small()))
    store.insert_spans(list(cli_history.big()))
    store.close()
    return url
