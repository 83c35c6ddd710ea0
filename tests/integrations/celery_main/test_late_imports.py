"""Instrumenting imports nothing of Celery, so what others change in it later arrives, and nobody pays for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from importlib.metadata import entry_points

import parts
import pytest
from celery_main_harness import stop

OURS = sorted(e.value for e in entry_points(group="opentelemetry_instrumentor") if e.value.startswith("otjobs."))
LIBRARY = ("celery", "kombu", "billiard", "vine", "amqp")
EVERY_POOL = ["solo", "threads", "prefork"]


def run(program, *arguments, **environment):
    """Run a program in a fresh interpreter, without the tests' own settings; return the JSON that it prints last."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


INSTRUMENT = """
import json, sys
import opentelemetry.instrumentation.instrumentor, opentelemetry.sdk.trace, wrapt
from importlib import import_module
before = set(sys.modules)
module, name = sys.argv[1].split(":")
getattr(import_module(module), name)().instrument()
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)))
"""


@pytest.mark.parametrize("instrumentor", OURS)
def test_instrumenting_imports_no_library(instrumentor):
    assert set(run(INSTRUMENT, instrumentor)) <= {"otjobs", "opentelemetry"}


PRODUCE = """
import json, sys
if "traced" in sys.argv:
    from otjobs.integrations.celery import CeleryInstrumentor
    CeleryInstrumentor().instrument()
from celery import Celery
app = Celery("p", broker="memory://")
@app.task
def add(x): return x
add.delay(1)
print(json.dumps(sorted(name for name in sys.modules if name.partition(".")[0] in sys.argv[1].split(","))))
"""


def test_a_traced_producer_loads_what_a_plain_one_loads():
    assert run(PRODUCE, ",".join(LIBRARY), "traced") == run(PRODUCE, ",".join(LIBRARY))


@pytest.mark.redis
@pytest.mark.slow
@pytest.mark.parametrize("pool", EVERY_POOL)
def test_a_traced_worker_loads_what_a_plain_one_loads(yard, pool):
    """Both instrumentations of Celery are installed and enabled here."""
    loaded = {}
    for traced in (True, False):
        worker = yard.worker(name=f"{pool}-{traced}", pool=pool, concurrency=1, traced=traced)
        job = yard.app.send_task("yard.loaded", [LIBRARY], queue=yard.queue).id
        yard.wait_for("loaded", job=job)
        stop(worker)
        [found] = yard.seen("loaded", job)
        loaded[traced] = found["modules"]
    assert loaded[True] == loaded[False]


PATCH = """
import json, sys
if "traced" in sys.argv:
    from otjobs.integrations.celery import CeleryInstrumentor
    CeleryInstrumentor().instrument()
import celery.app.trace
original = celery.app.trace.build_tracer
celery.app.trace.build_tracer = patched = lambda *args, **kwargs: original(*args, **kwargs)
from celery.worker.consumer import consumer
print(json.dumps(consumer.build_tracer is patched))
"""


@pytest.mark.parametrize("traced", [["traced"], []])
def test_a_patch_made_after_instrumenting_reaches_the_worker(traced):
    assert run(PATCH, *traced) is True


@pytest.mark.redis
@pytest.mark.slow
@pytest.mark.parametrize("pool", EVERY_POOL)
def test_sentry_gets_the_same_items_with_and_without_tracing(yard, pool):
    items = {}
    for traced in (False, True):
        out = yard.folder / f"{pool}-{traced}.jsonl"
        out.touch()
        command = ("-m", "celery", "-A", "sentry_yard", "worker", "-P", pool, "-c", "1", "-l", "info")
        worker = yard.start(f"worker-{traced}", *command, traced=traced, SENTRY_OUT=str(out))
        worker.wait_ready(lambda w=worker: " ready." in w.output(), seconds=60, what="the worker")
        for task in ("ok", "boom", "again"):
            yard.app.send_task(f"sentry_yard.{task}", [1])

        def there(out=out):
            found = [tuple(line) for line in parts.json_lines(out)]
            runs = Counter(name for kind, name, _, _ in found if kind == "transaction")
            return found if runs["sentry_yard.again"] == 3 and runs["sentry_yard.child"] == 1 and len(found) >= 7 else 0

        items[traced] = Counter(parts.wait_until(there, seconds=60, what=lambda: out.read_text()))
        stop(worker)
    assert items[True] == items[False]
    assert items[True]["event", "sentry_yard.boom", "error", "sentry_yard.boom"] == 1


UNDO = """
import json, sys
from otjobs.integrations.celery import CeleryInstrumentor
import celery.app.base
plain = celery.app.base.Celery.send_task
CeleryInstrumentor().instrument()
wrapped = celery.app.base.Celery.send_task is not plain
CeleryInstrumentor().uninstrument()
import celery.canvas, celery.worker.request, celery.signals
import wrapt
ours = [f"{kind.__name__}.{name}" for kind in (celery.app.base.Celery, celery.canvas.group, celery.worker.request.Request)
        for name, value in vars(kind).items() if isinstance(value, wrapt.FunctionWrapper)]
same = celery.app.base.Celery.send_task is plain
CeleryInstrumentor().instrument()
again = isinstance(vars(celery.canvas.group)["apply_async"], wrapt.FunctionWrapper)
print(json.dumps([wrapped, same, ours, len(celery.signals.task_prerun.receivers), again]))
"""


def test_uninstrument_takes_back_what_is_still_to_come():
    assert run(UNDO) == [True, True, [], 1, True]
