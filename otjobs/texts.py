"""Text that every exporter, database and payload can take.

Python strings may hold lone surrogates (`os.fsdecode` file names, emoji cut in half), which have no UTF-8 form: one of
them in a span used to cost the whole batch it was exported with.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any, Final

MAX_TEXT: Final = 1024
"""Characters of one text of a job: type, id, queue, trigger name, ..."""

_DIGEST: Final = 16


def mended(text: str) -> str:
    r"""Return the text with lone surrogates written as `\udc..`, so that texts which differ still differ."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # Two halves of one character that were only written apart become that character again.
        whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return whole.encode(errors="backslashreplace").decode()
    return text


def bounded(text: str, most: int = MAX_TEXT) -> str:
    """Return the text, mended and cut to that many characters; what is cut ends in a digest, so that ids still differ.

    The digest is that of the first million characters: a longer text costs no more.
    """
    if len(text) > most:
        digest = hashlib.sha256(text[:1_000_000].encode(errors="surrogatepass")).hexdigest()[:_DIGEST]
        text = f"{text[: most - _DIGEST - 1]}~{digest}"
    mend = mended(text)
    # Escapes are longer than what they stand for.
    return mend if len(mend) <= most else bounded(mend, most)


def shown(value: Any, most: int = 200) -> str:
    """Return what a log line says about a value: its text if it is a plain one, else its type; one line, never long."""
    kind = type(value)
    if kind is str:
        found: str = value[:most]
    elif kind is bytes:
        found = repr(value[:most])
    elif kind in (bool, float, type(None)) or (kind is int and value.bit_length() <= 64):
        found = str(value)
    else:
        found = "a value of another type"
        with suppress(Exception):  # a class may answer anything, when asked for its name
            found = f"{kind.__module__}.{kind.__qualname__}"[:most]
    return found if found.isprintable() else repr(found)[1:-1]


def described(error: BaseException, most: int = 500) -> str:
    """Return what a log line says about an exception; its own texts may be of any length, or raise."""
    found = shown(error)
    with suppress(Exception):
        found = str.__str__(repr(error))[:most]
    return found if found.isprintable() else repr(found)[1:-1]
