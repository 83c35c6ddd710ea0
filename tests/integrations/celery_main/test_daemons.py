"""Workers that put themselves into the background: `--detach` and `celery multi`."""

from __future__ import annotations

import os
import signal

import parts
import psutil
import pytest
from celery_main_harness import brief

pytestmark = [pytest.mark.redis, pytest.mark.slow]


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("how", ["detach", "multi"])
def test_a_worker_in_the_background_is_traced(yard, how):
    pidfile, log = yard.folder / "w.pid", yard.folder / "w.log"
    options = ("-A", "yard", "-c", "1", "-l", "info", f"--pidfile={pidfile}", f"--logfile={log}")
    celery = ("-m", "celery")
    start = (
        (*celery, *options[:2], "worker", *options[2:], "--detach")
        if how == "detach"
        else (*celery, "multi", "start", "w", *options)
    )
    launcher = yard.start("launcher", *start)
    assert launcher.popen.wait(30) == 0, launcher.output()
    try:
        parts.wait_until(lambda: log.exists() and " ready." in log.read_text(), seconds=90, what="the daemon")
        pid = int(pidfile.read_text())
        jobs = {yard.app.send_task("yard.quick", queue=yard.queue).id for _ in range(3)}
        yard.wait_for("ended", 3)
    finally:
        os.kill(int(pidfile.read_text()), signal.SIGTERM)
        parts.wait_until(lambda: gone(pid), seconds=90, what="the daemon's end")
    assert {job: [brief(s) for s in spans] for job, spans in yard.jobs().items()} == dict.fromkeys(
        jobs, [("success", "", False)]
    )
