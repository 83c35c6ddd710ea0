"""Collectors that are slow, that hang and that refuse, over OTLP/HTTP and gRPC."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from concurrent import futures

import grpc
import parts
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from otlp_receiver import Receiver

HTTP, GRPC = "http/protobuf", "grpc"
HOW = ("slow", "hangs", "refuses")
SLOW_SECONDS = 0.2


@contextlib.contextmanager
def grpc_port(take=lambda body: None, metrics=lambda: None):
    """The URL of a gRPC port whose trace requests go to `take`."""

    class Traces(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request, context):
            take(request.SerializeToString())
            return trace_service_pb2.ExportTraceServiceResponse()

    class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
        def Export(self, request, context):
            metrics()
            return metrics_service_pb2.ExportMetricsServiceResponse()

    class Logs(logs_service_pb2_grpc.LogsServiceServicer):
        def Export(self, request, context):
            return logs_service_pb2.ExportLogsServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(8))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(Logs(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop(0).wait(5)


@contextlib.contextmanager
def away(how, protocol, collector):
    """The URL of a collector that is away in this way; a slow one gives its spans to `collector`."""
    if how == "refuses":
        yield f"http://127.0.0.1:{parts.free_port()}"
    elif protocol == GRPC:
        closed = threading.Event()

        def take(body):
            if how == "hangs":
                closed.wait(300)
            else:
                time.sleep(SLOW_SECONDS)
                collector.take(body)

        with grpc_port(take) as url:
            yield url
            closed.set()
    elif how == "hangs":
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(512)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    else:
        slow = Receiver(take=collector.take, delay=SLOW_SECONDS)
        yield slow.url
        slow.close()
