"""Pure logic: how values are written, bars, trees, and drawing on a terminal."""

from __future__ import annotations

import io
import math
import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from otjobs.backend.cli import format as fmt
from otjobs.backend.cli import timeline
from otjobs.backend.cli.screen import Column, Screen
from otjobs.backend.cli.timeline import DELAY, EMPTY, FAILED, RUN, WAIT, Scale

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)


def at(seconds):
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (math.nan, "-"),
        (0, "0s"),
        (0.00042, "420us"),
        (0.000999, "999us"),
        (0.0009999, "1ms"),
        (0.0174, "17.4ms"),
        (0.9994, "999ms"),
        (0.9999, "1.00s"),
        (1.234, "1.23s"),
        (59.994, "59.99s"),
        (59.999, "1m00s"),
        (125, "2m05s"),
        (3599.6, "1h00m"),
        (12_000, "3h20m"),
        (352_800, "4d02h"),
    ],
)
def test_durations(seconds, text):
    assert fmt.duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86_400), ("1W", 604_800), ("1.5h", 5400)],
)
def test_ages(text, seconds):
    assert fmt.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "h", "-5m", "3x", "1e9", "9999w", "1 h"])
def test_what_is_no_age(text):
    with pytest.raises(ValueError):
        fmt.seconds_of(text)


def test_json_has_numbers_as_numbers_and_times_in_utc():
    berlin = timezone(timedelta(hours=1))
    given = {
        "time": NOW.astimezone(berlin),
        "naive": NOW.replace(tzinfo=None),
        "big": 2**64 - 1,
        "nan": math.nan,
        "none": None,
        "decimal": [Decimal(2), Decimal("2.5")],
        "map": {"a": (1, 2)},
        "uuid": UUID(int=1),
        "bytes": b"x\xff",
    }
    assert fmt.plain(given) == {
        "time": "2026-01-02T03:04:05.678901Z",
        "naive": "2026-01-02T03:04:05.678901Z",
        "big": 2**64 - 1,
        "nan": None,
        "none": None,
        "decimal": [2, 2.5],
        "map": {"a": [1, 2]},
        "uuid": "00000000-0000-0000-0000-000000000001",
        "bytes": "x�",
    }


def test_text_cannot_break_a_line_or_move_the_cursor():
    assert fmt.written("a\nb\x1b[2J") == "a\\nb\\x1b[2J"
    assert fmt.tsv("a\tb\\\n") == "a\\tb\\\\\\n"
    assert [fmt.tsv(v) for v in (None, 1, 1.5, True, NOW, {"a": 1})] == [
        *("\\N", "1", "1.5", "true", "2026-01-02T03:04:05.678901Z", '{"a": 1}')
    ]


def test_a_bar_shows_delay_wait_and_run_and_loses_nothing_short():
    scale = Scale(at(0), at(10), 10)
    assert (
        scale.bar([(DELAY, at(0), at(2)), (WAIT, at(2), at(5)), (RUN, at(5), at(10))])
        == [DELAY] * 2 + [WAIT] * 3 + [RUN] * 5
    )
    assert scale.bar([(RUN, at(3), at(3))]) == [EMPTY] * 3 + [RUN] + [EMPTY] * 6
    assert scale.bar([(RUN, at(10), at(10))])[-1] == RUN
    assert scale.bar([(FAILED, at(5), at(5.01)), (RUN, at(0), at(10))]) == [RUN] * 5 + [FAILED] + [RUN] * 4
    # clock skew: an end before its start, and what lies outside
    assert scale.bar([(RUN, at(5), at(4)), (WAIT, at(2), at(2))]) == [EMPTY] * 10
    assert scale.bar([(RUN, at(-5), at(20))]) == [RUN] * 10
    assert Scale(at(0), at(0), 3).bar([(RUN, at(0), at(0))]) == [RUN, EMPTY, EMPTY]


def row(job_id, parent_id="", job_type="t", parent_type="t"):
    return {
        "job_id": job_id,
        "job_type": job_type,
        "parent_id": parent_id,
        "parent_type": parent_type if parent_id else "",
    }


def shape(rows):
    return [(leaf.row["job_id"], len(leaf.more) - 1) for leaf in timeline.tree(rows)]


def test_a_tree_keeps_the_order_of_rows_and_puts_each_job_below_its_parent():
    rows = [row("1"), row("2", "1"), row("3"), row("4", "2"), row("5", "1"), row("6", "gone")]
    assert shape(rows) == [("1", 0), ("2", 1), ("4", 2), ("5", 1), ("3", 0), ("6", 0)]
    assert [leaf.more for leaf in timeline.tree(rows)][:4] == [
        (True,),
        (True, True),
        (True, True, False),
        (True, False),
    ]


