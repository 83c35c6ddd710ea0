"""The protocol that every queue library's integration stands on, with messages that are plain dicts."""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from opentelemetry import context, trace
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import StatusCode

import otjobs
from otjobs import attributes as a
from otjobs import config, faults, tracing
from otjobs.execution import current_execution, running_here
from otjobs.integrations import _base as base
from otjobs.job import Job
from otjobs.testing import TickingClock, capture_jobs

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def captured():
    before = faults.fault_counts()
    with capture_jobs(clock=TickingClock(), counting_ids=True) as found:
        yield found
    assert faults.fault_counts() == before


@pytest.fixture
def excluding(monkeypatch):
    def exclude(types):
        monkeypatch.setenv("OTEL_PYTHON_OTJOBS_EXCLUDED_TYPES", types)
        config.settings.cache_clear()

    yield exclude
    monkeypatch.undo()
    config.settings.cache_clear()


def publish(fields, job_id="1", job_type="t", *, again=False, **more):
    job = Job(system="s", job_type=job_type, job_id=job_id, queue="q", **more)
    with base.publishing(lambda: base.Outgoing(fields, job, again)):
        pass
    return fields


def message(fields, job_id="1", job_type="t", times=dict, otherwise=None, **known):
    facts = {"system": "s", "job_type": job_type, "job_id": job_id, "queue": "q", **known}
    return base.Message(job_type, fields.get, lambda _: facts, otherwise or {}, times)


def run(fields, job_id="1", job_type="t", **known):
    return base.running(lambda: message(fields, job_id, job_type, **known))


# Publishing


def test_a_first_publication_puts_its_carrier_into_the_message_and_the_run_is_its_child(captured):
    fields = publish({"user": "own"})
    assert fields["user"] == "own"
    assert fields["traceparent"] == fields[base.CARRIER]["traceparent"]
    with run(fields):
        pass
    assert captured.tree() == "dispatch t\n  execute t"


def test_a_message_that_is_published_again_stays_as_it_is(captured):
    fields = publish({})
    before = dict(fields)
    publish(fields, again=True)
    assert fields == before
    assert len(captured.dispatches) == 1


def test_where_one_method_of_a_library_calls_another_the_outermost_publishes(captured):
    message, fields = object(), {}
    record = Job(system="s", job_type="t", job_id="1", queue="q")

    def publish_it():
        return base.publishing(lambda: base.Outgoing(fields, record), message)

    with base.publishing(lambda: None, message) as nothing:
        assert base.under_way(message) is None
        with publish_it() as outer:
            assert base.under_way(message) is outer is not nothing
            with publish_it() as inner, base.publishing(lambda: base.Outgoing({}, record)):
                assert inner is outer
            assert base.under_way(object()) is None
            with ThreadPoolExecutor(1) as threads:  # another thread publishes the same object
                assert threads.submit(base.under_way, message).result() is None
    assert base.under_way(message) is None
    assert captured.tree() == "dispatch t\n  dispatch t"


def test_a_publication_that_fails_is_no_longer_under_way(captured):
    message, record = object(), Job(system="s", job_type="t", job_id="1", queue="q")
    with pytest.raises(KeyError), base.publishing(lambda: base.Outgoing({}, record), message):
        raise KeyError
    assert base.under_way(message) is None
    assert [s.attributes[a.ERROR_TYPE] for s in captured.dispatches] == ["KeyError"]


def test_what_stands_beside_the_carrier_and_is_no_text_is_the_users_own(captured):
    """The fixture asserts that nothing was counted as a fault."""
    own = {"baggage": {"cabin": 1}, "tracestate": 7}
    fields = publish({**own, "traceparent": TRACEPARENT})
    assert {key: fields[key] for key in own} == own
    with run({**own, "traceparent": TRACEPARENT}), run(fields, "2"):
        pass
    with run({"traceparent": [TRACEPARENT]}, "3"):
        pass
    assert [trace.format_trace_id(s.context.trace_id) == TRACEPARENT[3:35] for s in captured.executions] == [
        True,
        True,
        False,
    ]


