"""Single Celery jobs on a real prefork worker: how they are sent, how they end."""

from __future__ import annotations

import pytest
from harness import MILLISECOND
from truth import verify

A = "conformance_app"


@pytest.fixture(scope="module")
def worker(celery):
    found = celery.worker("jobs", queues="main,side,media,topical")
    yield found
    found.stop()


@pytest.fixture(scope="module")
def producer(celery):
    return celery.producer("producer")


def told(story, worker, producer):
    """Everything is as the application says, and nothing of ours went wrong."""
    faults = [line for line in (worker.output + producer.output).splitlines() if "otjobs: " in line]
    assert faults == []
    return verify(story)


@pytest.mark.redis
@pytest.mark.parametrize("via", ["delay", "apply_async", "send_task", "send_task by keywords"])
def test_a_job_is_two_spans_however_it_is_sent(celery, worker, producer, via):
    story = celery.story()
    name = f"{A}.add" if via.startswith("send_task") else "add"
    job = producer.run("send", name=name, args=[1, 2], via=via)
    story.wait(executed=1)
    told(story, worker, producer)
    assert story.tree() == f"dispatch {A}.add\n  execute {A}.add #1 success"
    dispatch, run = story.dispatches[0], story.executions[0]
    assert dispatch.attributes == {
        "messaging.system": "celery",
        "messaging.operation.type": "send",
        "messaging.operation.name": "dispatch",
        "messaging.destination.name": "main",
        "messaging.message.id": job,
        "otjobs.job.type": f"{A}.add",
        "otjobs.job.enqueued_at": dispatch["otjobs.job.enqueued_at"],
        "otjobs.job.max_attempts": 4,
        "otjobs.trigger": "manual",
        "otjobs.trigger.name": "",
    }
    late = {name: run[name] for name in ("otjobs.job.cpu_seconds", "otjobs.job.received_at", "otjobs.worker")}
    assert run.attributes == {
        **dispatch.attributes,
        "messaging.operation.type": "process",
        "messaging.operation.name": "execute",
        "otjobs.job.attempt": 1,
        "otjobs.job.outcome": "success",
        "otjobs.job.dispatched": 0,
        "otjobs.job.producer": "producer",
        **late,
    }
    assert run["otjobs.worker"].startswith("jobs@")
    assert (dispatch.resource["service.name"], run.resource["service.name"]) == ("producer", "worker")
    assert dispatch.scope == run.scope == "otjobs"


@pytest.mark.redis
def test_a_name_that_the_producer_does_not_know(celery, worker, producer):
    story = celery.story()
    producer.run("send", name="nobody.knows", via="send_task")
    story.wait(executed=1)
    assert story.tree() == "dispatch nobody.knows\n  execute nobody.knows #1 rejected NotRegistered dead_letter"
    dispatch = story.dispatches[0]
    assert "otjobs.job.max_attempts" not in dispatch.attributes
    # The span covers the publish: it ends after Celery's own signal said so
    assert dispatch.end >= next(e["at"] for e in story.log if e["what"] == "published")


@pytest.mark.redis
def test_a_result_that_is_ignored_a_task_without_self_a_class_and_names_in_any_script(celery, worker, producer):
    story = celery.story()
    for name in ("unbound", "shared", "class_task", "aufgabe.größe✓"):
        producer.run("send", name=name, args=[] if name in ("shared", "aufgabe.größe✓") else [1], ignore_result=True)
    story.wait(executed=4)
    told(story, worker, producer)
    assert story.tree().splitlines() == [
        "dispatch aufgabe.größe✓",
        "  execute aufgabe.größe✓ #1 success",
        "dispatch class_task",
        "  execute class_task #1 success",
        f"dispatch {A}.shared",
        f"  execute {A}.shared #1 success",
        f"dispatch {A}.unbound",
        f"  execute {A}.unbound #1 success",
    ]


