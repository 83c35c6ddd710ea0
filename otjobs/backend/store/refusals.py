"""What a database or the network said, as errors of otjobs: in one line, with the way out."""

from __future__ import annotations

import re
from typing import Final

from otjobs.backend.store.address import FORM
from otjobs.errors import AccountError, QueryError, RightsError, StoreError, StoreUnreachableError

# ALL_CONNECTION_TRIES_FAILED, and where ClickHouse tried.
_NO_SHARD: Final = "Code: 279."
_PLACE: Final = re.compile(r"\(([\w.\-\[\]:]+:\d+)[,)]")
_CODE: Final = re.compile(r"\bCode: (\d+)\.")
_WRAPPING: Final = re.compile(
    r"^.*?(?:Code: \d+\. DB::Exception: )+|^Received ClickHouse exception, code: \d+, server response: "
)
_TRAILING: Final = re.compile(r"(?:\s*\((?:version [^()]*|for url [^()]*)\)|(?<=[.:]) \.(?= \())+")
_WRONG_ACCOUNT: Final = frozenset(
    {192, 193, 194, 516}
)  # unknown user, wrong password, no password, authentication failed
_NO_RIGHT: Final = frozenset({164, 497})  # read only, access denied
_BAD_PARAMETER: Final = frozenset({27, 32, 457})


def query_error(error: BaseException, url: str) -> StoreError:
    """Return the error for a refused statement or connection; `url` is shown and has no password."""
    if _NO_SHARD in str(error):
        return StoreUnreachableError(_shard_away(error))
    return _refused(error, url)


def connection_error(error: BaseException, url: str) -> StoreError:
    """Return the error for a connection that could not be made; `url` is shown and has no password."""
    if url.startswith("chdb:"):
        return StoreUnreachableError(f"cannot open {url}: {_said(error)}")
    if _CODE.search(str(error)):  # somebody answers
        return _refused(error, url)
    return unreachable(error, url)


def unreachable(error: BaseException, url: str) -> StoreError:
    """Return the error where nobody answers."""
    return StoreUnreachableError(
        f"no database answers at {url}: {_reason(error)}; start one with `otjobs up`, or set OTJOBS_URL"
    )


def _refused(error: BaseException, url: str) -> QueryError | AccountError:
    """Return the error that names what ClickHouse refused, and the way out."""
    text = _said(error)
    found = _CODE.search(str(error))
    code = int(found[1]) if found else 0
    if code in _WRONG_ACCOUNT:
        return AccountError(f"the account of {url} is refused: {text}; write it as {FORM}, in --url or OTJOBS_URL")
    if code in _NO_RIGHT:
        return RightsError(f"{text}; use an account that may, in --url or OTJOBS_URL")
    if code in _BAD_PARAMETER and "query parameter" in text:
        return QueryError(f"{text}; what each parameter takes: otjobs sql --list")
    return QueryError(text)


def _said(error: BaseException) -> str:
    """Return what ClickHouse itself said, without what its client and its HTTP port put around it."""
    lines = str(error).strip().split("\n")
    text = _WRAPPING.sub("", next((line for line in lines if "DB::Exception" in line), lines[0]))
    return _TRAILING.sub("", text)[:2000] or type(error).__name__


def _shard_away(error: BaseException) -> str:
    place = _PLACE.search(str(error))
    return (
        f"a shard of the cluster does not answer{f' at {place[1]}' if place else ''}, so there are no figures now; "
        "start it, or ask for those of the others alone with SETTINGS skip_unavailable_shards = 1"
    )


def _reason(error: BaseException) -> str:
    """Return what the system said, where a connection failed, without the HTTP library's wrapping."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return _said(error)
