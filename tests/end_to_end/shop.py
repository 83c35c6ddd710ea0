"""A Celery application that knows nothing of tracing and logs what really happened to its jobs.

Every process appends lines of JSON to `$SHOP_LOG`: what, job id, attempt, unix ns, details. The tests compare the views
with this log, job by job.
"""

from __future__ import annotations

import json
import os
import time

from celery import Celery

app = Celery("shop", broker=os.environ["SHOP_BROKER"], backend=os.environ["SHOP_BROKER"])
app.conf.update(
    task_default_queue="orders",
    task_routes={"shop.charge": {"queue": "payments"}, "shop.mail": {"queue": "mails"}},
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)


class GatewayTimeout(Exception):
    pass


class CardRefused(Exception):
    pass


def log(what, job, attempt, **more):
    line = json.dumps({"what": what, "job": job, "attempt": attempt, "at": time.time_ns(), "pid": os.getpid(), **more})
    with open(os.environ["SHOP_LOG"], "a", encoding="utf-8") as out:
        out.write(line + "\n")


def send(task, parent, *args, **options):
    before = time.time_ns()
    result = task.apply_async(args, **options)
    log("dispatched", result.id, 0, type=task.name, parent=parent, before=before, countdown=options.get("countdown", 0))
    return result


@app.task(name="shop.order", bind=True)
def order(self, number):
    log("started", self.request.id, 1)
    send(charge, self.request.id, number)
    send(mail, self.request.id, number, **({"countdown": 0.5} if number % 7 == 0 else {}))
    time.sleep(0.002)
    log("ended", self.request.id, 1, outcome="success")


@app.task(name="shop.charge", bind=True, max_retries=2)
def charge(self, number):
    attempt = self.request.retries + 1
    log("started", self.request.id, attempt)
    if number % 5 == 0 and attempt == 1:
        log("ended", self.request.id, attempt, outcome="retry", error="GatewayTimeout")
        raise self.retry(exc=GatewayTimeout("no answer"), countdown=0.3)
    if number % 11 == 0:
        log("ended", self.request.id, attempt, outcome="failure", error="CardRefused")
        raise CardRefused(number)
    time.sleep(0.005)
    log("ended", self.request.id, attempt, outcome="success")


@app.task(name="shop.mail", bind=True)
def mail(self, number):
    log("started", self.request.id, 1)
    time.sleep(0.001)
    log("ended", self.request.id, 1, outcome="success")


if __name__ == "__main__":
    for i in range(int(os.environ["SHOP_ORDERS"])):
        send(order, "", i)
        time.sleep(0.02)
