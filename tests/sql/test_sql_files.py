"""The SQL files as text: every file says what it is, every line fits a screen, and what is filled in stays as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otjobs.backend.store.sql_files import literal, render, statements, unfolded

ROOT = Path(__file__).resolve().parents[2]
SQL = ROOT / "otjobs" / "backend" / "sql"
FILES = sorted([*SQL.rglob("*.sql"), *(ROOT / "bench" / "sql").rglob("*.sql")])
TABLE = re.compile(r"((?:^--[^\n]*\n)+)\n?CREATE TABLE IF NOT EXISTS \{database\}\.(\w+)", re.MULTILINE)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_says_what_it_is_and_its_lines_fit(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert re.match(r"-- \S+ \S+", lines[0])
    assert [number for number, line in enumerate(lines, 1) if len(line) > 120] == []


def test_every_table_says_engine_key_and_retention():
    found = {}
    for path in sorted((SQL / "schema").glob("*.sql")):
        text = path.read_text(encoding="utf-8")
        about = {table: comment for comment, table in TABLE.findall(text)}
        assert set(about) == set(re.findall(r"CREATE TABLE IF NOT EXISTS \{database\}\.(\w+)", text))
        found |= about
    assert {"otel_traces", "attempt_states", "minute_rows"} <= set(found)
    for word in ("Engine", "key", "etention"):
        assert [table for table, comment in found.items() if word not in comment.replace("Key", "key")] == []


def test_the_page_about_the_files_names_every_folder():
    page = (SQL / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert {entry.name for entry in SQL.iterdir() if entry.is_dir()} <= listed


def test_what_is_filled_in_is_not_looked_at_again():
    sql = "SELECT {a}, {b}, {c:String}"
    assert (
        render(sql, a=literal("{b} {include bounded_text}"), b="2")
        == "SELECT '{b} {include bounded_text}', 2, {c:String}"
    )


def test_a_part_takes_names_and_another_part():
    inner = render("{include dirty_workflows until={now}}", database="d", now="now64(3)")
    assert "now64(3)" in inner
    assert "{" not in inner
    nested = render(
        "{include stored_minutes dirty=({include dirty_workflows until={now}})}", database="d", now="now64(3)"
    )
    assert inner.strip() in nested


def test_a_text_with_quotes_and_semicolons_stays_one_text():
    text = "it's; \\ a\n;\nb"
    assert literal(text) == "'it\\'s; \\\\ a\n;\nb'"
    assert statements(f"SELECT {literal(text)};\nSELECT 2;\n") == [f"SELECT {literal(text)}", "SELECT 2"]


def test_a_long_comment_goes_on_in_the_next_line():
    assert unfolded("a, -- one\n    --     two\n-- three\n") == "a, -- one two\n-- three\n"
