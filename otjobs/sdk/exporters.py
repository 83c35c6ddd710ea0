"""The inside of OpenTelemetry's providers, processors and exporters: no other module names their private attributes.

The SDK has no public way to see what waits to be exported, to wake an export or to reconnect. Everything here says in
its own words what the other modules need. Where an SDK has another inside, a property is None or a list is empty, and
whoever asked does without.
"""

from __future__ import annotations

import copy
import functools
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics

from otjobs import threads

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from otjobs.sdk.patches import Patches

_GRPC: Final = "opentelemetry.exporter.otlp.proto.grpc"


# Providers and their processors --------------------------------------------------------------------------------------
def hides(provider: object) -> bool:
    """Tell whether this is the SDK's provider, and yet its processors cannot be found."""
    multi = getattr(provider, "_active_span_processor", None)
    return type(provider).__module__ == "opentelemetry.sdk.trace" and not hasattr(multi, "_span_processors")


def limits_of(tracer: object) -> Any:
    """Return the limits that a tracer's spans have, None where they cannot be found."""
    return getattr(tracer, "_span_limits", None)


def processors_of(processor: Any) -> Callable[[], tuple[Any, ...]]:
    """Return a function that returns the processors to which this one hands spans in order, or it alone."""
    if type(processor).__name__ == "SynchronousMultiSpanProcessor" and hasattr(processor, "_span_processors"):
        return functools.partial(getattr, processor, "_span_processors")
    alone = (processor,)
    return lambda: alone


def ending_of(processor: Any) -> Callable[[Any], None] | None:
    """Return what a processor does just before a span ends; None where it does nothing, as most do."""
    own: Any = getattr(processor, "_on_ending", None)
    nothing = getattr(own, "__qualname__", "") == "SpanProcessor._on_ending"
    return None if nothing else own


def remove_processor(provider: Any, processor: object) -> None:
    """Take a processor out of a provider, for which the SDK has no method; it stays where it cannot be found."""
    multi: Any = getattr(provider, "_active_span_processor", None)
    if not hasattr(multi, "_span_processors"):
        return
    with getattr(multi, "_lock", nullcontext()):
        multi._span_processors = tuple(one for one in multi._span_processors if one is not processor)  # noqa: SLF001


# Batch span processors -----------------------------------------------------------------------------------------------
class Batch:
    """A batch span processor: what waits in it, and where it goes."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self._batch: Any = getattr(processor, "_batch_processor", processor)

    @property
    def exporter(self) -> Any:
        """The exporter, None where it cannot be found."""
        return getattr(self._batch, "_exporter", None) or getattr(self.processor, "span_exporter", None)

    @property
    def queue(self) -> Collection[Any]:
        """The spans that wait."""
        return getattr(self._batch, "_queue", ())

    @property
    def most(self) -> int | None:
        """How many spans may wait, None where that is not known."""
        return getattr(self.queue, "maxlen", None)

    @property
    def delay(self) -> float | None:
        """How many seconds spans wait for others, None where that is not known."""
        found = getattr(self._batch, "_schedule_delay", None)
        return None if found is None else float(found)

    @property
    def native(self) -> bool:
        """Tell whether it was made with locks of the operating system."""
        return threads.is_native(getattr(self._batch, "_export_lock", None))

    def set_delay(self, seconds: float, patches: Patches) -> None:
        """Let spans wait for others that long."""
        patches.replace(self._batch, "_schedule_delay", seconds)

    def wake(self) -> None:
        """Let its thread see a new delay now: it has begun to wait for as long as before."""
        awaken = getattr(self._batch, "_worker_awaken", None)
        if awaken is not None:
            awaken.set()

    def stop(self, seconds: float) -> None:
        """Let its thread send what waits, for that long, and export nothing after that."""
        self._batch.shutdown(timeout_millis=max(0, int(seconds * 1000)))


def batches(provider: object) -> list[Batch]:
    """Return the batch span processors of an SDK provider (none for other providers)."""
    multi = getattr(provider, "_active_span_processor", None)
    found = getattr(multi, "_span_processors", ())
    return [Batch(one) for one in found if type(one).__name__ == "BatchSpanProcessor"]


# Exporters of all signals --------------------------------------------------------------------------------------------
def exporters(provider: object) -> Iterator[Any]:
    """Yield the exporters of this process: of this provider's spans, of metrics, of logs."""
    for batch in batches(provider):
        yield batch.exporter
    readers = getattr(getattr(metrics.get_meter_provider(), "_sdk_config", None), "metric_readers", ())
    for reader in readers:
        yield getattr(reader, "_exporter", None)
    logs = getattr(_logger_provider(), "_multi_log_record_processor", None)
    for processor in getattr(logs, "_log_record_processors", ()):
        yield getattr(getattr(processor, "_batch_processor", processor), "_exporter", None)


