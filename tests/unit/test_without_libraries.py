"""An environment without a queue library: nothing fails, and whoever asks for it is told which extra installs it."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import venv
from importlib.metadata import distribution, entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
OURS = {
    entry.name: entry.value
    for entry in entry_points(group="opentelemetry_instrumentor")
    if entry.value.startswith("otjobs.")
}
ABSENT = {"celery", "kombu", "billiard", "vine", "amqp", "rq"}


def top_level(name):
    """What a distribution puts into site-packages."""
    return {file.parts[0] for file in distribution(name).files or () if file.parts[0] not in ("..", "__pycache__")}


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of an environment that has everything of this one but the queue libraries."""
    folder = tmp_path_factory.mktemp("without") / "env"
    venv.create(folder, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    hidden = set()
    for name in ABSENT:
        try:
            hidden |= top_level(name)
        except ModuleNotFoundError:
            continue
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if path.name not in hidden and not (packages / path.name).exists():
            (packages / path.name).symlink_to(path)
    return folder / "bin" / "python"


def run(python, program, *arguments):
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "PYTHON"))}
    command = [python, "-c", program, *arguments]
    done = subprocess.run(command, env=clean, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


BY_HAND = """
import sys
from importlib import import_module
from importlib.util import find_spec
module, name = sys.argv[1].split(":")
instrumentor = getattr(import_module(module), name)()
assert find_spec(instrumentor.library) is None
instrumentor.instrument()
print("instrumented:", instrumentor.is_instrumented_by_opentelemetry)
"""


@pytest.mark.parametrize("value", OURS.values(), ids=OURS)
def test_instrumenting_names_the_extra_that_installs_the_library(python, value):
    told = run(python, BY_HAND, value)
    extra = value.split(":")[0].rpartition(".")[2]
    assert "instrumented: False" in told
    assert f"pip install 'otjobs[{extra}]'" in told


LAUNCH = """
import sys
from opentelemetry.instrumentation.auto_instrumentation import run
sys.argv = ["opentelemetry-instrument", "--traces_exporter", "none", "--metrics_exporter", "none",
            "--logs_exporter", "none", sys.executable, "-c", "print('the application runs')"]
run()
"""


def test_the_launcher_starts_an_application_that_has_no_queue_library_without_a_word(python):
    assert run(python, LAUNCH) == "the application runs\n"
