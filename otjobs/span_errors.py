"""How an exception is told on a span."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import Status, StatusCode

from otjobs import given
from otjobs.config import settings
from otjobs.faults import guard
from otjobs.texts import bounded, mended

if TYPE_CHECKING:
    from opentelemetry.trace import Span

MAX_MESSAGE: Final = 4096
MAX_STACK: Final = 32_768
MAX_FRAMES: Final = 100


def error_of(error: object) -> tuple[BaseException | None, str]:
    """Return the exception, where it is one, and its class's name; an exception class and a text count as reasons."""
    if error is None:
        return None, ""
    if isinstance(error, BaseException):
        return error, _name_of(type(error))
    if type(error) is type and issubclass(error, BaseException):
        return None, _name_of(error)
    return None, given.text(error, "error") or "Error"


def _name_of(kind: type) -> str:
    with guard("the class of an exception has no name"):
        return kind.__name__
    return "Error"


def record_error(span: Span, error_type: str, error: BaseException | None, *, expected: bool) -> None:
    """Put an exception on a span as far as the settings allow, and its status unless it was expected."""
    how = settings().exceptions
    message = None
    event: dict[str, str] = {}
    if error is not None and how != "type":
        with guard("an exception could not be put into words"):
            message = mended(str(error)[:MAX_MESSAGE])
            event = {"exception.type": bounded(error_type), "exception.message": message}
    if error is not None and how == "stack":
        with guard("the stack of an exception could not be put into words"):
            kind = type(error)
            where = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
            event["exception.type"] = bounded(f"{where}{kind.__qualname__}")
            stack = "".join(traceback.format_exception(error, limit=MAX_FRAMES))
            event["exception.stacktrace"] = mended(stack[:MAX_STACK])
    if not expected:
        span.set_status(Status(StatusCode.ERROR, message))
    if event:
        span.add_event("exception", event)


def is_cancellation(error: BaseException | None) -> bool:
    """Tell whether the exception is an asynchronous framework's cancellation."""
    with guard("the class of an exception cannot be looked at"):
        return error is not None and any(c.__name__ == "CancelledError" for c in type(error).__mro__)
    return False
