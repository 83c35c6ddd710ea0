"""What Grafana and its ClickHouse plugin (4.20) make of the SQL of a panel or an alert, without Grafana.

Two passes, as there: the browser's (`$__conditionalAll`, variables; dashboards only) and the backend's (the macros).
Ad hoc filters and the statement macros of newer plugins are not among them: whatever stays unexpanded is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ALL = "$__all"
BROWSER_ONLY = re.compile(r"\$__(conditionalAll|adHocFilters|from|to|range\w*|rate_interval)\b|\$\{(?!\w*\()")


class MacroError(Exception):
    """The SQL cannot work in Grafana."""


Variables: TypeAlias = "Mapping[str, str | list[str]]"
"""The value of each variable, or its values."""


@dataclass(frozen=True)
class Range:
    """A time range in unix milliseconds, and the interval of a panel in milliseconds."""

    start_ms: int
    end_ms: int
    interval_ms: int = 60_000


def expand(sql: str, time_range: Range, variables: Variables | None = None) -> str:
    """Return the SQL that ClickHouse gets from a dashboard; `variables` has a str or a list of str for each name."""
    return backend(browser(sql, variables or {}, time_range), time_range)


def expand_alert(sql: str, time_range: Range) -> str:
    """Return the SQL that ClickHouse gets from an alert rule: there is no browser and there are no variables."""
    if found := BROWSER_ONLY.search(sql):
        raise MacroError(f"{found[0]} is not expanded in alerts")
    return backend(sql, time_range)


# The browser's pass


def browser(sql: str, variables: Variables, time_range: Range) -> str:
    """Expand `$__conditionalAll`, then the variables."""
    return _variables(_conditional_all(sql, variables), variables, time_range)


def _conditional_all(sql: str, variables: Variables) -> str:
    macro = "$__conditionalAll("
    while (begin := sql.rfind(macro)) != -1:
        arguments, end = _plain_arguments(sql, begin + len(macro))
        if len(arguments) != 2:
            # The plugin stops here and leaves the rest unexpanded.
            raise MacroError(f"$__conditionalAll takes two arguments, not {len(arguments)}: {sql[begin:end]}")
        phrase, reference = arguments
        # The plugin puts the phrase in with JavaScript's replace(), where these mean something.
        if re.search(r"\$[$&`']", phrase):
            raise MacroError(f"$$, $&, $` and $' do not survive in $__conditionalAll: {phrase}")
        name = re.search(r"(?<=\$\{)\w+(?=\})|(?<=\$)\w+", reference.strip())
        value = variables.get(name[0]) if name else None
        text = ",".join(value) if isinstance(value, list) else value
        sql = sql[:begin] + ("1=1" if text in ("", ALL) else phrase) + sql[end:]
    return sql


def _plain_arguments(sql: str, begin: int) -> tuple[list[str], int]:
    """Split at commas outside inner parentheses, without regard to quotes; return the parts and the end."""
    parts, depth, last = [], 1, begin
    for at in range(begin, len(sql)):
        character = sql[at]
        depth += {"(": 1, ")": -1}.get(character, 0)
        if (character == "," and depth == 1) or depth == 0:
            parts.append(sql[last:at])
            last = at + 1
        if depth == 0:
            return parts, at + 1
    raise MacroError("a parenthesis of $__conditionalAll is not closed")


def _variables(sql: str, variables: Variables, time_range: Range) -> str:
    known = {
        **variables,
        "__from": str(time_range.start_ms),
        "__to": str(time_range.end_ms),
        "__interval_ms": str(time_range.interval_ms),
    }

    def value(found: re.Match[str]) -> str:
        name, form = found["braced"] or found["plain"], found["format"]
        if name not in known:
            return found[0]
        return _formatted(known[name], form)

    return re.sub(r"\$\{(?P<braced>\w+)(?::(?P<format>\w+))?\}|\$(?P<plain>\w+)", value, sql)


def _formatted(value: str | list[str], form: str | None) -> str:
    several = isinstance(value, list)
    parts = value if isinstance(value, list) else [value]
    if form == "singlequote":
        return ",".join("'" + part.replace("'", "\\'") + "'" for part in parts)
    if form == "raw" or (form is None and not several):
        return ",".join(parts)
    if form is None:  # the plugin's own default
        return "'" + "','".join(parts) + "'"
    raise MacroError(f"this expander does not know the format :{form}")


# The backend's pass


def backend(sql: str, time_range: Range) -> str:
    """Blank comments and expand the macros; refuse what would be left."""
    text, begin = _without_comments(sql), 0
    made = []
    for found in re.finditer(r"\$__(\w+)", text):
        if found.start() < begin:
            continue
        name, end = found[1], found.end()
        if name not in _MACROS:
            raise MacroError(f"the plugin does not know $__{name}")
        arguments: list[str] = []
        if end < len(text) and text[end] == "(" and _MACROS[name][0]:
            arguments, end = _arguments(text, end + 1)
        count, expansion = _MACROS[name]
        if len(arguments) != count:
            raise MacroError(
                f"unexpected number of arguments: $__{name} expected {count} argument(s), received {len(arguments)}"
            )
        if any("$__" in argument for argument in arguments):
            raise MacroError(f"a macro inside the arguments of $__{name}: not every version expands it")
        made += [text[begin : found.start()], expansion(time_range, *arguments)]
        begin = end
    done = "".join([*made, text[begin:]])
    if left := re.search(r"\$\{?\w+", done):
        raise MacroError(f"{left[0]} is left: no such variable")
    return done


def _scan(text: str, begin: int = 0) -> Iterator[tuple[int, str, bool]]:
    """Give (position, character, whether it is inside quotes), skipping over quoted regions as one would read them."""
    quote = ""
    at = begin
    while at < len(text):
        character = text[at]
        if quote:
            yield at, character, True
            if character == "\\":
                at += 1
                if at < len(text):
                    yield at, text[at], True
            elif character == quote:
                quote = ""
        else:
            if character in "'\"":
                quote = character
            yield at, character, bool(quote)
        at += 1


def _without_comments(text: str) -> str:
    out = list(text)
    until = 0
    for at, _, quoted in _scan(text):
        if at < until or quoted:
            continue
        if text.startswith("--", at):
            until = text.find("\n", at)
        elif text.startswith("/*", at):
            until = text.find("*/", at) + 2
        else:
            continue
        until = len(text) if until < at + 2 else until
        if "'" in text[at:until] or '"' in text[at:until]:
            raise MacroError("a quote inside a comment: put it elsewhere")
        out[at:until] = " " * (until - at)
    return "".join(out)


def _arguments(text: str, begin: int) -> tuple[list[str], int]:
    """Split at commas outside parentheses and quotes; return the parts, stripped, and the end."""
    parts, depth, last = [], 1, begin
    for at, character, quoted in _scan(text, begin):
        if quoted:
            continue
        depth += {"(": 1, ")": -1}.get(character, 0)
        if (character == "," and depth == 1) or depth == 0:
            parts.append(text[last:at].strip())
            last = at + 1
        if depth == 0:
            return [part for part in parts if part] if parts == [""] else parts, at + 1
    raise MacroError("a parenthesis is not closed")


def _seconds(ms: int) -> int:
    return ms // 1000


def _day(ms: int) -> str:
    return datetime.fromtimestamp(_seconds(ms), UTC).strftime("%Y-%m-%d")


def _time_filter(r: Range, c: str) -> str:
    return f"{c} >= toDateTime({_seconds(r.start_ms)}) AND {c} <= toDateTime({_seconds(r.end_ms)})"


def _date_filter(r: Range, d: str) -> str:
    return f"{d} >= toDate('{_day(r.start_ms)}') AND {d} <= toDate('{_day(r.end_ms)}')"


def _date_time_filter(r: Range, d: str, c: str) -> str:
    return f"({_date_filter(r, d)}) AND ({_time_filter(r, c)})"


def _group(r: Range, c: str, period: str) -> str:
    """A period is a Go duration: hours, minutes, seconds; there is no day."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", period.strip("'\""))
    if not found or not any(found.groups()):
        raise MacroError(f"{period} is no duration of hours, minutes or seconds")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return f"toStartOfInterval(toDateTime({c}), INTERVAL {hours * 3600 + minutes * 60 + seconds} second)"