def test_the_type_of_a_job_may_be_told_while_it_runs(captured, excluding):
    excluding("secret")
    for told in ("", "t", "secret"):
        with run({}, job_type="") as running:
            base.tell_type(running.execution, told)
            base.tell_type(running.execution, "another")
            publish({}, "child")
    assert [(s.name, s.attributes[a.JOB_TYPE]) for s in captured.executions] == [
        ("execute another", "another"),
        ("execute t", "t"),
    ]
    assert [s.attributes.get(a.PARENT_TYPE) for s in captured.dispatches] == ["another", "t", None]


def test_the_job_that_runs_publishes_its_next_attempt_under_the_original_dispatch(captured):
    fields = publish({})
    with run(fields):
        publish(fields, due_at=1_800_000_000_000_000_000)
    with run(fields):
        pass
    first, second = captured.executions
    assert len(captured.dispatches) == 1
    assert first.attributes[a.OUTCOME] == "retry"
    assert first.attributes[a.DISPATCHED] == 0
    assert (second.attributes[a.ATTEMPT], second.attributes[a.DUE_AT]) == (2, 1_800_000_000_000_000_000)
    assert first.parent.span_id == second.parent.span_id


def test_a_retry_keeps_the_error_that_was_noted_before(captured):
    fields = publish({})
    with run(fields):
        base.note_error("s", "1", KeyError("x"))
        publish(fields)
    [run_span] = captured.executions
    assert (run_span.attributes[a.OUTCOME], run_span.attributes[a.ERROR_TYPE]) == ("retry", "KeyError")


def test_a_retry_takes_the_error_that_it_is_given_instead(captured):
    with run({}) as running:
        running.execution.set_outcome("failure", error=KeyError("x"))
        running.execution.set_outcome("retry")
        assert running.execution.error_type == "KeyError"
        running.execution.set_outcome("retry", error_type="Busy")
    with run({}) as running:
        running.execution.set_outcome("failure", error=KeyError("x"))
        running.execution.set_outcome("cancelled")
    given, cancelled = captured.executions
    assert (given.attributes[a.OUTCOME], given.attributes[a.ERROR_TYPE]) == ("retry", "Busy")
    assert a.ERROR_TYPE not in cancelled.attributes


def test_an_error_is_noted_only_on_the_job_it_belongs_to(captured):
    with run({}):
        base.note_error("s", "2", KeyError("x"))
        base.note_error("other", "1", KeyError("x"))
    assert captured.executions[0].attributes[a.OUTCOME] == "success"


def test_a_job_with_the_same_id_in_another_system_is_a_child(captured):
    with run(publish({})):
        with otjobs.dispatching("t", system="other", job_id="1"):
            pass
    assert captured.executions[0].attributes[a.DISPATCHED] == 1
    assert captured.executions[0].attributes[a.OUTCOME] == "success"


def test_of_attempts_inside_each_other_the_innermost_is_the_one_that_runs(captured):
    with run({}, "outer"):
        with run({}, "inner") as inner:
            assert running_here("s", "outer", context.get_current()) is None
            assert running_here("s", "inner", context.get_current()) is inner.execution
            publish({}, "outer")
        assert running_here("s", "inner", context.get_current()) is None
    inner, outer = captured.executions
    assert (inner.attributes[a.OUTCOME], inner.attributes[a.DISPATCHED]) == ("success", 1)
    assert outer.attributes[a.OUTCOME] == "success"


def test_publications_that_leave_with_one_command_fail_together(captured):
    other = Job(system="s", job_type="t", job_id="2", queue="q")
    with pytest.raises(ConnectionError), base.together():
        publish({})
        with base.publishing(lambda: base.Outgoing({}, other)):
            assert not captured.dispatches
        raise ConnectionError
    assert [s.attributes[a.ERROR_TYPE] for s in captured.dispatches] == ["ConnectionError"] * 2
    assert [s.parent for s in captured.dispatches] == [None, None]


