"""An application with a queue whose messages go to every worker, which only RabbitMQ does well."""

from __future__ import annotations

import os

from celery import Celery
from kombu import Queue
from kombu.common import Broadcast

QUEUE = os.environ["YARD_QUEUE"]
EVERYONE = QUEUE + "-everyone"
app = Celery("yard_broadcast", broker=os.environ["YARD_BROKER"])
app.conf.update(
    task_default_queue=QUEUE,
    task_queues=(Queue(QUEUE), Broadcast(EVERYONE)),
    task_routes={"yard_broadcast.reload": {"queue": EVERYONE, "exchange": EVERYONE}},
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
)


@app.task(bind=True)
def reload(self, sick):
    if self.request.hostname.startswith(sick):
        raise ValueError("sick")


@app.task
def once():
    pass
