"""An application that Sentry watches; what Sentry would send is written to `$SENTRY_OUT`, a line of JSON an item."""

from __future__ import annotations

import json
import os

import sentry_sdk
from celery import Celery
from sentry_sdk.transport import Transport


class ToFile(Transport):
    def capture_envelope(self, envelope):
        for item in envelope.items:
            found = item.payload.json or {}
            job = (found.get("extra") or {}).get("celery-job") or {}
            line = json.dumps([item.type, found.get("transaction"), found.get("level"), job.get("task_name")])
            with open(os.environ["SENTRY_OUT"], "a", encoding="utf-8") as out:
                out.write(line + "\n")

    def flush(self, *args, **kwargs):
        pass

    def kill(self):
        pass


sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=ToFile, traces_sample_rate=1.0)
app = Celery("sentry_yard", broker=os.environ["YARD_BROKER"], backend=None)
app.conf.update(task_default_queue=os.environ["YARD_QUEUE"], broker_connection_retry_on_startup=True)


@app.task
def ok(number):
    child.delay(number)


@app.task
def child(number):
    return number


@app.task
def boom(number):
    raise ZeroDivisionError(number)


@app.task(bind=True, max_retries=2)
def again(self, number):
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return number
