"""What a signal handler of the application raises in the middle of our code is the application's: a time limit, a stop."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry import context

import otjobs
from otjobs import faults
from otjobs.integrations import _base as base
from otjobs.job import Job
from otjobs.testing import capture_jobs

OURS = str(Path(otjobs.__file__).parent)


class StopRequested(Exception):
    pass


@pytest.fixture(autouse=True)
def handler():
    def stop(number, frame):
        raise StopRequested

    before = signal.signal(signal.SIGUSR1, stop)
    token = context.attach(context.get_current())
    yield
    context.detach(token)  # a job that is interrupted while it begins leaves its context behind
    signal.signal(signal.SIGUSR1, before)


@contextmanager
def interrupted(at):
    """Send the signal at that line of our code, counted from the first one that runs; gives the file and line."""
    seen, where = 0, []

    def trace(frame, event, _):
        nonlocal seen
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        if event == "line":
            seen += 1
            if seen == at:
                sys.settrace(None)
                where.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
                os.kill(os.getpid(), signal.SIGUSR1)
        return trace

    sys.settrace(trace)
    try:
        yield where
    finally:
        sys.settrace(None)


def test_a_guard_lets_it_through():
    before = faults.fault_counts()
    with pytest.raises(StopRequested), faults.guard("a test"):
        os.kill(os.getpid(), signal.SIGUSR1)
        raise AssertionError("the signal did not arrive")
    assert faults.fault_counts() == before


def test_a_guard_keeps_what_no_signal_raised():
    def not_a_handler(number, frame):
        raise KeyError

    with faults.guard("a test of faults"):
        not_a_handler(1, None)
    assert faults.fault_counts()["a test of faults"] == 1


def job_sent_and_run():
    fields = {}
    job = Job(system="s", job_type="t", job_id="1", queue="q")
    with base.publishing(lambda: base.Outgoing(fields, job)):
        pass
    known = {"system": "s", "job_type": "t", "job_id": "1", "queue": "q"}
    with base.running(lambda: base.Message("t", fields.get, lambda carrier: known)):
        pass


def test_it_reaches_the_application_wherever_it_arrives():
    lost, at = [], 1
    with capture_jobs():
        job_sent_and_run()
        while True:
            with interrupted(at) as where:
                try:
                    job_sent_and_run()
                except StopRequested:
                    pass
                else:
                    lost += where
            if not where:
                break
            at += 3
    assert at > 300
    assert sorted(set(lost)) == []