@pytest.mark.redis
@pytest.mark.parametrize(
    ("name", "options", "queue"),
    [
        ("routed", {}, "side"),
        ("add", {"queue": "media"}, "media"),
        ("add", {"exchange": "media", "routing_key": "video"}, "media"),
        ("add", {"queue": "topical", "routing_key": "news.today"}, "topical"),
    ],
)
def test_the_queue_of_every_kind_of_routing(celery, worker, producer, name, options, queue):
    story = celery.story()
    producer.run("send", name=name, args=[1] if name == "add" else [], **options)
    story.wait(executed=1)
    told(story, worker, producer)
    assert story.dispatches[0]["messaging.destination.name"] == queue
    assert story.executions[0]["messaging.destination.name"] == queue
    assert "otjobs.job.queue" not in story.executions[0].attributes


@pytest.mark.redis
def test_a_job_with_a_time_is_held_by_the_worker_until_then(celery, worker, producer):
    story = celery.story()
    producer.run("send", name="add", args=[1], eta_in=2.0, expires_in=60)
    story.wait(executed=1)
    told(story, worker, producer)
    dispatch, run = story.dispatches[0], story.executions[0]
    due = run["otjobs.job.due_at"]
    # Counted from before the call
    assert 0 < due - dispatch.start <= 2000 * MILLISECOND
    # The worker's main process holds it until it is due: waiting that was asked for
    assert run["otjobs.job.received_at"] < due <= run.start


@pytest.mark.redis
@pytest.mark.parametrize(
    ("name", "args", "lines"),
    [
        ("ignore", [], ["#1 success"]),
        ("unserialisable", [], ["#1 failure EncodeError"]),
        ("retry_plain", [], ["#1 retry Retry", "#2 failure MaxRetriesExceededError dead_letter"]),
        ("retry_overridden", [], ["#1 retry Broken", "#2 failure Broken dead_letter"]),
        ("retry_never", [], ["#1 failure Broken dead_letter"]),
        ("retry_quietly", [], ["#1 retry", "#2 success"]),
        ("autoretry", [], ["#1 retry Broken", "#2 retry Broken", "#3 failure Broken dead_letter"]),
        ("reject", [False], ["#1 rejected Reject dead_letter"]),
        ("reject_acknowledged", [], ["#1 rejected Reject dead_letter"]),
        ("retry_then_fail", [], ["#1 retry Broken", "#2 success"]),
        ("fail_without_backend", [], ["#1 failure ConnectionError"]),
        ("soft_limited", [True], ["#1 success"]),
        ("soft_limited", [False], ["#1 failure SoftTimeLimitExceeded"]),
    ],
)
def test_how_an_attempt_ends(celery, worker, producer, name, args, lines):
    story = celery.story()
    producer.run("send", name=name, args=args)
    story.wait(executed=len(lines))
    told(story, worker, producer)
    # One that runs for a second may have a beacon or not
    found = [line for line in story.tree().splitlines() if not line.startswith("    start ")]
    assert found == [f"dispatch {A}.{name}", *(f"  execute {A}.{name} {line}" for line in lines)]
    statuses = ["ERROR" if "failure" in x or "rejected" in x else "UNSET" for x in lines]
    assert [s.status for s in story.executions] == statuses
    # Only the type of an exception is recorded
    assert [s.events for s in story.executions] == [()] * len(lines)
    if name == "retry_overridden":
        assert [s.get("otjobs.job.max_attempts") for s in story.executions] == [2, 2]
    if name == "autoretry":
        assert {s["otjobs.job.max_attempts"] for s in story.executions} == {3}


@pytest.mark.redis
def test_a_rejected_message_that_goes_back_is_the_next_attempt(celery, worker, producer):
    story = celery.story()
    producer.run("send", name="reject", args=[True])
    story.wait(executed=2)
    first, second = story.executions
    assert (first["otjobs.job.outcome"], first["error.type"]) == ("retry", "Reject")
    assert (second["otjobs.job.attempt"], second["otjobs.job.redelivered"]) == (2, True)
    assert second["otjobs.job.outcome"] == "success"
    # Nobody published it again, so it has no publish time of its own
    assert "otjobs.job.published_at" not in second.attributes
    assert first.parent == second.parent == story.dispatches[0].id


