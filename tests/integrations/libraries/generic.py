"""The generic API: a queue on Redis, traced by hand with `otjobs.dispatching`, `executing` and `ended`."""

from __future__ import annotations

import contextvars
import json
import os
import signal
import sys
import time
import uuid
from contextlib import nullcontext
from typing import ClassVar

import redis
from application import jobs
from application.library import Library

import otjobs

RUNNING = contextvars.ContextVar("RUNNING", default="")
TRACED = os.environ.get("APP_TRACED") == "1"
SYSTEM = "lists"
LOST = "WorkerLost"
# A message moves from its queue, a sorted set by due time, to the hash of what runs, in one step.
TAKE = """
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 1)[1]
if found then redis.call('ZREM', KEYS[1], found); redis.call('HSET', KEYS[2], found, ARGV[2]) end
return found
"""


def connect(url=""):
    return redis.Redis.from_url(url or os.environ["APP_BROKER"], decode_responses=True)


def put(client, message, due=None):
    client.zadd(message["queue"], {json.dumps(message): (due or time.time()) - (message["priority"] or 0)})


class GenericLibrary(Library):
    system = SYSTEM
    kinds = ("fork", "inline")
    timed_out = ("TimeLimitExceeded", True)
    died = LOST
    abandoned = LOST
    unsupported: ClassVar = {
        "an_excluded_type_is_left_out": "the application itself decides which of its jobs it traces.",
    }

    def worker(self, kind, name, queues):
        return ["-m", "libraries.generic", kind, name, *queues]

    def ready(self, output):
        return "ready" in output

    def scheduler(self):
        return ["-m", "libraries.generic", "schedule"]

    def current(self):
        return RUNNING.get()

    def send(self, job, args, options, **more):
        wanted = {
            "queue": options.queue,
            "system": SYSTEM,
            "job_id": options.job_id,
            "max_attempts": options.retries + 1,
        }
        wanted |= {"delay_seconds": options.delay}
        due = None if options.delay is None else time.time() + options.delay
        expires = None if options.expires is None else time.time() + options.expires
        if expires:
            wanted["expires_at"] = int(expires * 1e9)
        with otjobs.dispatching(f"application.jobs.{job}", **wanted) if TRACED else nullcontext() as dispatch:
            message = {"job": job, "args": args, "attempt": 1, "expires_at": expires, **more}
            message |= {name: getattr(options, name) for name in ("queue", "priority", "retries", "backoff", "limit")}
            message |= {"id": options.job_id or uuid.uuid4().hex, "on_failure": options.on_failure}
            if TRACED:
                message |= {"id": dispatch.job_id, "otjobs": dispatch.carrier}
            if not options.inline:
                put(connect(options.broker), message, due)
        following = {**message, "inline": True} if options.inline else None
        while following:
            following = Run(following, "").run()
        return message["id"]

    def cancel(self, job_id):
        client = connect()
        for queue in ("main", "side", "plain"):
            for raw in client.zrange(queue, 0, -1):
                if json.loads(raw)["id"] == job_id and client.zrem(queue, raw):
                    otjobs.ended(json.loads(raw)["otjobs"], "cancelled")

    def stop(self, job_id):
        connect().set(f"stop {job_id}", 1)

    def group(self, members):
        with otjobs.composite("group", group_id=uuid.uuid4().hex, roots=len(members)):
            return [self.send(job, args, jobs.Options()) for job, args in members]

    def after(self, first, then):
        following = uuid.uuid4().hex
        return [self.send(*first, jobs.Options(), then=(*then, following)), following]


LIBRARY = GenericLibrary()


