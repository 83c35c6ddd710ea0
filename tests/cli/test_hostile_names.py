"""Every command over names that somebody chose to harm whoever reads them: on a terminal and in a pipe."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import cli_history
import parts
import pytest

from otjobs.backend.cli import app
from otjobs.backend.server import Server
from otjobs.backend.store import connect
from otjobs.backend.store.sql_files import query_names

EVER = ("--since", "520w")
HOSTILE = {
    "escape": "a\x1b[2J\x1b]0;owned\x07b",
    "c1": "a\x9b2J\x9d0;owned\x9cb",
    "bidi": "a\u202egnp.exe\u2066b\u2069\u200f",
    "lines": "a\r\nroot: ok\x0b\x0c\x85\u2028b",
    "hidden": "a\u200b\u2060\ufeff\u00ad\U000e0041b",
    "null": "a\x00\x08\x7fb",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "markup": "[red]a[/red][link=http://evil.test]b[/link][bold",
    "format": "%s%n{0}{name}$(id)`id`",
    "long": "x" * 1020,  # with a digit behind it: the database keeps no longer ones
}
# What rich writes for colours and tables; anything else from an escape on was not ours.
COLOURS = r"\x1b\[[0-9;]*m"
OURS = re.compile(COLOURS)
# A bar that moves is drawn anew in its place.
BAR = re.compile(COLOURS + r"|\x1b\[(?:\?25[lh]|2K|1A)|\r")


def rows():
    """A job, a retry, a child, a failure: each text of theirs is hostile."""
    for number, text in enumerate(HOSTILE.values()):
        trace = f"{number + 1:032x}"
        more = {
            "otjobs.trigger": text,
            "otjobs.trigger.name": text,
            f"otjobs.label.{text}": text,
            "otjobs.worker": text,
        }
        own = {"outcome": "failure", "error": text, "dead_letter": True, "dispatched": 1}
        parent = (text, f"{text}1", 1)
        one = [*cli_history.job(trace, text, text, f"{text}1", cli_history.T, [(cli_history.T, 1, own)], more=more)]
        one += cli_history.job(
            trace,
            text,
            text,
            f"{text}2",
            cli_history.T,
            [(cli_history.T, 1, {"outcome": "success"})],
            parent=parent,
            root=text,
        )
        for row in one:
            changed = list(row)
            changed[5], changed[7] = text, text
            changed[8] = {"service.version": text, "host.name": text}
            changed[11] = {**row[11], "otjobs.job.producer": text}
            yield tuple(changed)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    parts.require("chdb")
    with Server(tmp_path_factory.mktemp("hostile") / "data") as server:
        store = connect(server.endpoints.url)
        store.insert_spans(list(rows()))
        store.close()
        yield server.endpoints.url


COMMANDS = {
    "queues": [("queues", *EVER)],
    "types": [("types", *EVER)],
    "jobs": [("jobs", *EVER)],
    "workflows": [("workflows", *EVER)],
    "job": [("job", "--", f"{text}1") for text in HOSTILE.values() if "\0" not in text],
    "workflow": [("workflow", f"{number + 1:032x}") for number in range(len(HOSTILE))],
    "sql": [("sql", "SELECT * FROM jobs"), ("sql", "SELECT labels, [queue] FROM jobs"), ("sql", f'SELECT 1 AS "{HOSTILE["escape"]}"')],
    "doctor": [("doctor",)],
    "forget": [("forget", "--dry-run", "--label", f"{text}={text}") for text in HOSTILE.values() if "\0" not in text],
    "migrate": [("migrate", "--show")],
    "rebuild": [("rebuild", "--from", "2026-09-20", "--to", "2026-09-22")],
}  # fmt: skip
# Without a name from the database, or not ending by themselves.
NOTHING_FROM_OUTSIDE = {"demo", "up"}
ERRORS = [
    (command, *before, text)
    for text in HOSTILE.values()
    if "\0" not in text
    for command, *before in [("job", "--"), ("workflow", "--"), ("sql", "--named"), ("sql",), ("jobs", "--state"), ("forget", "--label")]
]  # fmt: skip


def environment(url: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "OTJOBS_"))}
    return {**clean, "OTJOBS_URL": url, "TERM": "xterm-256color", "COLUMNS": "160", "PYTHONIOENCODING": "utf-8"}


# Many commands in one process, for a Python start takes a second; each as a shell gives it.
MANY = """
import json, sys
from otjobs.backend.cli import main
for arguments in json.loads(sys.stdin.readline()):
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit:
        pass
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    print("=" * 20, flush=True)
"""


def in_a_pipe(url: str, *commands: tuple[str, ...]) -> list[str]:
    """Run commands in a pipe, and give what each wrote."""
    done = subprocess.run(
        [sys.executable, "-c", MANY],
        input=json.dumps(commands).encode() + b"\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(url),
        timeout=240,
        check=False,
    )
    return parted(done.stdout.decode(), len(commands))


def on_a_terminal(url: str, *commands: tuple[str, ...]) -> list[str]:
    """Run commands with a terminal for their outputs, and give all that reached it from each."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", MANY],
        stdin=subprocess.PIPE,
        stdout=slave,
        stderr=slave,
        env=environment(url),
        close_fds=True,
    )
    os.close(slave)
    process.stdin.write(json.dumps(commands).encode() + b"\n")
    process.stdin.close()
    found = b""
    with contextlib.suppress(OSError):  # how a terminal ends
        while select.select([master], [], [], 240)[0]:
            chunk = os.read(master, 65536)
            if not chunk:
                break
            found += chunk
    os.close(master)
    process.wait(60)
    return parted(found.decode().replace("\r\n", "\n"), len(commands))


