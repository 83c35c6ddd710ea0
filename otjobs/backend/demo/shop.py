"""The demo's application: a shop on Celery that knows nothing of tracing.

::

    order ─┬─ charge                retries with backoff; refused cards fail; a dead gateway ends as a dead letter
           ├─ pick x3 ─▶ pack       a chord
           ├─ thank                 a mail that is due a little later
           └─ invoice               slow, on a worker of its own: its jobs wait
    restock                         every two seconds, from Celery beat
    import_catalog                  runs out of memory once: its process is killed

What happens to an order follows from its number, so that every run shows everything.
"""

from __future__ import annotations

import os
import signal
import time

from celery import Celery, chord

from otjobs.backend.demo import broker

CARD_REFUSED_EVERY = 7
GATEWAY_BUSY_EVERY = 5
GATEWAY_DEAD_EVERY = 9
INVOICE_EVERY = 2
CATALOG_AT = 6

app = Celery("shop")
if os.environ.get("OTJOBS_DEMO_BROKER"):
    prefix = {"global_keyprefix": os.environ["OTJOBS_DEMO_PREFIX"] + ":"}  # apart from whatever else lives there
    app.conf.update(
        broker_url=os.environ["OTJOBS_DEMO_BROKER"],
        broker_transport_options=prefix,
        result_backend=os.environ["OTJOBS_DEMO_BROKER"],
        result_backend_transport_options=prefix,
    )
elif os.environ.get("OTJOBS_DEMO_FOLDER"):
    app.conf.update(broker.settings(os.environ["OTJOBS_DEMO_FOLDER"]))
app.conf.update(
    task_default_queue="orders",
    task_routes={
        "shop.charge": {"queue": "payments"},
        "shop.pick": {"queue": "warehouse"},
        "shop.pack": {"queue": "warehouse"},
        "shop.restock": {"queue": "warehouse"},
        "shop.thank": {"queue": "mails"},
        "shop.invoice": {"queue": "invoices"},
        "shop.import_catalog": {"queue": "invoices"},
    },
    beat_schedule={"restock-every-2-seconds": {"task": "shop.restock", "schedule": 2.0}},
    broker_connection_retry_on_startup=True,
    result_chord_retry_interval=0.5,
    result_expires=600,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    worker_lost_wait=1.0,
    worker_prefetch_multiplier=1,
)


class GatewayTimeout(Exception):  # noqa: N818  (named by the payment gateway)
    """The payment gateway did not answer in time."""


class CardRefused(Exception):  # noqa: N818
    """The bank refused the card."""


@app.task(name="shop.order")
def order(number: int) -> None:
    """Take an order apart into its jobs."""
    time.sleep(0.004)
    charge.delay(number)
    chord((pick.s(number, item) for item in range(3)), pack.si(number)).delay()
    thank.apply_async((number,), countdown=1.0)
    if number % INVOICE_EVERY == 0:
        invoice.delay(number)


@app.task(name="shop.charge", autoretry_for=(GatewayTimeout,), max_retries=2, retry_backoff=0.5, retry_jitter=False)
def charge(number: int) -> None:
    """Charge the card; the gateway is busy now and then, and once in a while dead."""
    time.sleep(0.02)
    if number % GATEWAY_DEAD_EVERY == 4:
        raise GatewayTimeout(number)
    if number % GATEWAY_BUSY_EVERY == 0 and charge.request.retries == 0:
        raise GatewayTimeout(number)
    if number % CARD_REFUSED_EVERY == 3:
        raise CardRefused(number)


@app.task(name="shop.pick")
def pick(number: int, item: int) -> None:
    """Fetch one item from its shelf."""
    time.sleep(0.005 * (1 + (number + item) % 4))


@app.task(name="shop.pack")
def pack(number: int) -> None:
    """Pack what was picked."""
    time.sleep(0.01 + number % 3 * 0.005)


@app.task(name="shop.thank")
def thank(number: int) -> None:
    """Say thank you, a second later."""
    time.sleep(0.003 + number % 2 * 0.002)


@app.task(name="shop.invoice")
def invoice(number: int) -> None:
    """Render an invoice: the slow part."""
    time.sleep(0.4 + number % 4 * 0.1)


@app.task(name="shop.restock")
def restock() -> None:
    """Order what is running out."""
    time.sleep(0.01)


@app.task(name="shop.import_catalog")
def import_catalog() -> None:
    """Run out of memory, as the kernel would end it."""
    time.sleep(1.2)
    os.kill(os.getpid(), signal.SIGKILL)
