"""Random true histories of all four kinds of other instrumentations, as spans: what a run with these libraries would send."""

from __future__ import annotations

from stock import bull, celery_run, celery_send, message, new_id, taskiq_run, taskiq_send


class History:
    """Jobs of one system over some traces, with retries, children, delays, failures, and halves that never arrive."""

    def __init__(self, rng, system):
        self.rng, self.system, self.spans = rng, system, []
        for _ in range(rng.randint(1, 3)):
            self.trace = f"{rng.getrandbits(128):032x}"
            self.at = rng.uniform(0, 7200)
            for _ in range(rng.randint(1, 3)):
                self.job("", rng.randint(0, 2))
        # What was not sampled, or not sent yet.
        self.spans = [one for one in self.spans if rng.random() > 0.08] or self.spans

    def wait(self, most=5.0):
        self.at += round(self.rng.uniform(0.001, most), 3)
        return self.at

    def place(self, parent, **more):
        return {
            "trace": self.trace,
            "parent": parent,
            "span_id": new_id(),
            "service": self.rng.choice(["web", "work"]),
            **more,
        }

    def job(self, parent, depth):
        getattr(self, self.system)(parent, depth)

    def children(self, run, depth):
        for _ in range(self.rng.choice([0, 0, 1, 2]) if depth else 0):
            self.job(run, depth - 1)

    def celery(self, parent, depth):
        job, queue, task = new_id(), self.rng.choice(["mail", "slow"]), self.rng.choice(["mail.send", "report"])
        attempts, fails = self.rng.randint(1, 3), self.rng.random() < 0.2
        for number in range(attempts):
            sent, ran = self.place(parent), self.place("")
            ran["parent"] = sent["span_id"]
            self.spans.append(celery_send(job, self.wait(0.1), task=task, queue=queue, **sent))
            eta = self.at + 2 if self.rng.random() < 0.2 else None
            start, last = self.wait() + (2 if eta else 0), number == attempts - 1
            state = ("FAILURE" if fails else "SUCCESS") if last else "RETRY"
            error = "" if state == "SUCCESS" else "KeyError"
            for _ in range(2 if self.rng.random() < 0.05 else 1):  # delivered twice
                self.spans.append(
                    celery_run(
                        job,
                        start,
                        self.wait() + 3,
                        task=task,
                        queue=queue,
                        state=state,
                        retries=number,
                        eta=eta,
                        error=error,
                        **ran,
                    )
                )
                ran = {**ran, "span_id": new_id()}
            parent = ran["span_id"] if self.rng.random() < 0.1 else self.spans[-1][2]
            if last:
                self.children(parent, depth)

    def taskiq(self, parent, depth):
        job, attempts, fails = new_id() * 2, self.rng.randint(1, 3), self.rng.random() < 0.3
        on = {"taskiq.retry_on_error": "true", "taskiq.max_retries": "3"} if attempts > 1 else {}
        for number in range(1, attempts + 1):
            sent, ran, failed = self.place(parent), self.place(""), number < attempts or fails
            ran["parent"] = sent["span_id"]
            labels = {**on, "taskiq.delay": "3"} if self.rng.random() < 0.1 else on
            self.spans.append(taskiq_send(job, self.wait(0.1), retries=number - 1, labels=labels, **sent))
            self.spans.append(
                taskiq_run(
                    self.wait(),
                    self.wait(),
                    labels=labels,
                    counted=(number if failed else number - 1) if on else 0,
                    reason="bad" if failed and on else None,
                    error="ValueError" if failed and not on else "",
                    **ran,
                )
            )
            parent = ran["span_id"]
        self.children(parent, depth)

    def bullmq(self, parent, depth):
        job, queue = str(self.rng.randint(1, 4)), self.rng.choice(["emails", "reports"])
        bulk = self.rng.random() < 0.2
        sent = self.place(parent)
        self.spans.append(
            bull(
                "Producer",
                "addBulk" if bulk else "add",
                self.wait(0.1),
                self.at + 0.1,
                queue=queue,
                job="" if bulk else job,
                **sent,
            )
        )
        attempts, fails = self.rng.randint(1, 3), self.rng.random() < 0.3
        for number in range(1, attempts + 1):
            ran, failed = self.place(sent["span_id"]), number < attempts or fails
            start, end = self.wait(), self.wait()
            told = "complete" if not failed else "fail" if number == attempts else self.rng.choice(["retry", "delay"])
            event = "job failed" if failed else "job completed"
            self.spans.append(
                bull("Consumer", "process", start, end, queue=queue, job=job, attempt=number, events=[event], **ran)
            )
            self.spans.append(
                bull("Internal", told, end - 0.0005, end, queue=queue, job=job, trace=self.trace, parent=ran["span_id"])
            )
        self.children(ran["span_id"], depth)

    def plain(self, parent, depth):
        rng, sent, ran = self.rng, self.place(parent), self.place("")
        more = {
            "system": rng.choice(["rabbitmq", "kafka"]),
            "queue": rng.choice(["orders", "log"]),
            "message_id": rng.choice(["", new_id()]),
        }
        if rng.random() < 0.3:
            ran |= {"links": [(self.trace, sent["span_id"])], "trace": f"{rng.getrandbits(128):032x}"}
        else:
            ran["parent"] = sent["span_id"] if rng.random() < 0.8 else new_id()
        error = "NoBroker" if rng.random() < 0.1 else ""
        self.spans.append(message("Producer", "send", self.wait(0.1), self.at + 0.1, error=error, **more, **sent))
        for _ in range(rng.choice([1, 1, 1, 2])):
            failed = "Refused" if rng.random() < 0.2 else ""
            self.spans.append(message("Consumer", "process", self.wait(), self.wait(), error=failed, **more, **ran))
            ran = {**ran, "span_id": new_id()}
        self.children(self.spans[-1][2], depth)


SYSTEMS = ("celery", "taskiq", "bullmq", "plain")


def history(rng, systems=SYSTEMS):
    """Return the spans of one history of each system; of Celery's and the plain one, parts share a trace."""
    return [span for system in systems for span in History(rng, system).spans]


def deliveries(spans, rng):
    """Yield (name, batches): every span at least once, in the end."""
    shuffled = rng.sample(spans, len(spans))
    yield "shuffled, one by one or a few at a time", cut(shuffled, rng, 8)
    copies = [one for one in spans for _ in range(rng.randint(1, 5))]
    rng.shuffle(copies)
    yield "repeated and shuffled", cut(copies, rng, 6)
    runs, sent = ([one for one in shuffled if (one[6] == "Producer") == is_sent] for is_sent in (False, True))
    yield "runs first, then all again in other batches", [runs, sent, *cut(copies, rng, 3)]


def cut(spans, rng, most):
    """Cut into at most so many batches."""
    places = sorted({0, len(spans), *(rng.randint(0, len(spans)) for _ in range(most - 1))})
    return [spans[a:b] for a, b in zip(places, places[1:], strict=False)]
