"""A queue on Redis that is traced by hand: a message moves from a sorted set by due time to a hash of what runs.

An un-instrumented process of it (`APP_TRACED=0`) knows nothing of carriers and passes them on as it finds them.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import signal
import sys
import time

import redis

import otjobs
from application import jobs
from application.library import Options

RUNNING = contextvars.ContextVar("RUNNING", default="")
TRACED = os.environ.get("APP_TRACED") == "1"
SYSTEM = "lists"
LOST = "WorkerLost"
TAKE = """
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 1)[1]
if found then redis.call('ZREM', KEYS[1], found); redis.call('HSET', KEYS[2], found, ARGV[2]) end
return found
"""


def connect(url=""):
    return redis.Redis.from_url(url or os.environ["APP_BROKER"], decode_responses=True)


def put(client, message, due=None):
    client.zadd(message["queue"], {json.dumps(message): (due or time.time()) - (message["priority"] or 0)})


class Run:
    """One attempt of a message."""

    def __init__(self, message, worker="", kind=""):
        self.message, self.worker, self.kind, self.client = message, worker, kind, connect()

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
                attempt = otjobs.executing(message.get("otjobs"), max_attempts=limit, **self.known)
                if self.kind == "asyncio":
                    return asyncio.run(self.awaited(attempt))
                with attempt:
                    return self.traced(attempt)
            getattr(jobs, message["job"])(*message["args"])
        except jobs.Broken:
            if message["attempt"] <= message["retries"]:
                return self.again(message.get("otjobs"))
        finally:
            RUNNING.set(above)
        return None

    async def awaited(self, attempt):
        async with attempt:
            return self.traced(attempt)

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
            run = Run(message, name, kind)
            if message["expires"] and message["expires"] < time.time():
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
            jobs.library().send(job, [1], Options())
        time.sleep(1)


if __name__ == "__main__":
    from application import example_queue  # the module that the harness knows

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    example_queue.schedule() if sys.argv[1] == "schedule" else example_queue.work(*sys.argv[1:])