def test_a_job_that_is_put_back_goes_on_with_the_carrier_that_its_library_makes(captured):
    fields = publish({})
    following = {**fields[base.CARRIER], "attempt": "4"}
    job = Job(system="s", job_type="t", job_id="1", queue="q")
    with base.publishing(lambda: base.Outgoing(fields, job, following=following)):
        pass
    with run(fields):
        pass
    assert captured.executions[0].attributes[a.ATTEMPT] == 4
    assert len(captured.dispatches) == 1


def test_a_publication_that_fails_ends_its_span_with_the_error_and_makes_no_job(captured):
    job = Job(system="s", job_type="t", job_id="2", queue="q")
    with run({}):
        with pytest.raises(ConnectionError), base.publishing(lambda: base.Outgoing({}, job)):
            raise ConnectionError
    assert captured.dispatches[0].attributes[a.ERROR_TYPE] == "ConnectionError"
    assert captured.dispatches[0].status.status_code is StatusCode.ERROR
    assert captured.executions[0].attributes[a.DISPATCHED] == 0


def test_a_retry_whose_publication_fails_is_no_retry(captured):
    job = Job(system="s", job_type="t", job_id="1", queue="q")
    fields = publish({})
    with pytest.raises(ConnectionError), run(fields), base.publishing(lambda: base.Outgoing(fields, job)):
        raise ConnectionError
    [run_span] = captured.executions
    assert (run_span.attributes[a.OUTCOME], run_span.attributes[a.ERROR_TYPE]) == ("failure", "ConnectionError")


def test_the_dispatch_span_is_current_while_the_message_is_published(captured):
    job = Job(system="s", job_type="t", job_id="1", queue="q")
    with base.publishing(lambda: base.Outgoing({}, job)):
        current = trace.get_current_span()
    assert current.get_span_context() == captured.dispatches[0].context
    assert not trace.get_current_span().get_span_context().is_valid


def test_what_the_user_gave_stays_and_is_the_parent(captured):
    fields = publish({"traceparent": TRACEPARENT, "tracestate": "a=b"})
    assert (fields["traceparent"], fields["tracestate"]) == (TRACEPARENT, "a=b")
    assert f"{captured.dispatches[0].parent.span_id:016x}" == "b7ad6b7169203331"


def test_without_an_sdk_a_message_stays_as_it_is():
    fields = publish({"user": "own"})
    assert fields == {"user": "own"}


# Excluded jobs


def test_what_an_excluded_job_dispatches_belongs_to_the_job_above(captured, excluding):
    excluding("quiet*")
    above = publish({}, "1", "above")
    between, child = {}, {}
    with run(above, "1", "above"):
        publish(between, "2", "quiet")
    assert base.CARRIER not in between
    with run(between, "2", "quiet") as running:
        assert running.execution is None
        publish(child, "3", "child")
    assert not trace.get_current_span().get_span_context().is_valid
    with run(child, "3", "child"):
        pass
    assert current_execution() is None
    assert captured.tree() == "dispatch above\n  execute above\n    dispatch child\n      execute child"
    assert captured.executions[-1].attributes[a.PARENT_TYPE] == "above"


def test_an_excluded_message_that_is_published_again_keeps_the_job_above(captured, excluding):
    excluding("quiet*")
    fields = {}
    with run(publish({}, "1", "above"), "1", "above"):
        publish(fields, "2", "quiet")
    before = dict(fields)
    publish(fields, "2", "quiet", again=True)
    assert fields == before


def test_a_job_that_goes_on_as_another_type_is_excluded_by_its_first_type(captured, excluding):
    excluding("quiet*")
    loud = publish({}, "1", "loud")
    with run(loud, "1", "quiet"):
        pass
    assert [span.name for span in captured.executions] == ["execute loud"]


# Attempts


