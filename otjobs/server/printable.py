"""Texts from outside, before they go to a log, a terminal or a header."""

from __future__ import annotations

import re
from typing import Final

# Control characters, also those of 8 bits, and what turns or hides text.
_UNPRINTABLE: Final = re.compile(
    r"[^\n\t\x20-\x7e\xa0-\u200a\u2010-\u2027\u202f-\u205f\u2070-\ud7ff\ue000-\ufefe\uff00-\U0010ffff]"
)


def printable(text: str) -> str:
    """Return the text without what a terminal or a reader's eye would obey."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
