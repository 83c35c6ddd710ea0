"""What both OTLP transports do with a request: admit it, decode it, have it stored, answer."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otjobs.backend.server.convert import Converter
from otjobs.backend.server.decode import parse_json, parse_protobuf
from otjobs.backend.server.writer import Admission, BusyError, Writer, brief
from otjobs.faults import warn

if TYPE_CHECKING:
    from collections import Counter

    from otjobs.backend.server.native import Columns

RETRY_SECONDS: Final = 1
BUSY_MESSAGE: Final = "the embedded server cannot keep up; send this again"


class Receiver:
    """Takes decoded-size-bounded requests to the writer.

    Args:
        writer: stores the batches.
        admission: bounds what is inside at one time.
    """

    def __init__(self, writer: Writer, admission: Admission) -> None:
        self.admission = admission
        self._writer = writer
        self._converter = Converter()
        # One thread: decoding holds the interpreter lock, so a second one would only add memory.
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="otjobs-decoder")

    async def export(self, body: bytes, *, is_json: bool = False) -> ExportTraceServiceResponse:
        """Store the spans of a request and return the answer; returns only when they are stored.

        The caller holds the admission for `body`.

        Raises:
            BadRequestError: it cannot be decoded, now or ever.
            BusyError: it could not be stored now.
        """
        loop = asyncio.get_running_loop()
        batch, rejected = await loop.run_in_executor(self._decoder, self._decode, body, is_json)
        try:
            unstorable: Counter[str] = await asyncio.wrap_future(self._writer.store(batch))
        except BusyError:
            raise
        except Exception as error:
            raise BusyError(f"the spans could not be stored: {brief(error)}") from error
        rejected += unstorable
        answer = ExportTraceServiceResponse()
        if rejected:
            reasons = ", ".join(f"{count} x {reason}" for reason, count in sorted(rejected.items()))
            answer.partial_success.rejected_spans = sum(rejected.values())
            answer.partial_success.error_message = reasons
            warn("spans were rejected", reasons, count=sum(rejected.values()))
        return answer

    def _decode(self, body: bytes, is_json: bool) -> tuple[Columns, Counter[str]]:
        request, left_out = parse_json(body) if is_json else parse_protobuf(body)
        batch, rejected = self._converter.convert(request)
        batch.size = len(body)
        batch.singles = lambda: Converter().singles((parse_json if is_json else parse_protobuf)(body)[0])
        return batch, rejected + left_out

    def close(self) -> None:
        """End the decoder thread."""
        self._decoder.shutdown()
