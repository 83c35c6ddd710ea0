"""A small hand-made history as rows of the landing table; its figures can be worked out on paper."""

from __future__ import annotations

import itertools

from otjobs.testing import job_span_row

T = 1_790_000_000_000_000_000  # 2026-09-21T14:13:20Z
S = 1_000_000_000
ORDERS, NIGHT, AGAIN, OPEN, BIG = ("a" * 32, "b" * 32, "c" * 32, "d" * 32, "e" * 32)
BIG_JOBS = 3000
_ids = itertools.count(1)


def span(operation, trace, queue, job_type, job_id, at, seconds=0.0, *, service="worker", more=None, **job):
    """One span; `job` is for `job_span_row`, `more` any other attributes."""
    named = {"trace_id": trace, "queue": queue, "job_type": job_type, "job_id": job_id, "service": service}
    resource = {"service.version": "1.4.2", "host.name": "box"}
    own = {"span_id": f"{next(_ids):016x}", "resource": resource, "attributes": more or {}}
    return tuple(job_span_row(operation, at, at + int(seconds * S), **named, **own, **job).values())


def job(trace, queue, job_type, job_id, at, attempts, *, parent=None, root=None, more=None, **job):
    """The spans of a job: its dispatch, and one span per attempt (start, seconds, its attributes)."""
    known = {"enqueued_at": at, **job}
    more = dict(more or {})
    if parent:
        parent_type, parent_id, parent_attempt = parent
        more |= {
            "otjobs.job.parent.type": parent_type,
            "otjobs.job.parent.id": parent_id,
            "otjobs.job.parent.attempt": str(parent_attempt),
            "otjobs.workflow.type": root,
            "otjobs.workflow.started_at": str(T if trace == ORDERS else T + 199 * S),
        }
    yield span("send", trace, queue, job_type, job_id, at, service="web", more=more, **known)
    for number, (start, seconds, own) in enumerate(attempts, 1):
        ran = {"attempt": number, "dispatched": 0, **known, **{k: v for k, v in own.items() if k != "error"}}
        its = {
            "otjobs.worker": "w1@box",
            "otjobs.job.producer": "web",
            **more,
            **({"error.type": own["error"]} if "error" in own else {}),
        }
        yield span("process", trace, queue, job_type, job_id, start, seconds, more=its, **ran)


def small():
    """An order that retries, with a dead letter and a delayed child; a nightly job; a reused id; a job that waits."""
    request = {"otjobs.trigger": "request", "otjobs.trigger.name": "/orders", "otjobs.label.tenant": "acme"}
    first = (T + 2 * S, 3, {"outcome": "retry", "error": "Timeout", "dispatched": 2})
    second = (T + 12 * S, 3, {"outcome": "success", "published_at": T + 5 * S, "due_at": T + 11 * S})
    yield from job(ORDERS, "orders", "shop.order", "1", T, [first, second], more=request)
    parent = ("shop.order", "1", 1)
    refused = (T + 4 * S, 1, {"outcome": "failure", "error": "Refused", "dead_letter": True})
    yield from job(ORDERS, "mails", "shop.mail", "2", T + 3 * S, [refused], parent=parent, root="shop.order")
    late = (T + 14 * S, 0.25, {"outcome": "success"})
    yield from job(
        *(ORDERS, "mails", "shop.remind", "3", T + 4 * S, [late]), parent=parent, root="shop.order", due_at=T + 13 * S
    )
    nightly = {"otjobs.trigger": "schedule", "otjobs.trigger.name": "every-night"}
    swept = (T + 60 * S + S // 500, 0.05, {"outcome": "success"})
    yield from job(NIGHT, "night", "shop.sweep", "4", T + 60 * S, [swept], more=nightly)
    yield from job(AGAIN, "night", "shop.sweep", "1", T + 70 * S, [(T + 71 * S, 1, {"outcome": "success"})])
    # The same id in the same workflow, but another queue; and in the same queue, but another workflow
    twin = (T + 73 * S, 2, {"outcome": "success"})
    yield from job(AGAIN, "orders", "shop.order", "1", T + 72 * S, [twin], more={"otjobs.workflow.roots": "2"})
    yield from job(OPEN, "orders", "shop.order", "5", T - 80 * S, [], more={"otjobs.trigger": "manual"})


def big():
    """One workflow of thousands of jobs: a root and its children."""
    root = (T + 200 * S, 1, {"outcome": "success", "dispatched": BIG_JOBS - 1})
    yield from job(BIG, "bulk", "bulk.root", "big-0", T + 199 * S, [root])
    for i in range(1, BIG_JOBS):
        at = T + 200 * S + i * 1_000_000
        done = (at + S, 0.5, {"outcome": "success"})
        yield from job(
            *(BIG, "bulk", "bulk.leaf", f"big-{i}", at, [done]), parent=("bulk.root", "big-0", 1), root="bulk.root"
        )
