"""The generic API: a queue on Redis, traced by hand with `otjobs.dispatching`, `executing` and `ended`."""

from __future__ import annotations

import json
import time
import uuid
from contextlib import nullcontext
from typing import ClassVar

from application.example_queue import LOST, RUNNING, SYSTEM, TRACED, Run, connect, put
from application.library import Library, Options

import otjobs


class GenericLibrary(Library):
    system = SYSTEM
    kinds = ("fork", "inline", "asyncio")
    cpu_kinds = ("fork", "inline")
    timed_out = ("TimeLimitExceeded", True)
    died = LOST
    abandoned = LOST
    unsupported: ClassVar = {
        "an_excluded_type_is_left_out": "the application itself decides which of its jobs it traces.",
    }

    def worker(self, kind, name, queues):
        return ["-m", "application.example_queue", kind, name, *queues]

    def ready(self, output):
        return "ready" in output

    def scheduler(self):
        return ["-m", "application.example_queue", "schedule"]

    def current(self):
        return RUNNING.get()

    def send(self, job, args, options, **more):
        now, names = time.time(), ("queue", "priority", "retries", "backoff", "limit", "on_failure")
        message = {"id": options.job_id or uuid.uuid4().hex, "job": job, "args": args, "attempt": 1, **more}
        message |= {name: getattr(options, name) for name in names}
        message["expires"] = None if options.expires is None else now + options.expires
        with self._dispatching(message, options) if TRACED else nullcontext() as dispatch:
            if TRACED:
                message["otjobs"] = dispatch.carrier
            if not options.inline:
                put(connect(options.broker), message, now + (options.delay or 0))
        following = {**message, "inline": True} if options.inline else None
        while following:
            following = Run(following).run()
        return message["id"]

    def _dispatching(self, message, options):
        return otjobs.dispatching(
            f"application.jobs.{message['job']}",
            queue=options.queue,
            system=SYSTEM,
            job_id=message["id"],
            delay_seconds=options.delay,
            expires_at=message["expires"] and int(message["expires"] * 1e9),
            max_attempts=options.retries + 1,
        )

    def cancel(self, job_id):
        client = connect()
        for raw in client.zrange("main", 0, -1):
            message = json.loads(raw)
            if message["id"] == job_id and client.zrem("main", raw):
                otjobs.ended(message["otjobs"], "cancelled")

    def stop(self, job_id):
        connect().set(f"stop {job_id}", 1)

    def group(self, members):
        with otjobs.composite("group", group_id=uuid.uuid4().hex, roots=len(members)):
            return [self.send(job, args, Options()) for job, args in members]

    def after(self, first, then):
        following = uuid.uuid4().hex
        return [self.send(*first, Options(), then=(*then, following)), following]


LIBRARY = GenericLibrary()
