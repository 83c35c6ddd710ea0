"""The commands that read, as a shell runs them, on a small history: golden text, JSON shapes, errors."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import cli_history
import pytest
from running import OTJOBS, invoke, run

from otjobs.backend.server import Server
from otjobs.backend.store import connect

GOLDEN = Path(__file__).parent / "golden"
EVER = ("--since", "520w")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

TEXTS = {
    "queues": ("queues", *EVER),
    "types": ("types", *EVER),
    "jobs": ("jobs", *EVER, "--limit", "6", "--queue", "orders"),
    "jobs_failed": ("jobs", *EVER, "--state", "failed"),
    "jobs_longest_waiting": ("jobs", *EVER, "--sort", "wait", "--limit", "2"),
    "workflows": ("workflows", *EVER),
    "workflows_open": ("workflows", *EVER, "--only", "open"),
    "job": ("job", "2"),
    "job_of_two": ("job", "1"),
    "job_many_children": ("job", "big-0", "--limit", "3"),
    "workflow": ("workflow", cli_history.ORDERS),
    "workflow_big": ("workflow", cli_history.BIG, "--limit", "4"),
    "sql": ("sql", "SELECT job_id, labels, started_at FROM jobs WHERE job_id IN ('1', '5') ORDER BY enqueued_at"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_plain_text_is_as_it_was(anywhere, name):
    done = invoke(*TEXTS[name], url=anywhere)
    assert done.status == 0, done.err
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("OTJOBS_WRITE_GOLDEN"):
        golden.write_text(done.out, encoding="utf-8")
    assert done.out == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["queues", "job_of_two", "workflow"])
def test_a_shell_gets_the_same_from_a_folder_without_a_server(folder_url, name):
    done = run(*TEXTS[name], url=folder_url)
    assert (done.status, done.err) == (0, "")
    assert done.out == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


SHAPES = {
    "queues": {
        "system",
        "queue",
        "waiting",
        "overtaken",
        "running",
        "jobs",
        "starts",
        "failed",
        "queue_p50_seconds",
        "queue_p95_seconds",
    },
    "types": {
        *("system", "job_type", "attempts", "succeeded", "retried", "failed"),
        *("run_p50_seconds", "run_p95_seconds", "total_run_seconds"),
    },
    "jobs": {
        *(
            "job_id",
            "system",
            "queue",
            "job_type",
            "state",
            "attempts",
            "enqueued_at",
            "delay_seconds",
            "queue_seconds",
        ),
        *("run_seconds", "error_type", "worker", "workflow_id", "trace_id"),
    },
    "workflows": {
        *("workflow_id", "workflow_type", "trigger", "trigger_name", "started_at", "ended_at", "complete", "jobs"),
        *("open_jobs", "failed_jobs", "attempts", "wall_seconds", "queue_seconds", "run_seconds"),
    },
}


@pytest.mark.parametrize("command", SHAPES)
def test_json_lists_are_arrays_of_objects(embedded_url, command):
    rows = json.loads(invoke(command, *EVER, "--json", url=embedded_url).out)
    assert rows
    for row in rows:
        assert set(row) == SHAPES[command]
        for key, value in row.items():
            if key.endswith("_at"):
                assert value is None or TIME.fullmatch(value), (key, value)
            elif key.endswith("_seconds"):
                assert value is None or type(value) in (int, float), (key, value)
            elif key in ("jobs", "attempts", "failed", "waiting", "overtaken", "open_jobs", "failed_jobs", "starts"):
                assert type(value) is int


def test_json_of_one_job_has_every_column_its_attempts_and_children(embedded_url):
    found = json.loads(invoke("job", "1", "--json", url=embedded_url).out)["jobs"]
    assert [(one["job"]["queue"], one["job"]["workflow_id"]) for one in found] == [
        ("orders", cli_history.ORDERS),
        ("night", cli_history.AGAIN),
        ("orders", cli_history.AGAIN),
    ]
    assert [len(one["attempts"]) for one in found] == [2, 1, 1]
    first = found[0]
    assert first["job"]["queue_seconds"] == 2.0
    assert first["job"]["run_seconds"] == 6.0
    assert first["job"]["enqueued_at"] == "2026-09-21T14:13:20.000000Z"
    assert first["job"]["labels"] == {"tenant": "acme"}
    assert [(a["attempt"], a["outcome"], a["queue_seconds"]) for a in first["attempts"]] == [
        (1, "retry", 2.0),
        (2, "success", 1.0),
    ]
    assert [(c["job_id"], c["state"]) for c in first["children"]] == [("2", "failed"), ("3", "succeeded")]
    assert found[1]["children"] == []


def test_json_of_one_workflow(embedded_url):
    found = json.loads(invoke("workflow", cli_history.ORDERS, "--json", url=embedded_url).out)
    assert set(found) == {"workflow", "jobs", "attempts", "more_jobs"}
    assert (found["workflow"]["complete"], found["workflow"]["wall_seconds"]) == (1, 15.0)
    assert [(job["job_id"], job["parent_id"]) for job in found["jobs"]] == [("1", ""), ("2", "1"), ("3", "1")]
    assert [a["job_id"] for a in found["attempts"]] == ["1", "1", "2", "3"]
    assert found["more_jobs"] == 0


def test_a_workflow_of_thousands_of_jobs_says_how_many_more(embedded_url):
    found = json.loads(invoke("workflow", cli_history.BIG, "--json", "--limit", "10", url=embedded_url).out)
    assert (len(found["jobs"]), found["more_jobs"]) == (10, cli_history.BIG_JOBS - 10)
    whole = invoke("workflow", cli_history.BIG, "--limit", "100000", url=embedded_url)
    assert whole.out.count("bulk.leaf") == cli_history.BIG_JOBS - 1
    assert "more jobs" not in whole.out


def test_the_first_characters_of_an_id_are_enough(embedded_url):
    assert (
        invoke("workflow", "aaaa", *EVER, url=embedded_url).out
        == invoke("workflow", cli_history.ORDERS, url=embedded_url).out
    )
    assert invoke("job", "big-299", *EVER, url=embedded_url).out.startswith("bulk.leaf  big-299\n")  # not big-2990
    assert invoke("job", "big-2998", url=embedded_url).out.startswith("bulk.leaf  big-2998\n")
    done = invoke("job", "big-", *EVER, url=embedded_url)
    assert (done.status, done.out) == (1, "")
    assert done.err == "otjobs: more than one job begins with 'big-': big-0, big-1, big-10, big-100, big-1000, ...\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("job", "nope"),
            "otjobs: there is no job 'nope', and none that begins like that in the time searched (--since); list some with: otjobs jobs",
        ),
        (
            ("workflow", "f00"),
            "otjobs: there is no workflow 'f00', and none that begins like that in the time searched (--since); list some with: otjobs workflows",
        ),
        (
            ("job", ""),
            "otjobs: there is no job '', and none that begins like that in the time searched (--since); list some with: otjobs jobs",
        ),
        (("sql", "--named", "nope"), "otjobs: there is no query named 'nope'; there are: "),
        (("sql", "--named", "jobs", "--param", "colour=red"), "otjobs: query 'jobs' has no parameter colour; it has: "),
        (("sql", "SELECT 1 FORMAT CSV"), "otjobs: the statement names a FORMAT; leave it away and use --format"),
        (("sql", "SELECT * FROM nowhere"), "otjobs: "),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_1(embedded_url, arguments, message):
    done = invoke(*arguments, url=embedded_url)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(message)
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "http://me:secret@127.0.0.1:9/otjobs",
            "no database answers at http://me:***@127.0.0.1:9/otjobs: Connection refused",
        ),
        (
            "ftp://host/x",
            "the database address 'ftp://host/x' begins with none of http://, https:// and chdb://; write --url",
        ),
        ("http://127.0.0.1:9/a-b", "names the database 'a-b', and such a name has letters, digits and _"),
        (
            "http://127.0.0.1:abc/x",
            "has a port that is no number from 1 to 65535; write --url or OTJOBS_URL as http(s)://",
        ),
        (
            "http://127.0.0.1:99999/x",
            "has a port that is no number from 1 to 65535; write --url or OTJOBS_URL as http(s)://",
        ),
        ("http://127.0.0.1:0/x", "has a port that is no number from 1 to 65535"),
        ("http://", "the database address 'http://' names no host; write --url or OTJOBS_URL as http(s)://"),
        ("http://[::1", "cannot be read (Invalid IPv6 URL); write --url or OTJOBS_URL as http(s)://"),
        ("nonsense", "begins with none of http://"),
        (
            "chdb:///no/such/folder",
            "there is no folder /no/such/folder; make one with: otjobs up --data /no/such/folder",
        ),
        ("chdb://", "names no folder"),
    ],
)
def test_an_address_that_does_not_work_is_named_without_its_password(url, message):
    done = invoke("queues", url=url)
    assert (done.status, done.out) == (1, "")
    assert message in done.err
    assert "secret" not in done.err
    assert done.err.count("\n") == 1


def test_the_address_stands_before_or_after_the_command_or_in_the_environment(embedded_url):
    nobody = "http://127.0.0.1:9/x"
    by_environment = invoke("queues", *EVER, url=embedded_url)
    assert invoke("--url", embedded_url, "queues", *EVER, url=nobody).out == by_environment.out != ""
    assert invoke("queues", *EVER, "--url", embedded_url, url=nobody).out == by_environment.out
    assert invoke("--url", nobody, "queues", *EVER, "--url", embedded_url).out == by_environment.out


def test_a_folder_that_is_in_use_is_named(embedded_url):
    store = connect(embedded_url)
    folder = store.query("SELECT path FROM system.disks WHERE name = 'default'").rows[0][0].rstrip("/")
    store.close()
    done = run("queues", url=f"chdb://{folder}")
    assert done.status == 1
    (said,) = done.err.splitlines()
    assert said.startswith("otjobs: cannot open chdb://")
    assert folder in said
    assert "SQL port" in said


def test_nothing_found_is_said_and_is_an_empty_document(embedded_url):
    done = invoke("jobs", "--state", "lost", url=embedded_url)
    assert (done.status, done.out, done.err) == (0, "", "no such jobs in that time\n")
    assert json.loads(invoke("jobs", "--state", "lost", "--json", url=embedded_url).out) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("queues", "--since", "3x"),
        ("jobs", "--state", "asleep"),
        ("jobs", "--limit", "0"),
        ("job",),
        ("nonsense",),
        ("sql", ""),
        ("sql", "SELECT 1", "--named", "jobs"),
        ("sql", "SELECT 1", "--param", "a=b"),
        ("sql", "--named", "jobs", "--param", "ab"),
        ("sql", "SELECT 1;\nSELECT 2;\n", "--json"),
        ("sql", "SELECT 1; SELECT 2", "--json"),
        ("up", "--http-port", "70000"),
    ],
)
def test_wrong_usage_is_status_2(arguments):
    done = invoke(*arguments)
    assert (done.status, done.out) == (2, "")
    assert "Error:" in done.err


def test_sql_from_a_file_in_every_format(embedded_url):
    script = "-- two\nSELECT count() AS n FROM workflows;\nSELECT max(queue) AS q FROM attempts WHERE job_id = '2';\n"
    assert invoke("sql", url=embedded_url, given=script).out == "n\n5\n\nq\nmails\n"
    assert invoke("sql", "--format", "tsv", url=embedded_url, given=script).out == "n\n5\nq\nmails\n"
    one = "SELECT 1 AS a, NULL AS b, toDateTime64('2026-01-01 00:00:00.5', 9, 'UTC') AS c, 18446744073709551615 AS d"
    expected = [{"a": 1, "b": None, "c": "2026-01-01T00:00:00.500000Z", "d": 2**64 - 1}]
    assert json.loads(invoke("sql", one, "--json", url=embedded_url).out) == expected
    assert json.loads(invoke("sql", one, "--format", "json", url=embedded_url).out) == expected


def test_a_statement_without_an_answer_is_done(embedded_url):
    for text in ("CREATE TABLE notes (n Int8) ENGINE = Memory", "INSERT INTO notes VALUES (1), (2)"):
        done = invoke("sql", text, url=embedded_url)
        assert (done.status, done.out, done.err) == (0, "", "done\n")
    assert json.loads(invoke("sql", "DROP TABLE IF EXISTS nothing", "--json", url=embedded_url).out) == []
    asked = "-- how many\n/* two */ (SELECT sum(n) AS total FROM notes)"
    done = invoke("sql", url=embedded_url, given=asked)
    assert (done.out, done.err) == ("total\n    3\n", "")
    assert invoke("sql", "DROP TABLE notes", url=embedded_url).status == 0


def test_named_queries_are_listed_and_invoke(embedded_url):
    listed = json.loads(invoke("sql", "--list", "--json").out)
    assert {"jobs", "failures", "dead_letters"} <= {query["name"] for query in listed}
    assert all(query["summary"] for query in listed)
    text = invoke("sql", "--list").out
    assert "failures: Why jobs failed" in text
    assert "--param seconds=86400  (UInt32)  how far back" in text
    rows = json.loads(
        invoke("sql", "--named", "dead_letters", "--param", "seconds=400000000", "--json", url=embedded_url).out
    )
    assert [(row["job_id"], row["error_type"]) for row in rows] == [("2", "Refused")]


def test_a_closed_pipe_ends_quietly(embedded_url):
    process = subprocess.Popen(
        [*OTJOBS, "workflow", cli_history.BIG, "--limit", "3000", "--url", embedded_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.readline()
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.wait(30)
    process.stderr.close()


def test_ids_and_names_of_any_characters_are_found_and_break_no_line(tmp_path):
    odd = ["a'b\\c", "ü\tx", "%41 {x:String}", "--help", "x" * 300]
    done = (cli_history.T + cli_history.S, 1, {"outcome": "success"})
    with Server(tmp_path / "data") as server:
        url = server.endpoints.url
        store = connect(url)
        for number, job_id in enumerate(odd):
            store.insert_spans(list(cli_history.job(f"{number:032x}", "q'1", "t\n2", job_id, cli_history.T, [done])))
        store.close()
        for number, job_id in enumerate(odd):
            found = json.loads(invoke("job", "--json", "--url", url, "--", job_id).out)["jobs"]
            assert [(one["job"]["job_id"], one["job"]["workflow_id"]) for one in found] == [(job_id, f"{number:032x}")]
        listed = invoke("jobs", *EVER, "--queue", "q'1", "--type", "t\n2", url=url).out.splitlines()
        assert len(listed) == 1 + len(odd)
        assert any(line.endswith("  ü\\tx") for line in listed)
