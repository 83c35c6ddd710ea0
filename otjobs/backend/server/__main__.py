"""The child process of `Server`: arguments as one JSON object in, one JSON line with the outcome out."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otjobs.backend.server.printable import log_to_stderr
from otjobs.backend.server.process import run
from otjobs.errors import OtjobsError

if TYPE_CHECKING:
    from otjobs.backend.server.process import Endpoints


def _say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _ready(endpoints: Endpoints) -> None:
    _say(ready=dataclasses.asdict(endpoints))


def _with_parent() -> threading.Event:
    """Return an event that is set when the process that started this one is gone: nobody else would end it."""
    parent, gone = os.getppid(), threading.Event()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        gone.set()

    threading.Thread(target=watch, name="otjobs-parent", daemon=True).start()
    return gone


def main() -> int:
    """Run the server; return the exit status."""
    log_to_stderr(logging.INFO)
    arguments = json.loads(sys.argv[1])
    try:
        run(Path(arguments.pop("data")), on_ready=_ready, stop=_with_parent(), **arguments)
    except OtjobsError as error:
        _say(error=type(error).__name__, message=str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
