"""Spans that no service should send: random and extreme values in every attribute, time and name, of every kind of span."""

from __future__ import annotations

import random
import time

from otjobs import attributes

S = 1_000_000_000
NUMBERS = (
    "", "0", "-1", "1", "65535", "65536", str(2**31), str(2**32), str(2**63 - 1), str(2**63), str(2**64), "1e308",
    "-1e308", "1e-308", "nan", "inf", "-inf", "0x10", "many", "\x00", "١٢", "3.5", " 7 ",
)  # fmt: skip
TEXTS = (
    "",
    "x",
    "0",
    "\x00",
    "\x1b[31m",
    "\u202egnp.exe",
    "emoji 🦄",
    "'; DROP TABLE jobs --",
    "a\nb\tc",
    "long " * 300,
)
HUGE = "x" * 1_000_000
TIMES = [name for name in vars(attributes).values() if isinstance(name, str) and name.endswith("_at")]
OURS = [name for name in vars(attributes).values() if isinstance(name, str) and "." in name]
FOREIGN = (
    "celery.action", "celery.task_name", "celery.state", "celery.retries", "celery.eta", "taskiq.action",
    "taskiq.task_name", "taskiq._retries", "taskiq.max_retries", "taskiq.delay", "bullmq.queue.operation",
    "bullmq.queue.name", "bullmq.job.name", "bullmq.job.id", "bullmq.job.attempts.made", "messaging.batch.message_count",
    "messaging.servicebus.message.delivery_count", "messaging.operation", "messaging.message_id",
)  # fmt: skip
OPERATIONS = {"Producer": "send", "Consumer": "process", "Client": "receive"}


def moment(rng: random.Random, now: int) -> int:
    """A time in the wrong unit, the wrong century, or right."""
    return rng.choice(
        (
            now - rng.randrange(3600 * S), now, now // S, now // 10**6, now // 10**3, 0, 1, -1, -S, 2**63 - 1, -(2**63),
            now - 100 * 86400 * S, now - 5 * 365 * 86400 * S, now - 40 * 365 * 86400 * S, now + 3 * 3600 * S,
            now + 30 * 86400 * S, now + 200 * 365 * 86400 * S, rng.randrange(2**63),
        )
    )  # fmt: skip


def text(rng: random.Random) -> str:
    return HUGE if rng.random() < 0.0005 else rng.choice(TEXTS)


def odd_spans(seed: int, count: int = 150) -> list[tuple[object, ...]]:
    """Rows of the landing table, as the collector would write them."""
    rng, now = random.Random(seed), time.time_ns()
    return [_span(rng, now, seed) for _ in range(count)]


def _span(rng: random.Random, now: int, seed: int) -> tuple[object, ...]:
    kind = rng.choice(("Producer", "Consumer", "Client", "Internal", "Internal", "Server", "Unspecified", "Consumer"))
    told: dict[str, str] = {}
    if kind in OPERATIONS and rng.random() < 0.8:  # a job of ours, with some of it wrong
        told = {
            attributes.SYSTEM: "odd", attributes.OPERATION_TYPE: OPERATIONS[kind], attributes.QUEUE: "q",
            attributes.JOB_ID: f"odd{rng.randrange(60)}", attributes.JOB_TYPE: f"odd{rng.randrange(30)}",
            attributes.ENQUEUED_AT: str(now - S),
        }  # fmt: skip
        for _ in range(rng.randrange(6)):
            told |= _odd(rng, now, OURS)
        if kind == "Client":
            told[attributes.BEACON_INTERVAL] = rng.choice(NUMBERS)
        if kind == "Consumer" and rng.random() < 0.5:
            told[attributes.OUTCOME] = rng.choice(("success", "failure", "retry", "lost", "expired", "no such outcome"))
    elif kind == "Internal" and rng.random() < 0.5:  # a composite
        told = {attributes.WORKFLOW_ROOTS: rng.choice(NUMBERS)}
    else:  # somebody else's
        told = {attributes.SYSTEM: "odd", attributes.JOB_ID: f"odd{rng.randrange(60)}"}
        for _ in range(rng.randrange(8)):
            told |= _odd(rng, now, FOREIGN)
    for _ in range(rng.choice((0, 0, 0, 3, 300))):
        told["otjobs.label." + text(rng) + str(rng.random())] = text(rng)
    start = moment(rng, now)
    length = rng.choice((0, S, 2**64 - 5, 2**63, 2**63 - 1, 3 * 10**18, 315_360_000 * S, 9 * 365 * 86400 * S))
    trace = rng.choice(("", f"dd{seed:014x}{rng.randrange(20):016x}", text(rng)))
    links = [f"{rng.randrange(50):016x}" for _ in range(rng.choice((0, 0, 1, 3)))]
    return (
        start, trace, f"{rng.randrange(200):016x}", rng.choice(("", f"{rng.randrange(50):016x}")), "", text(rng),
        kind, rng.choice(("odd", text(rng))), {"host.name": text(rng), "service.version": text(rng)},
        rng.choice(("otjobs", "opentelemetry.instrumentation.pika")), "", told, length, rng.choice(("Unset", "Error", "Ok")),
        "", [], [], [], [trace] * len(links), links, [""] * len(links), [{}] * len(links),
    )  # fmt: skip


def _odd(rng: random.Random, now: int, names: object) -> dict[str, str]:
    name = rng.choice(list(names))
    values = [rng.choice(NUMBERS), text(rng), str(moment(rng, now))]
    return {name: rng.choice(values[2:] if name in TIMES and rng.random() < 0.7 else values)}
