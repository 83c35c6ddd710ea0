"""Texts from outside, before they go to a log, a terminal or a header."""

from __future__ import annotations

import logging
import re
from typing import Final

# Control characters, also those of 8 bits, and what turns or hides text.
_UNPRINTABLE: Final = re.compile(
    r"[^\n\t\x20-\x7e\xa0-\u200a\u2010-\u2027\u202f-\u205f\u2070-\ud7ff\ue000-\ufefe\uff00-\U0010ffff]"
)


def printable(text: str) -> str:
    """Return the text without what a terminal or a reader's eye would obey."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


class PrintableFormatter(logging.Formatter):
    """A formatter for logs that name what came from outside; a line stays what it is, whatever it quotes."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        """Return the message in one line: a second one would look like a record of its own."""
        return super().formatMessage(record).replace("\n", " ")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one text."""
        return printable(super().format(record))


def log_to_stderr(level: int) -> None:
    """Let the server's process log to its standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
