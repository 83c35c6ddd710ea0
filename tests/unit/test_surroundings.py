"""What a job has from its surroundings: links, untraced jobs between, triggers, composites."""

from __future__ import annotations

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

import otjobs
from otjobs import attributes as a
from otjobs import errors
from otjobs.carrier import decode, encode
from otjobs.dispatch import Dispatch
from otjobs.integrations.celery.green_pools import green_pool
from otjobs.job import Job
from otjobs.testing import TickingClock, capture_jobs
from otjobs.traceparent import MAX_LINKS
from otjobs.untraced import untraced_carrier, untraced_context

DISPATCH = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1))


@pytest.fixture
def captured():
    with capture_jobs(clock=TickingClock(), counting_ids=True) as found:
        yield found


def job(**more):
    return Job(system="s", job_type="t", job_id="1", **more)


def test_links_travel_short_where_the_trace_is_the_same():
    links = (
        SpanContext(1, 3, is_remote=True, trace_flags=TraceFlags(1)),
        SpanContext(9, 4, is_remote=True, trace_flags=TraceFlags(1)),
    )
    carrier = encode(job(links=links), DISPATCH)
    assert carrier["links"] == f"{3:016x},{9:032x}-{4:016x}"
    assert decode(carrier).fields["links"] == links


def test_at_most_a_hundred_links_travel():
    links = tuple(SpanContext(1, n + 1, is_remote=True) for n in range(MAX_LINKS + 50))
    carrier = encode(job(links=links), DISPATCH)
    assert len(decode(carrier).fields["links"]) == MAX_LINKS
    assert len(carrier["links"]) < 2000


@pytest.mark.parametrize("broken", ["x", "1,2", f"{0:016x}", "a" * 16 + ",-", "-" * 50])
def test_broken_links_are_left_out_and_counted(broken):
    before = sum(errors.fault_counts().values())
    carrier = {**encode(job(), DISPATCH), "links": broken}
    assert decode(carrier).fields["links"] == ()
    assert sum(errors.fault_counts().values()) == before + 1


def test_a_body_links_to_its_headers_in_both_spans(captured):
    headers = []
    for name in ("h1", "h2"):
        with otjobs.dispatching(name) as d:
            pass
        with otjobs.executing(d.carrier) as run:
            headers.append(run.span.get_span_context())
    with Dispatch(job(links=tuple(headers))) as body:
        pass
    with otjobs.executing(body.carrier):
        pass
    dispatch, run = captured.dispatches[-1], captured.executions[-1]
    ids = [h.span_id for h in headers]
    assert [link.context.span_id for link in dispatch.links] == ids
    assert [link.context.span_id for link in run.links] == [dispatch.context.span_id, *ids]


def test_baggage_beyond_measure_stays_at_home(captured):
    token = context.attach(baggage.set_baggage("large", "x" * 10_000))
    try:
        with otjobs.dispatching("a") as d:
            pass
    finally:
        context.detach(token)
    assert "baggage" not in d.carrier
    assert decode(d.carrier).dispatch is not None


def test_the_child_of_an_untraced_job_is_the_child_of_the_job_above(captured):
    with otjobs.dispatching("top", labels={"tenant": "acme"}) as top:
        pass
    with otjobs.executing(top.carrier) as run:
        carried = untraced_carrier(context.get_current())
    # In another process: the untraced job runs, and an untraced one below it
    token = context.attach(untraced_context(carried))
    again = untraced_carrier(context.get_current())
    context.detach(token)
    token = context.attach(untraced_context(again))
    assert otjobs.current_execution() is None
    with otjobs.dispatching("bottom") as bottom:
        pass
    context.detach(token)
    child = captured.dispatches[-1]
    assert child.parent.span_id == run.span.get_span_context().span_id
    found = {
        name: child.attributes.get(name) for name in (a.PARENT_ID, a.PARENT_TYPE, a.PARENT_ATTEMPT, a.WORKFLOW_TYPE)
    }
    assert found == {a.PARENT_ID: top.job_id, a.PARENT_TYPE: "top", a.PARENT_ATTEMPT: 1, a.WORKFLOW_TYPE: "top"}
    assert child.attributes["otjobs.label.tenant"] == "acme"
    assert bottom.job.labels == {"tenant": "acme"}


def test_the_child_of_an_untraced_root_is_a_root_with_its_trigger(captured):
    tracer = captured.provider.get_tracer("web")
    with otjobs.dispatching("warm-up"):
        pass
    with tracer.start_as_current_span("GET", kind=SpanKind.SERVER, attributes={"http.route": "/x"}) as server:
        carried = untraced_carrier(context.get_current())
    token = context.attach(untraced_context(carried))
    with otjobs.dispatching("child"):
        pass
    context.detach(token)
    child = captured.dispatches[-1]
    assert (child.attributes[a.TRIGGER], child.attributes[a.TRIGGER_NAME]) == ("request", "/x")
    assert a.PARENT_ID not in child.attributes
    assert child.parent.span_id == server.get_span_context().span_id


@pytest.mark.parametrize("garbage", [None, "", 7, [], {"traceparent": "zz"}, {"attempt": "x"}])
def test_a_broken_passage_leads_nowhere_and_breaks_nothing(captured, garbage):
    token = context.attach(untraced_context(garbage))
    with otjobs.dispatching("child"):
        pass
    context.detach(token)
    assert a.PARENT_ID not in captured.dispatches[-1].attributes


def test_our_own_spans_trigger_nothing(captured):
    with otjobs.composite("group", roots=1), otjobs.dispatching("a"):
        pass
    assert captured.dispatches[0].attributes[a.TRIGGER] == "manual"


def test_an_unsampled_job_still_carries_its_context():
    with capture_jobs() as captured:
        captured.provider.sampler = ALWAYS_OFF
        with otjobs.dispatching("a", labels={"tenant": "acme"}) as d:
            pass
        with otjobs.executing(d.carrier) as run, otjobs.dispatching("b") as child:
            assert trace.get_current_span().get_span_context().is_valid
        assert run.dispatched == 1
        assert captured.spans == ()
    found = decode(child.carrier)
    assert not found.dispatch.trace_flags.sampled
    assert (found.dispatch.trace_id, found.parent.id) == (decode(d.carrier).dispatch.trace_id, d.job_id)
    assert found.fields["labels"] == {"tenant": "acme"}


@pytest.mark.parametrize(
    ("command", "pool"),
    [
        (["opentelemetry-instrument", "celery", "-A", "app", "worker", "-P", "gevent"], "gevent"),
        (["/usr/bin/python", "-m", "celery", "-A", "app", "worker", "--pool", "eventlet"], "eventlet"),
        (["/venv/bin/celery", "worker", "--pool=gevent"], "gevent"),
        (["celery", "worker", "-P", "prefork"], ""),
        (["celery", "worker", "-P"], ""),
        (["celery", "-A", "gevent", "worker"], ""),
        (["gunicorn", "-P", "gevent"], ""),
        ([], ""),
    ],
)
def test_the_pool_of_a_command_line(command, pool):
    assert green_pool(command) == pool


def test_a_flush_passes_through_our_own_processor():
    with capture_jobs() as captured:
        otjobs.dispatching("a").end()  # the first job adds it to the provider
        captured.provider.add_span_processor(late := Flushed())
        assert captured.provider.force_flush() is True
        assert otjobs.flush() is True
    assert late.flushed == 2


class Flushed(SpanProcessor):
    flushed = 0

    def force_flush(self, timeout_millis=30000):
        self.flushed += 1
        return True
