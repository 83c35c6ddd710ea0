"""SQL as files: read by name, filled in, taken apart; `otjobs/backend/sql/README.md` says what may stand in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from typing import Final

from otjobs.errors import QueryError

_PARAMETER: Final = re.compile(r"^-- param (\w+) (\S+) = (.*?)(?: -- (.*))?$", re.MULTILINE)

_HEADER: Final = re.compile(r"\A(--[^\n]*\n)+")
# Quotes, comments, heredocs, and the semicolons that stand outside of them.
_TOKEN: Final = re.compile(
    r"""'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.)*`|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$|;""",
    re.DOTALL,
)
_FOLD: Final = re.compile(r"\n *--     +")
_NAME: Final = re.compile(r"\{(\w+)\}")
_INCLUDE: Final = re.compile(r"\{include (\w+)(?: (\w+)=((?:[^{}]|\{\w+\})+))?\}")


def read(folder: str, name: str) -> str:
    """Return the text of `otjobs/backend/sql/{folder}/{name}.sql`."""
    return (resources.files("otjobs.backend") / "sql" / folder / f"{name}.sql").read_text(encoding="utf-8")


def part(name: str) -> str:
    """Return `otjobs/backend/sql/parts/{name}.sql`, a piece of SQL that stands inside others, without its header."""
    return _HEADER.sub("", read("parts", name)).strip()


def render(sql: str, /, **names: str) -> str:
    """Return the SQL with `{include PART key=value}` replaced by `otjobs/backend/sql/parts/PART.sql`, then `{name}`.

    A part is text that several views are made of; its value may hold spaces, names and another part. What takes the
    place of a name is not looked at again: it may be a text that somebody else wrote.
    """

    def included(match: re.Match[str]) -> str:
        text = part(match[1])
        return text.replace("{" + match[2] + "}", match[3]) if match[2] else text

    while _INCLUDE.search(sql):  # a value may itself be an include: the innermost first
        sql = _INCLUDE.sub(included, sql)
    return _NAME.sub(lambda match: names.get(match[1], match[0]), sql)


def unfolded(text: str) -> str:
    """Return a text in which a comment that goes on over several lines, five spaces behind the `--`, is one line."""
    return _FOLD.sub(" ", text)


def statements(script: str) -> list[str]:
    """Return the statements of a script: a semicolon ends one, but not inside quotes or comments."""
    found, start = [], 0
    for token in _TOKEN.finditer(script):
        if token[0] == ";":
            found.append(script[start : token.start()])
            start = token.end()
    found.append(script[start:])
    return [text.strip() for text in found if re.sub(r"--[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL).strip()]


def literal(text: str) -> str:
    """Return a text as a string in SQL, with its quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """A query of `sql/queries`: what it answers, its parameters' types, defaults and meanings, its text."""

    name: str
    summary: str
    types: dict[str, str]
    defaults: dict[str, str]
    meanings: dict[str, str]
    sql: str

    def choices(self, name: str) -> list[str]:
        """Return the values that a parameter may have, none where it takes any: its meaning begins with `one of`."""
        listed = self.meanings[name].removeprefix("one of ")
        return listed.split(", ") if listed != self.meanings[name] else []


def query_names() -> list[str]:
    """Return the names of all named queries."""
    folder = resources.files("otjobs.backend") / "sql" / "queries"
    return sorted(entry.name[:-4] for entry in folder.iterdir() if entry.name.endswith(".sql"))


def named_query(name: str) -> NamedQuery:
    """Return a named query.

    Raises:
        QueryError: there is none of that name; the message lists those there are.
    """
    names = query_names()
    if name not in names:
        raise QueryError(f"there is no query named {name!r}; there are: {', '.join(names)}")
    text = read("queries", name)
    about = unfolded(text)
    found = _PARAMETER.findall(about)
    first = about.splitlines()[0].removeprefix("--").strip()
    return NamedQuery(
        name=name,
        summary=first,
        types={key: kind for key, kind, _, _ in found},
        defaults={key: default.strip() for key, _, default, _ in found},
        meanings={key: meaning for key, _, _, meaning in found},
        sql=text,
    )
