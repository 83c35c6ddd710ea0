"""The `otjobs` command; each module is one group of subcommands."""

from __future__ import annotations

import sys

_USED = ("click", "rich")


def main() -> int:
    """Run the command line; without the extra `cli`, say how to get it (exit status 2)."""
    try:
        from otjobs.backend.cli.app import cli
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _USED:
            raise
        print(f"otjobs: {missing} is not installed; install it with: pip install 'otjobs[cli]'", file=sys.stderr)
        return 2
    cli(prog_name="otjobs")
    return 0