def test_times_of_a_message_count_where_its_carrier_is_of_an_older_attempt(captured):
    fields = publish({}, due_at=1_700_000_100_000_000_000)

    def times():
        return {"due_at": 1_700_000_200_000_000_000, "expires_at": 1_700_000_300_000_000_000}

    same = message(fields, attempt=1, times=times).attempt()[1]
    newer = message(fields, attempt=2, times=times).attempt()[1]
    plain = message({}, times=times).attempt()[1]
    assert (same.due_at, same.expires_at) == (1_700_000_100_000_000_000, None)
    assert (plain.due_at, plain.expires_at) == (1_700_000_200_000_000_000, 1_700_000_300_000_000_000)
    assert (newer.due_at, newer.expires_at) == (1_700_000_200_000_000_000, 1_700_000_300_000_000_000)


def test_what_the_carrier_says_of_group_and_limit_wins(captured):
    otherwise = {"group_id": lambda: "library", "max_attempts": lambda: 9}
    known = message(publish({}, group_id="own", max_attempts=3), otherwise=otherwise).attempt()[1]
    unknown = message({}, otherwise=otherwise).attempt()[1]
    assert (known.group_id, known.max_attempts) == ("own", 3)
    assert (unknown.group_id, unknown.max_attempts) == ("library", 9)


def test_what_the_library_says_is_not_written_to_and_may_be_a_text(captured):
    facts = {"system": "s", "job_type": "t", "job_id": "1", "attempt": "2"}
    described = base.Message("t", publish({}).get, lambda _: facts, {"max_attempts": lambda: 3}, lambda: {"due_at": 5})
    assert described.attempt()[1].attempt == 2
    assert facts == {"system": "s", "job_type": "t", "job_id": "1", "attempt": "2"}


def test_a_foreign_trace_goes_on(captured):
    with run({"traceparent": TRACEPARENT}):
        pass
    [span] = captured.executions
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert a.ENQUEUED_AT not in span.attributes


def test_a_job_that_is_put_on_its_queue_once_more_is_the_next_attempt(captured):
    fields = publish({})
    with run(fields):
        pass
    publication = base.Publication()
    again = Job(system="s", job_type="t", job_id="1", queue="q")
    publication.carry(fields, again, following=message(fields).following(due_at=1_800_000_000_000_000_000))
    publication.end()
    with run(fields):
        pass
    first, second = captured.executions
    assert len(captured.dispatches) == 1
    assert (first.attributes[a.OUTCOME], second.attributes[a.ATTEMPT]) == ("success", 2)
    assert second.attributes[a.DUE_AT] == 1_800_000_000_000_000_000
    assert first.parent.span_id == second.parent.span_id


# Runs


@pytest.mark.parametrize(("attempt", "most", "dead"), [(1, 1, None), (1, 3, None), (3, 3, True), (2, None, None)])
def test_the_last_of_several_attempts_makes_a_dead_letter(captured, attempt, most, dead):
    with pytest.raises(KeyError), run({}, attempt=attempt, max_attempts=most):
        raise KeyError
    [span] = captured.executions
    assert (span.attributes[a.OUTCOME], span.attributes.get(a.DEAD_LETTER)) == ("failure", dead)


def test_an_outcome_that_the_library_says_wins(captured):
    with run({}, attempt=3, max_attempts=3) as running:
        running.execution.set_outcome("rejected", error_type="Full")
        running.finish(KeyError())
    [span] = captured.executions
    assert (span.attributes[a.OUTCOME], span.attributes[a.ERROR_TYPE]) == ("rejected", "Full")
    assert a.DEAD_LETTER not in span.attributes


def test_hooks_before_and_after_a_run_do_what_the_block_does(captured):
    running = run({}, attempt=2, max_attempts=2)
    running.begin()
    assert current_execution() is running.execution
    running.finish(ValueError(), expected=True)
    assert current_execution() is None
    [span] = captured.executions
    assert (span.attributes[a.DEAD_LETTER], span.status.status_code) == (True, StatusCode.UNSET)


def test_an_asynchronous_run_that_is_cancelled_is_cancelled_and_has_no_cpu_time(captured):
    async def work():
        async with run({}, attempt=3, max_attempts=3):
            await asyncio.Event().wait()

    async def main():
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    [span] = captured.executions
    assert (span.attributes[a.OUTCOME], span.attributes[a.ERROR_TYPE]) == ("cancelled", "CancelledError")
    assert a.CPU_SECONDS not in span.attributes
    assert a.DEAD_LETTER not in span.attributes


