"""The protocol of every queue library: publications, runs, ends that another process reports, changes to the library.

A library's file says where things are in that library, and calls what is here; what happens with them is said once.
How to write one is in docs/howto/new-integration.md. Nothing here raises into the code around it: what a library's
file reads from its library it hands over as a function, which is called where a fault costs a warning and no job.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.utils import suppress_instrumentation

from otjobs import tracing
from otjobs.execution import running_here
from otjobs.faults import guard
from otjobs.integrations._instrumentor import Instrumentor
from otjobs.integrations._message import CARRIER, UNTRACED, Message, beside_carrier, given_context, put
from otjobs.integrations._publication import Outgoing, Publication, publishing, together, under_way
from otjobs.integrations._run import has_own_thread, is_last, leaving, note_error, observed, running, tell_type
from otjobs.integrations.late import connect, identity_of, wrap, wrap_method
from otjobs.integrations.stock import Stock
from otjobs.job import Job

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "CARRIER",
    "UNTRACED",
    "Instrumentor",
    "Job",
    "Message",
    "Outgoing",
    "Publication",
    "Stock",
    "arguments",
    "before_forks",
    "beside_carrier",
    "connect",
    "given_context",
    "has_own_thread",
    "identity_of",
    "is_last",
    "leaving",
    "note_error",
    "observed",
    "publishing",
    "put",
    "quietly",
    "running",
    "running_here",
    "tell_type",
    "together",
    "under_way",
    "wrap",
    "wrap_method",
]


def quietly(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Keep client instrumentations silent in a worker's own work, such as polling (the wrapper of any function).

    A job that runs inside of it has a context of its own, which is not silenced.
    """
    with suppress_instrumentation():
        return wrapped(*args, **kwargs)


def before_forks(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Make gRPC exporters safe in a process that is about to fork (the wrapper of the start of a forking worker)."""
    with guard("the exporters could not be prepared for forked children"):
        tracing.prepare_to_fork()
    return wrapped(*args, **kwargs)


def arguments(wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by name, those not given with their defaults.

    Raises:
        TypeError: the function cannot be called like that.
    """
    function = getattr(wrapped, "__func__", None)
    if function is None:
        bound = _signature(wrapped).bind(*args, **kwargs)
    else:
        bound = _signature(function).bind(wrapped.__self__, *args, **kwargs)  # type: ignore[attr-defined]
    bound.apply_defaults()
    return bound.arguments


@functools.lru_cache(maxsize=256)
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)
