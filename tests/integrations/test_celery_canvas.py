"""Celery's canvases on a real prefork worker: one trace, one workflow, roots counted, bodies with their headers."""

from __future__ import annotations

from collections import Counter

import pytest
from truth import verify

A = "conformance_app"


@pytest.fixture(scope="module")
def worker(celery):
    found = celery.worker("canvas", queues="main")
    yield found
    found.stop()


@pytest.fixture(scope="module")
def producer(celery):
    return celery.producer("canvas-producer")


@pytest.fixture(scope="module")
def solo(celery):
    """One process for all attempts, so that every header of a chord is known where its body is published."""
    found = celery.worker("alone", pool="solo", queues="side", APP_CONF='{"task_routes": {"*": {"queue": "side"}}}')
    yield found
    found.stop()


# What a canvas publishes: the word of the span around it, its root jobs, and the jobs in all by the depth of their
# dispatch below a root (a chord's body is below one of its headers).
CANVASES = {
    "group": ("group", 3, {0: 3}),
    "lazy group": ("group", 3, {0: 3}),
    "chain": ("chain", 1, {0: 1, 1: 1, 2: 1}),
    "chord": ("chord", 2, {0: 2, 1: 1}),
    "chord of chains": ("chord", 2, {0: 2, 1: 2, 2: 1}),
    "chord with a chain body": ("chord", 2, {0: 2, 1: 1, 2: 1}),
    "chain of groups": ("chord", 2, {0: 2, 1: 2, 2: 1}),
    "chord in chain": ("chain", 1, {0: 1, 1: 2, 2: 1, 3: 1}),
    "group of chains": ("group", 2, {0: 2, 1: 2}),
    "group in group": ("group", 3, {0: 3}),
    "group of chords": ("group", 3, {0: 3, 1: 1}),
    "group then task": ("chord", 2, {0: 2, 1: 1}),
    "single group": ("group", 1, {0: 1}),
    "single group then task": ("chord", 1, {0: 1, 1: 1}),
    "empty chord": ("chord", 1, {0: 1}),
    "chunks": ("group", 2, {0: 2}),
    "failing chord": ("chord", 2, {0: 2, 1: 1}),
    "broken chain": ("chain", 1, {0: 1, 1: 1}),
    "chain with a retry": ("chain", 1, {0: 1, 1: 1}),
    "chord with a retry": ("chord", 2, {0: 2, 1: 1}),
}
LAZY = {"lazy group", "chunks"}
"""Their members do not know how many they are."""
SINGLE = {"map": "celery.map", "starmap": "celery.starmap", "callbacks": f"{A}.add", "errback": f"{A}.fail"}


def told(story, worker, producer):
    faults = [line for line in (worker.output + producer.output).splitlines() if "otjobs: " in line]
    assert faults == []
    return verify(story)


def depths(story):
    """How many jobs there are by the depth of their dispatch below a root job."""
    above = {s.id: s for s in story.spans}

    def depth(dispatch):
        run = above.get(dispatch.parent)
        return 0 if run is None or run.operation != "execute" else 1 + depth(above[run.parent])

    return dict(Counter(depth(s) for s in story.dispatches))


def jobs_and_runs(kind):
    jobs = sum(CANVASES[kind][2].values())
    return jobs, jobs + ("retry" in kind)


@pytest.mark.redis
@pytest.mark.parametrize("kind", CANVASES)
def test_outside_of_a_span_it_is_one_trace_under_a_span_of_its_own(celery, worker, producer, kind):
    word, roots, expected = CANVASES[kind]
    jobs, runs = jobs_and_runs(kind)
    story = celery.story()
    producer.run("apply_canvas", kind=kind)
    story.wait(executed=runs, dispatched=jobs)
    told(story, worker, producer)
    assert (len(story.dispatches), len(story.executions)) == (jobs, runs)
    assert depths(story) == expected
    around = [s for s in story.spans if not s.operation]
    assert [(s.name, s.kind, s.parent, s.status, s.attributes) for s in around] == [
        (f"dispatch {word}", "INTERNAL", "", "UNSET", {"otjobs.workflow.roots": roots})
    ]
    assert len({s.trace for s in story.spans}) == 1
    top = [s for s in story.dispatches if s.parent == around[0].id]
    assert len(top) == roots
    assert {s.get("otjobs.workflow.roots") for s in top} == {None if kind in LAZY else roots}
    assert {s["otjobs.trigger"] for s in top} == {"manual"}
    assert all("otjobs.workflow.roots" not in s.attributes for s in story.dispatches if s not in top)
    # Complete: the roots, and what each attempt says it dispatched
    assert roots + sum(s["otjobs.job.dispatched"] for s in story.executions) == jobs


@pytest.mark.redis
@pytest.mark.parametrize("kind", ["group", "chord", "chain", "group of chains"])
def test_inside_a_span_it_is_in_that_trace(celery, worker, producer, kind):
    _, roots, expected = CANVASES[kind]
    jobs, runs = jobs_and_runs(kind)
    story = celery.story()
    producer.run(
        "inside", spans=[["GET /x", "SERVER", {"http.route": "/x"}, {}]], do={"run": "apply_canvas", "kind": kind}
    )
    story.wait(executed=runs, dispatched=jobs)
    told(story, worker, producer)
    (server,) = [s for s in story.spans if not s.operation]
    top = [s for s in story.dispatches if s.parent == server.id]
    assert len(top) == roots
    assert {(s["otjobs.workflow.roots"], s["otjobs.trigger"], s["otjobs.trigger.name"]) for s in top} == {
        (roots, "request", "/x")
    }
    assert {s.trace for s in story.spans} == {server.trace}
    assert depths(story) == expected