@pytest.mark.redis
def test_a_retry_into_another_queue_says_where_it_began(celery, worker, producer):
    story = celery.story()
    producer.run("send", name="retry_twice", args=[1], kwargs={"queue": "side"})
    story.wait(executed=2)
    told(story, worker, producer)
    first, second = story.executions
    assert (first["messaging.destination.name"], first.get("otjobs.job.queue")) == ("main", None)
    assert (second["messaging.destination.name"], second["otjobs.job.queue"]) == ("side", "main")


@pytest.mark.redis
def test_a_thread_with_the_context_dispatches_children_and_one_without_roots(celery, worker, producer):
    story = celery.story()
    producer.run("send", name="threaded_parent")
    story.wait(executed=3)
    assert story.tree() == "\n".join(
        [
            f"dispatch {A}.add",
            f"  execute {A}.add #1 success",
            f"dispatch {A}.threaded_parent",
            f"  execute {A}.threaded_parent #1 success",
            f"    dispatch {A}.add",
            f"      execute {A}.add #1 success",
        ]
    )


@pytest.mark.redis
def test_a_job_that_waits_for_its_child(celery, worker, producer):
    story = celery.story()
    producer.run("send", name="waits")
    story.wait(executed=2)
    told(story, worker, producer)


@pytest.mark.redis
@pytest.mark.parametrize(
    ("how", "jobs", "tree"),
    [
        ("task", 2, ["dispatch replaced", "  execute replaced #1 retry", "  execute replaced #2 success"]),
        (
            "chain",
            4,
            [
                "dispatch replaced",
                "  execute replaced #1 retry",
                "    dispatch add",
                "      execute add #1 success",
                "        dispatch add",
                "          execute add #1 success",
                "  execute replaced #2 success",
            ],
        ),
        (
            "chord",
            4,
            [
                "dispatch replaced",
                "  execute replaced #1 retry",
                "    dispatch add",
                "      execute add #1 success",
                "    dispatch add",
                "      execute add #1 success",
                "  execute replaced #2 success",
            ],
        ),
        (
            "group",
            4,
            [
                "dispatch replaced",
                "  execute replaced #1 retry",
                "    dispatch add",
                "      execute add #1 success",
                "    dispatch add",
                "      execute add #1 success",
                "  execute replaced #2 success",
            ],
        ),
    ],
)
def test_a_replaced_job_goes_on_as_its_next_attempt(celery, worker, producer, how, jobs, tree):
    story = celery.story()
    job = producer.run("send", name="replaced", args=[how])
    story.wait(executed=jobs)
    assert story.tree().replace(f"{A}.", "") == "\n".join(tree)
    attempts = [s for s in story.executions if s.job == job]
    assert [s["otjobs.job.dispatched"] for s in attempts] == [{"task": 0, "chain": 1, "chord": 2, "group": 2}[how], 0]
    first = story.dispatches[0]["otjobs.job.enqueued_at"]
    assert attempts[1]["otjobs.job.enqueued_at"] == attempts[0]["otjobs.job.enqueued_at"] == first
    assert attempts[1]["otjobs.job.published_at"] > attempts[0].start
    assert attempts[1].links[1] == (attempts[0].trace, attempts[0].id)
    # The steps in between count where they were dispatched, the job itself nowhere again
    assert sum(s["otjobs.job.dispatched"] for s in story.executions) == len(story.dispatches) - 1


@pytest.mark.redis
def test_a_replacement_that_cannot_be_published_is_a_failure(celery, worker, producer):
    story = celery.story()
    producer.run("send", name="replaced_in_vain")
    story.wait(executed=1)
    assert (
        story.tree().replace(f"{A}.", "")
        == "dispatch replaced_in_vain\n  execute replaced_in_vain #1 failure EncodeError"
    )