def _logger_provider() -> object:
    try:
        from opentelemetry._logs import get_logger_provider  # a package that is not stable yet
    except ImportError:
        return None
    return get_logger_provider()


def give_own_connections(exporter: Any) -> None:
    """Give an exporter over HTTP connections of its own, in place of those that it shares with a parent process."""
    transport = getattr(getattr(exporter, "_client", None), "_transport", None)
    owner: Any = transport if hasattr(transport, "_session") else exporter
    session = getattr(owner, "_session", None)
    if session is None or not hasattr(session, "adapters"):
        return
    fresh = copy.copy(session)
    fresh.adapters = type(session.adapters)((at, copy.copy(one)) for at, one in session.adapters.items())
    owner._session = fresh  # noqa: SLF001


class Grpc:
    """An OTLP exporter over gRPC: its connection, and how it exports."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter

    @property
    def export(self) -> Callable[[Any], Any]:
        """What exports a batch, and returns a result."""
        return self._exporter._export  # type: ignore[no-any-return]  # noqa: SLF001

    def set_export(self, export: Callable[[Any], Any], patches: Patches) -> None:
        """Export by this function from now on; taken back, the exporter connects again where it has to."""
        patches.on_undo(self._connect_again)
        patches.replace(self._exporter, "_export", export)

    @property
    def timeout(self) -> float:
        """The longest that an export takes, in seconds."""
        return float(self._exporter._timeout)  # noqa: SLF001

    @property
    def results(self) -> Any:
        """The results of exports: an enumeration with SUCCESS and FAILURE."""
        return self._exporter._result  # noqa: SLF001

    def connect(self) -> None:
        """Open a connection."""
        self._exporter._initialize_channel_and_stub()  # noqa: SLF001

    def disconnect(self) -> None:
        """Close the connection; there is no gRPC in this exporter then."""
        channel, self._exporter._channel, self._exporter._client = self._exporter._channel, None, None  # noqa: SLF001
        if channel is not None:
            channel.close()

    def _connect_again(self) -> None:
        if self._exporter._client is None:  # noqa: SLF001
            self.connect()

    def change_client(self, change: Callable[[Any, Patches], Any], patches: Patches) -> None:
        """Change the client of this connection and of every later one, once."""
        stub = self._exporter._stub  # noqa: SLF001
        if isinstance(stub, _ChangedStub):
            return
        patches.replace(self._exporter, "_stub", _ChangedStub(stub, change, patches))
        client = self._exporter._client  # noqa: SLF001
        if client is not None:
            change(client, patches)


class _ChangedStub:
    """In place of the class of an exporter's gRPC client."""

    def __init__(self, stub: Callable[[Any], Any], change: Callable[[Any, Patches], Any], patches: Patches) -> None:
        self._stub = stub
        self._change = change
        self._patches = patches

    def __call__(self, channel: Any) -> Any:
        return self._change(self._stub(channel), self._patches)


def grpc_exporters(provider: object) -> Iterator[Grpc]:
    """Yield the exporters that send over gRPC."""
    for exporter in exporters(provider):
        if any(kind.__module__.startswith(_GRPC) for kind in type(exporter).__mro__):
            yield Grpc(exporter)
