"""A worker whose application has Sentry, which notes what it would send: each transaction and the spans in it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import sentry_sdk
from rq import Worker as _Worker
from sentry_sdk.integrations.rq import RqIntegration
from sentry_sdk.transport import Transport


class _Log(Transport):
    def capture_envelope(self, envelope):
        for item in envelope.items:
            event = item.payload.json or {}
            if item.type == "transaction":
                with Path(os.environ["SENTRY_LOG"]).open("a") as log:
                    log.write(json.dumps([event["transaction"], [span["op"] for span in event["spans"]]]) + "\n")


sentry_sdk.init(dsn="http://a@127.0.0.1:9/1", transport=_Log, integrations=[RqIntegration()], traces_sample_rate=1.0)


class Worker(_Worker):
    """Raises behind each job, as a wrapper of the application's may."""

    def perform_job(self, *args, **kwargs):
        super().perform_job(*args, **kwargs)
        raise RuntimeError("of the application")
