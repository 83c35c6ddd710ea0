"""What triggers a job, what it carries, and the settings: labels, links, exclusion, sampling, beat."""

from __future__ import annotations

import parts
import pytest
from truth import verify

A = "conformance_app"


@pytest.fixture(scope="module")
def worker(celery):
    found = celery.worker("settings", queues="main", OTEL_PYTHON_OTJOBS_BAGGAGE_LABELS="tenant")
    yield found
    found.stop()


@pytest.fixture(scope="module")
def producer(celery):
    return celery.producer("settings-producer", OTEL_PYTHON_OTJOBS_BAGGAGE_LABELS="tenant")


SEND = {"run": "send", "name": "add", "args": [1]}


@pytest.mark.redis
@pytest.mark.parametrize(
    ("spans", "trigger"),
    [
        # The route, known later or only from an inner span
        ([["GET", "SERVER", {}, {"http.route": "/late"}], ["view", "INTERNAL", {}, {}]], ("request", "/late")),
        ([["GET", "SERVER", {}, {}], ["view", "INTERNAL", {"http.route": "/inner"}, {}]], ("request", "/inner")),
        (
            [
                ["GET", "SERVER", {}, {}],
                ["view", "INTERNAL", {"http.route": "/inner"}, {}],
                ["query", "CLIENT", {}, {}],
            ],
            ("request", "/inner"),
        ),
        # No route: the name of the span
        ([["rpc.Service/Method", "SERVER", {}, {}], ["inner", "INTERNAL", {}, {}]], ("request", "rpc.Service/Method")),
        # No server: the name of the topmost span
        ([["import catalogue", "INTERNAL", {}, {}], ["row", "INTERNAL", {}, {}]], ("request", "import catalogue")),
        ([["orders process", "CONSUMER", {}, {}], ["inner", "INTERNAL", {}, {}]], ("request", "orders process")),
    ],
)
def test_the_trigger_of_a_root_job(celery, worker, producer, spans, trigger):
    story = celery.story()
    producer.run("inside", spans=spans, do=SEND)
    story.wait(executed=1)
    verify(story)
    for span in (story.dispatches[0], story.executions[0]):
        assert (span["otjobs.trigger"], span["otjobs.trigger.name"]) == trigger
    assert len({s.trace for s in story.spans}) == 1


@pytest.mark.redis
def test_the_first_request_of_a_process_is_followed_too(celery, worker):
    fresh = celery.producer("fresh-producer")
    story = celery.story()
    fresh.run("inside", spans=[["GET", "SERVER", {"http.route": "/first"}, {}], ["view", "INTERNAL", {}, {}]], do=SEND)
    story.wait(executed=1)
    fresh.stop()
    assert story.dispatches[0]["otjobs.trigger.name"] == "/first"


@pytest.mark.redis
def test_unsampled_jobs_leave_nothing_and_break_nothing(celery, worker, producer):
    story = celery.story()
    producer.run("unsampled", do={"run": "send", "name": "parent", "args": [2]})
    producer.run("unsampled", do={"run": "apply_canvas", "kind": "chord"})
    producer.run("unsampled", do={"run": "send", "name": "retry_twice"})
    parts.wait_until(lambda: sum(e["what"] == "ended" for e in story.log) == 9, seconds=90, what="the jobs")
    producer.run("send", name="add", args=[1])
    story.wait(executed=1)
    assert story.tree() == f"dispatch {A}.add\n  execute {A}.add #1 success"


@pytest.mark.redis
def test_the_context_travels_through_an_unsampled_job(celery, worker, producer):
    story = celery.story()
    producer.run("unsampled", do={"run": "send", "name": "tells_trace"})
    parts.wait_until(lambda: [e for e in story.log if e["what"] == "trace"], seconds=90, what="the job")
    told = next(e for e in story.log if e["what"] == "trace")
    assert (told["trace"], told["sampled"]) == ("0" * 31 + "1", False)
    story = celery.story()
    producer.run("send", name="tells_trace")
    story.wait(executed=1)
    told = next(e for e in story.log if e["what"] == "trace")
    assert (told["trace"], told["span"]) == (story.executions[0].trace, story.executions[0].id)


@pytest.mark.redis
def test_trace_ids_in_task_logs(celery, worker, producer):
    story = celery.story()
    job = producer.run("send", name="tells_trace")
    story.wait(executed=1)
    (run,) = story.executions
    assert f"INFO {A}.tells_trace[{job}] trace={run.trace} span={run.id}: a line of the task" in worker.output


@pytest.mark.redis
def test_a_worker_that_always_samples_reports_the_jobs_of_unsampled_requests(celery):
    conf = '{"task_default_queue": "always"}'
    worker = celery.worker("always", queues="always", concurrency=1, APP_CONF=conf, OTEL_TRACES_SAMPLER="always_on")
    producer = celery.producer("always-producer", APP_CONF=conf)
    try:
        story = celery.story()
        producer.run("unsampled", do={"run": "send", "name": "parent", "args": [1]})
        story.wait(executed=2)
        assert story.tree().replace(f"{A}.", "").splitlines() == [
            "execute parent #1 success",
            "  dispatch add",
            "    execute add #1 success",
        ]
        published = next(e["at"] for e in story.log if e["what"] == "publishing")
        root = story.executions[0]
        assert published <= root["otjobs.job.enqueued_at"] <= root.start
        assert root["otjobs.trigger"] == "manual"
    finally:
        worker.stop()
        producer.stop()


@pytest.mark.redis
def test_an_excluded_poller_leaves_the_chord_whole(celery, receiver, redis_url, tmp_path):
    from celery_harness import CeleryHarness

    harness = CeleryHarness(
        tmp_path, receiver, redis_url.replace("/0", "/6"), backend=f"db+sqlite:///{tmp_path}/results.db"
    )
    env = {"OTEL_PYTHON_OTJOBS_EXCLUDED_TYPES": "celery.*", "APP_CONF": '{"result_chord_retry_interval": 0.2}'}
    try:
        harness.worker("whole", concurrency=1, queues="main", **env)
        producer = harness.producer("whole-producer", **env)
        story = harness.story()
        producer.run(
            "inside",
            spans=[["GET /x", "SERVER", {"http.route": "/x"}, {}]],
            do={"run": "apply_canvas", "kind": "chord"},
        )
        story.wait(executed=3, dispatched=3)
        server = next(s for s in story.spans if not s.operation)
        assert {s.trace for s in story.spans} == {server.trace}
        assert {s["otjobs.job.type"] for s in story.dispatches} == {f"{A}.add"}
        assert {s["otjobs.group.id"] for s in story.dispatches} == {story.dispatches[0]["otjobs.group.id"]}
        assert {s.get("otjobs.workflow.roots") for s in story.dispatches} == {2, None}
    finally:
        harness.stop()
