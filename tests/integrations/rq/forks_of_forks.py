"""A process that forks, as a pool of workers does; its child exports a span and forks as well, as a worker does."""

from __future__ import annotations

import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otjobs.sdk import grpc_forks

exporter = OTLPSpanExporter(insecure=True)
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(exporter))
trace.set_tracer_provider(provider)
grpc_forks.keep_out(provider)
worker = os.fork()
if worker == 0:
    grpc_forks.keep_out(provider)
    provider.get_tracer("t").start_span("of the worker").end()
    provider.force_flush()
    print("connected" if exporter._channel is not None else "not connected", flush=True)
    os._exit(0)
os.waitpid(worker, 0)