@pytest.mark.redis
@pytest.mark.parametrize("kind", ["group", "chord", "chain", "group of chains", "chord of chains"])
def test_inside_a_job_its_members_are_children(celery, worker, producer, kind):
    jobs, runs = jobs_and_runs(kind)
    story = celery.story()
    producer.run("send", name="canvas", args=[kind])
    story.wait(executed=runs + 1, dispatched=jobs + 1)
    told(story, worker, producer)
    assert [s for s in story.spans if not s.operation] == []
    assert depths(story) == {0: 1, **{depth + 1: count for depth, count in CANVASES[kind][2].items()}}
    assert all("otjobs.workflow.roots" not in s.attributes for s in story.spans)


@pytest.mark.redis
@pytest.mark.parametrize("kind", SINGLE)
def test_what_is_one_message_is_one_job(celery, worker, producer, kind):
    story = celery.story()
    producer.run("apply_canvas", kind=kind)
    jobs = {"callbacks": 3, "errback": 2}.get(kind, 1)
    story.wait(executed=jobs)
    told(story, worker, producer)
    assert [s for s in story.spans if not s.operation] == []
    root = story.dispatches[0]
    assert (root["otjobs.job.type"], root.parent) == (SINGLE[kind], "")
    assert depths(story) == ({0: 1, 1: jobs - 1} if jobs > 1 else {0: 1})


@pytest.mark.redis
def test_an_empty_group_leaves_nothing(celery, worker, producer):
    story = celery.story()
    producer.run("apply_canvas", kind="empty group")
    producer.run("send", name="add", args=[1])
    story.wait(executed=1)
    assert story.tree() == f"dispatch {A}.add\n  execute {A}.add #1 success"


@pytest.mark.redis
@pytest.mark.parametrize(
    "kind", ["chord", "chord with a chain body", "chain of groups", "chord of chains", "chord with a retry"]
)
def test_members_and_body_share_the_group_and_the_body_links_to_its_headers(celery, solo, kind):
    producer = celery.producer(
        f"to-side-{kind.replace(' ', '-')}", APP_CONF='{"task_routes": {"*": {"queue": "side"}}}'
    )
    jobs, runs = jobs_and_runs(kind)
    story = celery.story()
    producer.run("apply_canvas", kind=kind)
    story.wait(executed=runs, dispatched=jobs)
    producer.stop()
    told(story, solo, producer)
    bodies = [s for s in story.executions if len(s.links) > 1 and s["otjobs.job.attempt"] == 1]
    assert len(bodies) == (2 + 1 if kind == "chain of groups" else 1)
    for body in bodies:
        by_id = {s.id: s for s in story.executions}
        headers = [by_id[span] for _, span in body.links[1:]]
        # The one that published the body is among them, and each is the last attempt of its job
        publisher = next(s for s in story.dispatches if s.id == body.parent).parent
        assert publisher in {h.id for h in headers}
        assert len(headers) == len({h.job for h in headers}) == 2
        assert {h["otjobs.job.outcome"] for h in headers} == {"success"}
        dispatch = next(s for s in story.dispatches if s.job == body.job)
        assert set(dispatch.links) == set(body.links[1:])
        if kind != "chain of groups":
            assert len({h["otjobs.group.id"] for h in headers} | {body["otjobs.group.id"]}) == 1


@pytest.mark.redis
def test_a_result_backend_without_chords_polls_with_a_job_of_its_own(celery, receiver, redis_url, tmp_path):
    """`celery.chord_unlock` is a root of the composite, its retries are attempts, and the body is its child."""
    from celery_harness import CeleryHarness

    harness = CeleryHarness(
        tmp_path, receiver, redis_url.replace("/0", "/5"), backend=f"db+sqlite:///{tmp_path}/results.db"
    )
    conf = '{"result_chord_retry_interval": 0.2}'
    try:
        worker = harness.worker("polling", concurrency=1, queues="main", APP_CONF=conf)
        producer = harness.producer("polling-producer", APP_CONF=conf)
        story = harness.story()
        producer.run("apply_canvas", kind="chord")
        story.wait(executed=4, dispatched=4)
        verify(story)
        unlock = [s for s in story.executions if s["otjobs.job.type"] == "celery.chord_unlock"]
        roots = [s for s in story.dispatches if "otjobs.workflow.roots" in s.attributes]
        [around] = [s for s in story.spans if not s.operation]
        assert around.attributes == {"otjobs.workflow.roots": 3}
        assert Counter(s["otjobs.job.type"] for s in roots) == {f"{A}.add": 2, "celery.chord_unlock": 1}
        assert {s["otjobs.workflow.roots"] for s in roots} == {3}
        assert unlock[-1]["otjobs.job.outcome"] == "success"
        assert {s["otjobs.job.outcome"] for s in unlock[:-1]} <= {"retry"}
        body = next(s for s in story.dispatches if s.parent == unlock[-1].id)
        members = [s for s in story.executions if s["otjobs.job.type"] == f"{A}.add" and s.job != body.job]
        assert {s["otjobs.group.id"] for s in members} == {body["otjobs.group.id"]}
        assert {link[1] for link in body.links} == {s.id for s in members}
        assert 3 + sum(s["otjobs.job.dispatched"] for s in story.executions) == len(story.dispatches)
        assert "otjobs: " not in worker.output + producer.output
    finally:
        harness.stop()


@pytest.mark.redis
def test_a_job_that_extends_its_chord(celery, worker, producer):
    story = celery.story()
    producer.run("send", name="canvas", args=["extended chord"])
    story.wait(executed=5)
    told(story, worker, producer)
    assert {s["otjobs.job.outcome"] for s in story.executions} == {"success"}
    extender = next(s for s in story.executions if s["otjobs.job.type"] == f"{A}.extend_chord")
    assert extender["otjobs.job.dispatched"] >= 1
