"""`otjobs up`: the embedded mode."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from otjobs.backend.server import run
from otjobs.backend.server.loopback import is_loopback
from otjobs.backend.server.printable import log_to_stderr
from otjobs.errors import ConfigurationError

if TYPE_CHECKING:
    from otjobs.backend.server import Endpoints


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def pointing_a_service(endpoints: Endpoints) -> str:
    """Return what to type so that a service sends its spans here and the command line reads them."""
    return f"""\
Point a service at it:
  export OTEL_EXPORTER_OTLP_ENDPOINT={endpoints.otlp_http}
  export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
  export OTEL_METRICS_EXPORTER=none OTEL_LOGS_EXPORTER=none
  opentelemetry-instrument celery -A app worker     # or: opentelemetry-instrument rq worker
(OTLP over gRPC: {endpoints.otlp_grpc})

Ask it:
  export OTJOBS_URL={endpoints.url}
  otjobs queues
"""


@click.command()
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("otjobs-data"),
    show_default=True,
    metavar="DIR",
    help="Where the spans are kept; made if it is not there.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of all three ports.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), default=4317, show_default=True, help="OTLP over gRPC.")
@click.option("--http-port", type=click.IntRange(0, 65535), default=4318, show_default=True, help="OTLP over HTTP.")
@click.option(
    "--sql-port", type=click.IntRange(0, 65535), default=8123, show_default=True, help="SQL, as ClickHouse speaks HTTP."
)
@click.option(
    "--allow-remote",
    is_flag=True,
    help="Take a --host that other machines can reach; callers need the token in DIR/access.token.",
)
def up(data: Path, host: str, grpc_port: int, http_port: int, sql_port: int, allow_remote: bool) -> None:
    """Run the embedded server: OTLP in, SQL out.

    Spans are kept in a folder. One process for a laptop and a first look, not for production: there use the
    collector and a ClickHouse server. Ctrl-C stops it; nothing that was acknowledged is lost. A port of 0 picks a
    free one.

    Example:
      otjobs up --data ./otjobs-data
      otjobs up --data ./other --grpc-port 0 --http-port 0 --sql-port 0
    """
    if not allow_remote and not is_loopback(host):
        raise ConfigurationError(
            f"{host!r} is not a loopback address: other machines could send spans and read; use 127.0.0.1, or add "
            "--allow-remote, which asks every caller for a token, and keep to a network that nobody listens on"
        )
    log_to_stderr(logging.WARNING)

    def ready(endpoints: Endpoints) -> None:
        click.echo(f"otjobs is up on {endpoints.data}, for a laptop and a first look, not for production.\n")
        click.echo(pointing_a_service(endpoints))
        click.echo("Ctrl-C stops it.")

    # Until the server takes the signals over, both end the start the same way.
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        run(
            data,
            host=host,
            grpc_port=grpc_port,
            http_port=http_port,
            sql_port=sql_port,
            allow_remote=allow_remote,
            on_ready=ready,
        )
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
    click.echo("otjobs is down.")


COMMANDS = (up,)