def test_a_run_that_has_its_thread_has_its_cpu_time(captured):
    with run({}):
        pass
    assert captured.executions[0].attributes[a.CPU_SECONDS] >= 0


# Ends that another process reports


def test_an_attempt_whose_process_died_is_reported_once_and_as_observed(captured):
    fields = publish({})
    with base.observed(
        lambda: message(fields), "lost", error_type="Killed", started_at=lambda: 1_700_000_000_000_000_000
    ):
        pass
    [span] = captured.executions
    assert span.attributes[a.OUTCOME] == "lost"
    assert span.attributes[a.ERROR_TYPE] == "Killed"
    assert span.attributes[a.OBSERVED] is True
    assert span.start_time == 1_700_000_000_000_000_000
    assert a.DISPATCHED not in span.attributes


def test_an_attempt_that_was_found_dead_ended_at_its_last_sign_of_life(captured):
    began, last = 1_700_000_000_000_000_000, 1_700_000_005_000_000_000
    with base.observed(lambda: message({}), "lost", started_at=lambda: began, ended_at=last):
        pass
    assert captured.executions[0].end_time == last


def test_an_attempt_that_never_started_has_no_length(captured):
    with base.observed(lambda: message({}), "expired"):
        pass
    [span] = captured.executions
    assert span.start_time == span.end_time
    assert a.OBSERVED not in span.attributes


def test_a_job_that_its_library_publishes_once_more_after_its_process_died_is_retried(captured):
    fields = publish({})

    def started_at():
        return 1_700_000_000_000_000_000

    with base.observed(lambda: message(fields), "lost", error_type="Killed", dead_letter=True, started_at=started_at):
        publish(fields)
    with run(fields):
        pass
    died, second = captured.executions
    assert (died.attributes[a.OUTCOME], died.attributes[a.ERROR_TYPE]) == ("retry", "Killed")
    assert a.DEAD_LETTER not in died.attributes
    assert (second.attributes[a.ATTEMPT], len(captured.dispatches)) == (2, 1)


def test_an_excluded_job_is_not_reported(captured, excluding):
    excluding("quiet*")
    with base.observed(lambda: message({}, "1", "quiet"), "lost"):
        pass
    assert captured.spans == ()


# Faults


def broken():
    raise LookupError


@pytest.mark.parametrize(
    "block",
    [
        lambda: base.publishing(broken),
        lambda: base.running(broken),
        lambda: base.observed(broken, "lost"),
        lambda: base.observed(lambda: message({}), "lost", started_at=broken),
    ],
)
def test_a_file_that_cannot_read_its_library_costs_a_warning_and_no_job(block):
    before = sum(faults.fault_counts().values())
    with capture_jobs() as captured:
        with block():
            done = True
        with pytest.raises(ZeroDivisionError), block():
            raise ZeroDivisionError
    assert done
    assert captured.spans == ()
    assert sum(faults.fault_counts().values()) == before + 2


# Wrappers


class Library:
    def call(self, job, queue="q", *, at=None):
        return job, queue, at


def test_arguments_have_their_names_however_they_were_given():
    library = Library()
    for args, kwargs in (((1,), {"at": 2}), ((), {"job": 1, "at": 2})):
        found = base.arguments(library.call, args, kwargs)
        assert (found["job"], found["queue"], found["at"]) == (1, "q", 2)


def test_a_workers_own_work_is_quiet_and_its_jobs_are_not(captured):
    def poll(fields):
        with run(fields):
            return is_instrumentation_enabled()

    def outside():
        return is_instrumentation_enabled()

    assert base.quietly(outside, None, (), {}) is False
    assert base.quietly(poll, None, ({},), {}) is True
    assert outside() is True


# The instrumentor


class Demo(base.Instrumentor):
    library = "protocol_demo"
    extra = "demo_extra"
    versions = ("pytest >= 1",)
    changes = {
        "protocol_demo.queue": (
            base.wrap("put", lambda wrapped, _, args, kwargs: "traced " + wrapped(*args, **kwargs)),
        )
    }


