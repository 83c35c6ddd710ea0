"""The expander against what the plugin was seen to do."""

from __future__ import annotations

import pytest
from macros import ALL, MacroError, Range, expand, expand_alert

R = Range(1_790_000_000_123, 1_790_003_600_456, 30_500)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("$__timeFilter(c)", "c >= toDateTime(1790000000) AND c <= toDateTime(1790003600)"),
        (
            "$__timeFilter_ms(c)",
            "c >= fromUnixTimestamp64Milli(1790000000123) AND c <= fromUnixTimestamp64Milli(1790003600456)",
        ),
        ("$__dateFilter(d)", "d >= toDate('2026-09-21') AND d <= toDate('2026-09-21')"),
        (
            "$__dateTimeFilter(d, c)",
            (
                "(d >= toDate('2026-09-21') AND d <= toDate('2026-09-21')) AND "
                "(c >= toDateTime(1790000000) AND c <= toDateTime(1790003600))"
            ),
        ),
        ("$__timeFrom(c)", "c >= toDateTime(1790000000)"),
        ("$__timeTo(c)", "c <= toDateTime(1790003600)"),
        ("$__fromTime, $__toTime", "toDateTime(1790000000), toDateTime(1790003600)"),
        ("$__fromTime_ms", "fromUnixTimestamp64Milli(1790000000123)"),
        ("$__toTime_ms", "fromUnixTimestamp64Milli(1790003600456)"),
        ("$__timeInterval(c)", "toStartOfInterval(toDateTime(c), INTERVAL 30 second)"),
        ("$__timeInterval_ms(c)", "toStartOfInterval(toDateTime64(c, 3), INTERVAL 30500 millisecond)"),
        ("$__timeGroup(c,5m)", "toStartOfInterval(toDateTime(c), INTERVAL 300 second)"),
        ("$__interval_s", "30"),
        ("$__interval_ms", "30500"),
        ("$__timeFrom(if(a, 'x,)', b))", "if(a, 'x,)', b) >= toDateTime(1790000000)"),
    ],
)
def test_macros(sql, expected):
    assert expand(sql, R) == expected


def test_the_interval_is_at_least_a_second():
    assert expand("$__interval_s", Range(0, 1000, 20)) == "1"


def test_macros_in_text_expand_and_comments_vanish():
    assert expand("SELECT '$__interval_s -- kept' -- $__nothing\n, 1 /* $__x */", R) == (
        f"SELECT '30 -- kept' {' ' * 13}\n, 1 {' ' * 10}"
    )


@pytest.mark.parametrize(
    "sql",
    [
        "$__unknown",
        "$__timeFilter()",
        "$__timeFilter(a, b)",
        "$__timeGroup(ts, '1d')",
        "$__timeInterval($__fromTime)",
        "${nobody}",
        "$nobody",
        "$__lttb(1)",
        "$__timeFilterX(a)",
    ],
)
def test_what_the_plugin_would_not_expand_is_refused(sql):
    with pytest.raises(MacroError):
        expand(sql, R)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", "1=1"),
        (ALL, "1=1"),
        ([ALL], "1=1"),
        (["a"], "queue IN ('a')"),
        (["a", "b'c"], "queue IN ('a','b\\'c')"),
        ("a, (b", "queue IN ('a, (b')"),
    ],
)
def test_a_condition_goes_away_when_all_is_chosen(value, expected):
    assert expand("$__conditionalAll(queue IN (${queue:singlequote}), $queue)", R, {"queue": value}) == expected


def test_conditions_one_after_the_other_and_one_inside_the_other():
    sql = "$__conditionalAll(a = ${a:singlequote}, $a) OR $__conditionalAll(b = $b OR $__conditionalAll(c, $c), ${b})"
    assert expand(sql, R, {"a": "1", "b": "2", "c": ALL}) == "a = '1' OR b = 2 OR 1=1"


@pytest.mark.parametrize(
    "sql",
    ["$__conditionalAll(a, b, $a)", "$__conditionalAll(a = '(', $a)", "$__conditionalAll(a = '$', $a)"],
)
def test_conditions_that_break_in_the_browser_are_refused(sql):
    with pytest.raises(MacroError):
        expand(sql, R, {"a": "1"})


def test_an_unknown_variable_keeps_the_condition():
    assert expand("$__conditionalAll(a = 1, $gone)", R) == "a = 1"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [("$v", "'a','b'"), ("${v}", "'a','b'"), ("${v:raw}", "a,b"), ("${v:singlequote}", "'a','b'"), ("$w", "x")],
)
def test_formats_of_variables(sql, expected):
    assert expand(sql, R, {"v": ["a", "b"], "w": "x"}) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "$__conditionalAll(a, $a)",
        "$__from",
        "$__range_s",
        "$__rate_interval",
        "${queue}",
        "$queue",
        "$__adHocFilters('t')",
    ],
)
def test_what_alerts_do_not_expand_is_refused(sql):
    with pytest.raises(MacroError):
        expand_alert(sql, R)


def test_alerts_expand_the_rest():
    assert expand_alert("$__timeFrom(c)", R) == "c >= toDateTime(1790000000)"