def parted(text: str, count: int) -> list[str]:
    assert "Traceback" not in text, text[-3000:]
    found = text.split("=" * 20 + "\n")
    assert len(found) == count + 1
    assert all(part.strip() for part in found[:-1])
    return found[:-1]


def unsafe(text: str, ours: re.Pattern[str] = OURS) -> set[str]:
    """What of a text could steer a terminal, break a line, turn it, or hide."""
    return {char for char in ours.sub("", text) if not char.isprintable()} - {"\n"}


def test_every_command_is_tried():
    assert set(COMMANDS) | NOTHING_FROM_OUTSIDE == set(app.cli.commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_terminal_gets_nothing_but_colours_and_what_can_be_seen(url, name):
    for text in on_a_terminal(url, *COMMANDS[name]):
        assert unsafe(text, BAR if name == "rebuild" else OURS) == set()
    if name in ("queues", "types"):
        for known in ("\\x1b[2J", "\\x9b2J", "\\u202e", "\\u200b", "[red]a[/red]", "<script>"):
            assert known in re.sub(r"\s+", "", OURS.sub("", text)), known


@pytest.mark.parametrize("name", COMMANDS)
def test_a_pipe_gets_lines_of_what_can_be_seen(url, name):
    for text in in_a_pipe(url, *COMMANDS[name]):
        assert "\x1b" not in text
        assert unsafe(text) == set()
    if name == "jobs":
        listed = [line for line in text.splitlines() if "\\x1b[2J" in line or "[red]" in line]
        assert len(listed) == 4  # a job is a line


@pytest.mark.parametrize("where", [on_a_terminal, in_a_pipe])
def test_errors_are_as_safe(url, where):
    for arguments, text in zip(ERRORS, where(url, *ERRORS), strict=True):
        assert unsafe(text) == set(), arguments


@pytest.mark.parametrize("where", [on_a_terminal, in_a_pipe])
def test_json_is_safe_and_loses_nothing(url, where):
    lists = [(name, "--json", *EVER) for name in ("queues", "types", "jobs", "workflows")]
    each = [("workflow", "--json", f"{number + 1:032x}") for number in range(len(HOSTILE))]
    *texts, asked = where(url, *lists, *each, ("sql", "--json", "SELECT DISTINCT queue, labels FROM jobs"))
    for text in (*texts, asked):
        assert unsafe(text) == set()
    for text in texts[:4]:
        names = {row.get("queue") or row.get("job_type") or row.get("workflow_type") for row in json.loads(text)}
        assert names == set(HOSTILE.values())
    assert [json.loads(text)["workflow"]["trigger_name"] for text in texts[4:]] == list(HOSTILE.values())
    assert {row["queue"] for row in json.loads(asked)} == set(HOSTILE.values())
    assert {key for row in json.loads(asked) for key in row["labels"]} >= set(HOSTILE.values())


@pytest.mark.parametrize("form", ["table", "tsv", "json"])
def test_named_queries_are_as_safe(url, form):
    for text in in_a_pipe(url, *(("sql", "--named", name, "--format", form) for name in query_names())):
        assert unsafe(text) - ({"\t"} if form == "tsv" else set()) == set()


def test_clickhouse_reads_tsv_back_as_it_was(url):
    (text,) = in_a_pipe(url, ("sql", "--format", "tsv", "SELECT DISTINCT queue FROM jobs"))
    assert unsafe(text) - {"\t"} == set()
    store = connect(url)
    try:
        given = text.partition("\n")[2]
        quoted = given.replace("\\", "\\\\").replace("'", "\\'")
        back = store.query(f"SELECT * FROM format(TabSeparated, 'queue String', '{quoted}')").rows
    finally:
        store.close()
    assert {row[0] for row in back} == set(HOSTILE.values())


def test_only_one_module_writes():
    """Whoever writes elsewhere passes the one place by."""
    folder = Path(app.__file__).parent
    writing = re.compile(r"click\.echo|click\.secho|\bprint\(|stdout\.write|stderr\.write|Console\(|console\.print")
    found = {file.name for file in folder.glob("*.py") if writing.search(file.read_text())}
    # __init__: before anything is there; up: names its own ports and folder; rebuild: a bar of its own words
    assert found == {"screen.py", "__init__.py", "up.py", "rebuild.py"}
    assert "print(" not in (folder / "rebuild.py").read_text()
    assert sys.modules["otjobs.backend.cli.screen"]
