"""A small shop on Celery and Redis, for docker-compose.yml: it knows nothing of tracing.

    celery -A shop worker        runs the jobs
    python shop.py               orders something every half second, until stopped

Every order charges and mails; now and then a charge is retried, a card is refused, and a report takes a while.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time

from celery import Celery

BROKER = os.environ.get("SHOP_BROKER", "redis://127.0.0.1:6379/0")

app = Celery("shop", broker=BROKER)
app.conf.update(
    task_default_queue="orders",
    task_routes={
        "shop.charge": {"queue": "payments"},
        "shop.mail": {"queue": "mails"},
        "shop.report": {"queue": "slow"},
    },
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)


class GatewayTimeoutError(Exception):
    """The bank did not answer; it is worth another try."""


class CardRefusedError(Exception):
    """The bank said no."""


@app.task(name="shop.order")
def order(number: int) -> None:
    time.sleep(random.uniform(0.005, 0.05))
    charge.delay(number)
    mail.apply_async((number,), countdown=2 if number % 7 == 0 else 0)
    if number % 20 == 0:
        report.delay(number)


@app.task(name="shop.charge", autoretry_for=(GatewayTimeoutError,), max_retries=3, retry_backoff=1)
def charge(number: int) -> None:
    time.sleep(random.expovariate(10))
    if random.random() < 0.1:
        raise GatewayTimeoutError(number)
    if number % 25 == 0:
        raise CardRefusedError(number)


@app.task(name="shop.mail")
def mail(number: int) -> None:
    print("mail for order", number)
    time.sleep(random.uniform(0.01, 0.2))


@app.task(name="shop.report")
def report(number: int) -> None:
    print("report up to order", number)
    time.sleep(random.uniform(2, 6))


def main() -> None:
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    orders = 0
    while not stopped.wait(0.5):
        orders += 1
        order.delay(orders)


if __name__ == "__main__":
    main()