def _whole(r: Range) -> int:
    return max(1, r.interval_ms // 1000)


def _ms(bound: Callable[[Range], int]) -> Callable[[Range], str]:
    return lambda r: f"fromUnixTimestamp64Milli({bound(r)})"


# name: (number of arguments, expansion)
_MACROS: dict[str, tuple[int, Callable[..., str]]] = {
    "timeFilter": (1, _time_filter),
    "timeFilter_ms": (
        1,
        lambda r, c: f"{c} >= fromUnixTimestamp64Milli({r.start_ms}) AND {c} <= fromUnixTimestamp64Milli({r.end_ms})",
    ),
    "dateFilter": (1, _date_filter),
    "dateTimeFilter": (2, _date_time_filter),
    "dt": (2, _date_time_filter),
    "timeFrom": (1, lambda r, c: f"{c} >= toDateTime({_seconds(r.start_ms)})"),
    "timeTo": (1, lambda r, c: f"{c} <= toDateTime({_seconds(r.end_ms)})"),
    "fromTime": (0, lambda r: f"toDateTime({_seconds(r.start_ms)})"),
    "toTime": (0, lambda r: f"toDateTime({_seconds(r.end_ms)})"),
    "fromTime_ms": (0, _ms(lambda r: r.start_ms)),
    "toTime_ms": (0, _ms(lambda r: r.end_ms)),
    "timeInterval": (1, lambda r, c: f"toStartOfInterval(toDateTime({c}), INTERVAL {_whole(r)} second)"),
    "timeInterval_ms": (
        1,
        lambda r, c: f"toStartOfInterval(toDateTime64({c}, 3), INTERVAL {max(1, r.interval_ms)} millisecond)",
    ),
    "timeGroup": (2, _group),
    "interval_s": (0, lambda r: str(_whole(r))),
    "interval_ms": (0, lambda r: str(r.interval_ms)),
}