def test_a_tree_tells_equal_ids_of_two_types_apart():
    rows = [row("1", job_type="a"), row("1", job_type="b"), row("2", "1", parent_type="b")]
    assert shape(rows) == [("1", 0), ("1", 0), ("2", 1)]
    assert shape([row("1", job_type="a"), row("2", "1", parent_type="b"), row("1", job_type="b")])[-1] == ("2", 1)


def test_a_tree_survives_circles_and_any_depth():
    assert sorted(shape([row("1", "2"), row("2", "1"), row("3", "3")])) == [("1", 0), ("2", 1), ("3", 0)]
    deep = [row("0"), *(row(str(i), str(i - 1)) for i in range(1, 3000))]
    assert shape(deep)[-1] == ("2999", 2999)


COLUMNS = (
    Column("leaf", "JOB", "tree"),
    Column("n", "N", "count"),
    Column("bar", "TIMELINE", "bar"),
    Column("id", "ID"),
)


def rows_of_a_tree():
    leaves = timeline.tree([row("1", job_type="ördnung"), row("2", "1"), row("3", "2"), row("4", "1")])
    return [{"leaf": leaf, "n": 10**n, "bar": [WAIT, RUN], "id": "x" * 40} for n, leaf in enumerate(leaves)]


def test_a_pipe_gets_aligned_text_without_frames_or_cuts():
    out = io.StringIO()
    Screen(out).table(COLUMNS, rows_of_a_tree())
    assert out.getvalue().splitlines() == [
        "JOB         N  TIMELINE  ID",
        f"ördnung     1  |-#|      {'x' * 40}",
        f"  t        10  |-#|      {'x' * 40}",
        f"    t     100  |-#|      {'x' * 40}",
        f"  t      1000  |-#|      {'x' * 40}",
    ]


def test_a_terminal_gets_branches_blocks_and_colours():
    out = io.StringIO()
    screen = Screen(out, terminal=True, width=80)
    screen.table(COLUMNS, rows_of_a_tree())
    screen.pairs([("state", "failed"), ("nothing", "-")])
    drawn = out.getvalue()
    assert "\x1b[" in drawn
    assert "░" in drawn
    assert "█" in drawn
    assert "├─ t" in drawn
    assert "│  └─ t" in drawn
    assert drawn.count("x" * 40) == 4
    assert "nothing" not in drawn


def test_a_narrow_terminal_folds_ids_instead_of_cutting_them():
    out = io.StringIO()
    Screen(out, terminal=True, width=40).table((Column("id", "ID", "id"),), [{"id": "0123456789" * 6}])
    assert out.getvalue().count("9") == 6
    assert "…" not in out.getvalue()


def test_a_terminal_that_knows_no_blocks_gets_ascii():
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    screen = Screen(out, terminal=True, width=80)
    screen.table(COLUMNS[:3], [{**r, "leaf": timeline.tree([row("1")])[0]} for r in rows_of_a_tree()[:1]])
    screen.line(screen.legend())
    out.flush()
    assert b"-" in out.buffer.getvalue()
    assert b"#" in out.buffer.getvalue()


def test_a_narrow_terminal_gets_short_times_and_ids_and_no_spare_columns():
    columns = (
        Column("at", "STARTED", "time"),
        Column("system", "SYSTEM", spare=True),
        Column("type", "TYPE"),
        Column("worker", "WORKER", spare=True),
        Column("id", "ID", "id"),
    )
    given = {
        "at": NOW,
        "system": "celery",
        "type": "shop.order",
        "worker": "w1@box",
        "id": "0ba18ed6-0732-4000-9600-3c3326121352",
    }

    def drawn(width, **more):
        out = io.StringIO()
        screen = Screen(out, terminal=True, width=width)
        screen.table(columns, [{**given, **more}])
        return [re.sub(r"\x1b\[[0-9;]*m", "", line).split() for line in out.getvalue().splitlines()]

    whole = ["2026-01-02T03:04:05.678Z", "celery", "shop.order", "w1@box", given["id"]]
    assert drawn(120) == [["STARTED", "SYSTEM", "TYPE", "WORKER", "ID"], whole]
    assert drawn(60)[1] == ["01-02", "03:04:05", "celery", "shop.order", "w1@box", "0ba18ed6"]
    assert drawn(45) == [["STARTED", "SYSTEM", "TYPE", "ID"], ["01-02", "03:04:05", "celery", "shop.order", "0ba18ed6"]]
    assert drawn(40)[0] == ["STARTED", "TYPE", "ID"]
    # an id that a person chose is not a random one: its beginning may say nothing
    assert drawn(40, id="order-12345")[1][-1] == "order-12345"