class Run:
    """One attempt of a message."""

    def __init__(self, message, worker):
        self.message, self.worker, self.client = message, worker, connect()

    @property
    def known(self):
        message = self.message
        known = {"job_id": message["id"], "queue": message["queue"], "system": SYSTEM, "worker": self.worker}
        return known | {"job_type": f"application.jobs.{message['job']}", "attempt": message["attempt"]}

    def run(self):
        """Run it; return the next attempt, if it is to run here and now."""
        message = self.message
        above = RUNNING.get()
        RUNNING.set(message["id"])
        try:
            if TRACED:
                limit = message["retries"] + 1
                with otjobs.executing(message.get("otjobs"), max_attempts=limit, **self.known) as attempt:
                    return self.traced(attempt)
            getattr(jobs, message["job"])(*message["args"])
        except jobs.Broken:
            if message["attempt"] <= message["retries"]:
                return self.again(message.get("otjobs"))
        finally:
            RUNNING.set(above)
        return None

    def traced(self, attempt):
        message = self.message
        try:
            getattr(jobs, message["job"])(*message["args"])
        except jobs.Expected as error:
            attempt.end("failure", error=error, expected=True)
        except Exception as error:
            if message["attempt"] <= message["retries"]:
                return self.again(attempt.retry(delay_seconds=message["backoff"] or None, error=error))
            attempt.set_outcome("failure", error=error, dead_letter=message["retries"] > 0)
            if message["on_failure"]:
                jobs.send(message["on_failure"])
        else:
            if "then" in message:
                job, args, job_id = message["then"]
                jobs.send(job, *args, job_id=job_id)
        return None

    def again(self, carrier):
        following = {**self.message, "attempt": self.message["attempt"] + 1, "otjobs": carrier}
        if self.message.get("inline"):
            return following
        return put(self.client, following, time.time() + self.message["backoff"])

    def forked(self, started_at):
        """Run it in a child, and report what the child cannot."""
        child = os.fork()
        if not child:
            self.run()
            otjobs.flush()
            os._exit(0)
        outcome, error_type, limit = "lost", LOST, self.message["limit"]
        while True:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                break
            if limit and time.time() - started_at > limit:
                outcome, error_type = "failure", "TimeLimitExceeded"
                os.kill(child, signal.SIGKILL)
            elif self.client.exists(f"stop {self.message['id']}"):
                outcome, error_type = "cancelled", "Stopped"
                os.kill(child, signal.SIGKILL)
            time.sleep(0.01)
        if os.WIFSIGNALED(status):
            self.report(outcome, error_type, started_at)

    def report(self, outcome, error_type, started_at):
        final = outcome != "lost" or self.message["attempt"] > self.message["retries"]
        told = {"error_type": error_type, "started_at": int(started_at * 1e9), **self.known}
        if final:
            otjobs.ended(self.message["otjobs"], outcome, **told)
        else:
            self.again(otjobs.ended(self.message["otjobs"], "retry", **told))


def work(kind, name, *queues):
    client, taken = connect(), f"running {queues}"
    take = client.register_script(TAKE)
    # What the worker of these queues had taken when it died runs again.
    for raw, started in client.hgetall(taken).items():
        Run(json.loads(raw), name).report("lost", LOST, float(started))
        client.hdel(taken, raw)
    print("ready", flush=True)
    while True:
        found = [raw for queue in queues if (raw := take(keys=[queue, taken], args=[time.time(), time.time()]))]
        for raw in found:
            message = json.loads(raw)
            run = Run(message, name)
            if message["expires_at"] and message["expires_at"] < time.time():
                otjobs.ended(message.get("otjobs"), "expired", **run.known)
            elif kind == "fork":
                run.forked(time.time())
            else:
                run.run()
            client.hdel(taken, raw)
        if not found:
            time.sleep(0.02)


def schedule():
    entry, job = os.environ["APP_SCHEDULE"].split("=")
    while True:
        with otjobs.trigger("schedule", entry):
            LIBRARY.send(job, [1], jobs.Options())
        time.sleep(1)


if __name__ == "__main__":
    from libraries import generic  # the module that the jobs know

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    generic.schedule() if sys.argv[1] == "schedule" else generic.work(*sys.argv[1:])
