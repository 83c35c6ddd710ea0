"""RQ on Redis."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import ClassVar

from application import jobs
from application.library import Library, Options
from redis import Redis
from rq import Callback, Queue, Retry, cron, get_current_job
from rq.command import send_stop_job_command
from rq.group import Group
from rq.job import Job

if "APP_SCHEDULE" in os.environ:  # this module is the configuration of `rq cron`
    entry, scheduled = os.environ["APP_SCHEDULE"].split("=")
    cron.register(getattr(jobs, scheduled), "main", args=(1,), interval=1, name=entry)


def connect(url=""):
    return Redis.from_url(url or os.environ["APP_BROKER"])


def send_on_failure(job, *_):
    jobs.send(job.meta["on_failure"])


class RqLibrary(Library):
    system = "rq"
    kinds = ("rq.worker.Worker", "rq.worker.SpawnWorker", "rq.worker.SimpleWorker")
    resolution = 1.0
    timed_out = ("JobTimeoutException", False)
    died = "WorkHorseKilled"
    abandoned = "AbandonedJobError"
    unsupported: ClassVar = {
        "an_expected_failure": "RQ knows no expected exceptions.",
        "retries_in_immediate_mode": "RQ runs a job once in immediate mode.",
        "a_job_that_expires_before_it_starts": "RQ deletes a job whose ttl has passed, unseen by any worker.",
    }

    def worker(self, kind, name, queues):
        return ["-m", "rq.cli", "worker", "-w", kind, "-n", name, "--with-scheduler", *queues]

    def ready(self, output):
        return "Listening on" in output

    def scheduler(self):
        return ["-m", "rq.cli", "cron", "libraries.rq"]

    def environment(self, *, broker, forgetful=False):
        return {"RQ_REDIS_URL": broker}

    def forget(self, broker):
        client = connect(broker)
        client.delete("rq:clean_registries:killed")  # which the killed worker holds for a quarter of an hour
        for execution in client.zrange("rq:wip:killed", 0, -1):
            client.zadd("rq:wip:killed", {execution: 1})

    def current(self):
        job = get_current_job()
        return "" if job is None else job.id

    def send(self, job, args, options):
        queue = Queue(options.queue, connect(options.broker), is_async=not options.inline)
        given = {"job_id": options.job_id or None, "at_front": options.priority is not None}
        if options.retries:
            given["retry"] = Retry(options.retries, int(options.backoff))
        if options.limit:
            given["job_timeout"] = int(options.limit)
        if options.expires:
            given["ttl"] = int(options.expires)
        if options.on_failure:
            given |= {"on_failure": Callback(send_on_failure), "meta": {"on_failure": options.on_failure}}
        function = getattr(jobs, job)
        if options.delay is not None:
            return queue.enqueue_in(timedelta(seconds=options.delay), function, *args, **given).id
        return queue.enqueue(function, *args, **given).id

    def cancel(self, job_id):
        Job.fetch(job_id, connect()).cancel()

    def stop(self, job_id):
        send_stop_job_command(connect(), job_id)

    def group(self, members):
        queue = Queue("main", connect())
        datas = [Queue.prepare_data(getattr(jobs, job), args=tuple(args)) for job, args in members]
        return [job.id for job in Group.create(queue.connection).enqueue_many(queue, datas)]

    def after(self, first, then):
        queue, options = Queue("main", connect()), Options()
        before = self.send(*first, options)
        following = queue.enqueue(getattr(jobs, then[0]), *then[1], depends_on=before)
        return [before, following.id]


LIBRARY = RqLibrary()
