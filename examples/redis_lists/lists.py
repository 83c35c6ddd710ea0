"""A queue on three Redis lists, traced by hand: waiting, processing, dead letter.

A worker moves a message from `waiting` to `processing` in one step, runs it, and removes it. A worker that is killed
leaves its message in `processing`; the re-queue process finds it there and puts it back, or sets it aside. The lines
that trace are marked with `# trace`: four calls of otjobs, and the carrier inside the message.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import otjobs  # trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

MAX_ATTEMPTS = 3

# Only who removes a message from `processing` may put it elsewhere: a worker that was slow and not dead loses the race.
MOVE = "if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 1 then return redis.call('LPUSH', KEYS[2], ARGV[2]) end return 0"


class Queue:
    """One queue: its three lists, and a hash of when each message was taken (unix ns)."""

    def __init__(self, redis: Redis, name: str) -> None:
        self.redis, self.name = redis, name
        self.waiting, self.processing, self.dead, self.taken = (
            f"{name}:{part}" for part in ("waiting", "processing", "dead", "taken")
        )
        self._move = redis.register_script(MOVE)

    def put(self, job_type: str, *args: Any) -> str:
        """Put a job on the queue and return its id."""
        with otjobs.dispatching(job_type, queue=self.name, system="lists", max_attempts=MAX_ATTEMPTS) as d:  # trace
            message = {"id": d.job_id, "type": job_type, "args": args, "attempt": 1, "otjobs": d.carrier}  # trace
            self.redis.lpush(self.waiting, json.dumps(message))
        return d.job_id

    def work(self, functions: dict[str, Callable[..., Any]], *, wait_seconds: float = 1) -> bool:
        """Run one job; False if none came within `wait_seconds`."""
        raw = self.redis.blmove(self.waiting, self.processing, wait_seconds, "RIGHT", "LEFT")
        if raw is None:
            return False
        message = json.loads(raw)
        self.redis.hset(self.taken, message["id"], json.dumps([time.time_ns(), f"pid {os.getpid()}"]))
        with otjobs.executing(message["otjobs"], attempt=message["attempt"]) as e:  # trace
            try:
                functions[message["type"]](*message["args"])
            except Exception as error:
                if message["attempt"] < MAX_ATTEMPTS:
                    carrier = e.retry(error=error)  # trace
                    self._again(raw, message, carrier)
                else:
                    e.set_outcome("failure", error=error, dead_letter=True)  # trace
                    self._set_aside(raw)
            else:
                self.redis.lrem(self.processing, 1, raw)
        return True

    def requeue(self, *, older_than_seconds: float) -> int:
        """Put back what has been processing for too long, or set it aside after the last attempt; return how many."""
        found = 0
        for raw in self.redis.lrange(self.processing, 0, -1):
            message = json.loads(raw)
            taken = self.redis.hget(self.taken, message["id"])
            started_at, worker = json.loads(taken) if taken else (0, "")
            if time.time_ns() - started_at < older_than_seconds * 1e9:
                continue
            final = message["attempt"] >= MAX_ATTEMPTS
            carrier = otjobs.ended(  # trace: nobody else can say that this attempt is over
                message["otjobs"],
                "lost" if final else "retry",
                error_type="WorkerLost",
                started_at=started_at or None,
                dead_letter=final,
                attempt=message["attempt"],
                worker=worker,
            )
            if final:
                self._set_aside(raw)
            else:
                self._again(raw, message, carrier)
            found += 1
        return found

    def _again(self, raw: bytes, message: dict[str, Any], carrier: dict[str, str]) -> None:
        following = {**message, "attempt": message["attempt"] + 1, "otjobs": carrier}
        self._move(keys=[self.processing, self.waiting], args=[raw, json.dumps(following)])

    def _set_aside(self, raw: bytes) -> None:
        self._move(keys=[self.processing, self.dead], args=[raw, raw])