@pytest.fixture
def library(tmp_path, monkeypatch):
    (tmp_path / "protocol_demo").mkdir()
    (tmp_path / "protocol_demo" / "__init__.py").write_text("")
    (tmp_path / "protocol_demo" / "queue.py").write_text("def put(): return 'put'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "protocol_demo"]:
        del sys.modules[name]


def test_a_library_is_changed_when_the_application_imports_it(library):
    Demo().instrument()
    try:
        assert "protocol_demo" not in sys.modules
        import protocol_demo.queue

        assert protocol_demo.queue.put() == "traced put"
    finally:
        Demo().uninstrument()
    assert protocol_demo.queue.put() == "put"


def test_a_missing_library_is_named_with_the_extra_that_installs_it(caplog):
    Demo().instrument()
    assert not Demo().is_instrumented_by_opentelemetry
    assert "pip install 'otjobs[demo_extra]'" in caplog.text


def test_a_library_that_stands_in_for_the_real_one_is_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "protocol_demo", ModuleType("protocol_demo"))  # a module without a spec
    Demo().instrument()
    assert Demo().is_instrumented_by_opentelemetry
    Demo().uninstrument()


def test_an_instrumentation_takes_back_only_its_own_tracer_provider():
    class Other(base.Instrumentor):
        library, extra, versions, changes = Demo.library, Demo.extra, Demo.versions, Demo.changes

    first, second = TracerProvider(), TracerProvider()
    Demo().instrument(skip_dep_check=True, tracer_provider=first)
    Other().instrument(skip_dep_check=True, tracer_provider=second)
    Demo().uninstrument()
    assert tracing.provider() is second
    Other().uninstrument()
    assert tracing.provider() is trace.get_tracer_provider()


def test_a_launcher_that_starts_every_instrumentation_says_nothing_of_missing_libraries(caplog):
    Demo().instrument(skip_dep_check=True)
    Demo().uninstrument()
    assert caplog.text == ""


# The library of docs/howto/new-integration.md

FIFO = """
class Queue:
    def __init__(self, name):
        self.name, self.jobs = name, []

    def put(self, job):
        self.jobs.append(job)
"""
WORKER = """
class Worker:
    name = "w"

    def perform(self, job, function):
        job.tries += 1
        return function(job)
"""


def test_the_library_of_the_documents_is_traced(tmp_path, monkeypatch, captured):
    page = (Path(__file__).resolve().parents[2] / "docs/howto/new-integration.md").read_text()
    namespace = {"base": base}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], namespace)
    (tmp_path / "fifo").mkdir()
    for name, text in (("__init__", ""), ("queue", FIFO), ("worker", WORKER)):
        (tmp_path / "fifo" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    instrumentor = namespace["FifoInstrumentor"]()
    instrumentor.instrument(skip_dep_check=True)
    try:
        queue_module, worker_module = importlib.import_module("fifo.queue"), importlib.import_module("fifo.worker")
        queue, worker = queue_module.Queue("q"), worker_module.Worker()
        job = SimpleNamespace(name="add", id="7", queue="q", tries=0, max_tries=2, headers={}, was_delayed=False)
        queue.put(job)
        worker.perform(queue.jobs.pop(), function=queue.put)  # its own next attempt
        with pytest.raises(KeyError):
            worker.perform(queue.jobs.pop(), lambda _: {}["missing"])
    finally:
        instrumentor.uninstrument()
        for name in ("fifo", "fifo.queue", "fifo.worker"):
            sys.modules.pop(name, None)
    assert captured.tree() == "dispatch add\n  execute add\n  execute add"
    first, second = captured.executions
    assert (first.attributes[a.OUTCOME], first.attributes[a.WORKER]) == ("retry", "w")
    assert (second.attributes[a.OUTCOME], second.attributes[a.ATTEMPT]) == ("failure", 2)
    assert second.attributes[a.DEAD_LETTER] is True
