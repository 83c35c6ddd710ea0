"""The demo's producer, a process of its own: customers who place orders, three at a time."""

from __future__ import annotations

import argparse
import time

from opentelemetry import trace

from otjobs.backend.demo import shop

BURST = 3
PAUSE_SECONDS = 1.0


def main() -> None:
    """Place orders for `--seconds`, or until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    until = time.monotonic() + parser.parse_args().seconds
    # In a real shop the web framework's own instrumentation makes this span around each request.
    web = trace.get_tracer("shop.web")
    number = 0
    while time.monotonic() < until:
        for _ in range(BURST):
            attributes = {"http.request.method": "POST", "http.route": "/orders"}
            with web.start_as_current_span("POST /orders", kind=trace.SpanKind.SERVER, attributes=attributes):
                shop.order.delay(number)
            if number == shop.CATALOG_AT:
                shop.import_catalog.delay()
            number += 1
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
