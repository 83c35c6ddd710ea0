"""What a library's harness says, in the tests and in the processes of the application.

The tests ask it for command lines. The application, in producers and workers, asks it to send jobs. What a library
cannot do stands in `unsupported`; a method that is missing without such a line fails the scenario.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(kw_only=True)
class Options:
    """How a job is sent; times in seconds from now."""

    queue: str = "main"
    delay: float | None = None
    expires: float | None = None
    priority: int | None = None
    """Larger is sooner."""
    retries: int = 0
    backoff: float = 0.0
    limit: float | None = None
    """The hard time limit of an attempt."""
    job_id: str = ""
    on_failure: str = ""
    """The library's own callback for a failure sends this job."""
    broker: str = ""
    """Another broker's URL."""
    inline: bool = False
    """Run it here and now, in the library's immediate mode."""


class Library:
    """One per library."""

    system = ""
    """`messaging.system`."""
    kinds: ClassVar[tuple[str, ...]] = ("",)
    """The kinds of its workers; the first serves most scenarios and must survive a job that dies."""
    resolution = 0.0
    """Seconds by which it runs a delayed job too early, as it keeps times in whole seconds."""
    timed_out: ClassVar[tuple[str, bool]] = ("", False)
    """Of an attempt above its hard time limit: error type, whether another process reports it."""
    died = ""
    """The error type of an attempt whose process died."""
    redelivers = False
    """An attempt that died runs again as the same message, not as one that was published again."""
    abandoned = ""
    """The error type of an attempt whose worker was killed with all its processes, '' where nobody can report it."""
    cpu_kinds: ClassVar[tuple[str, ...] | None] = None
    """The kinds of workers that run a job in one thread; None for all."""
    unsupported: ClassVar[dict[str, str]] = {}
    """scenario: why the library cannot do it, in one sentence."""

    # In the tests
    def worker(self, kind: str, name: str, queues: list[str]) -> list[str]:
        """Return the arguments for `python` that start a worker."""
        raise NotImplementedError

    def ready(self, output: str) -> bool:
        """Return whether a worker with this output takes jobs."""
        raise NotImplementedError

    def scheduler(self) -> list[str]:
        """Return the arguments for `python` that start a scheduler; `$APP_SCHEDULE` is `entry=job`, for every second."""
        raise NotImplementedError

    def environment(self, *, broker: str, forgetful: bool = False) -> dict[str, str]:
        """Return what its workers and scheduler need; `forgetful` where a killed worker must be noticed soon."""
        return {}

    def forget(self, broker: str) -> None:
        """Wait, or set clocks on, until the library takes a killed worker of the queue `killed` for dead."""

    # In the application
    def send(self, job: str, args: list[Any], options: Options) -> str:
        """Send a function of `application.jobs` and return the job's id."""
        raise NotImplementedError

    def current(self) -> str:
        """Return the id of the job that runs here, '' outside of jobs."""
        raise NotImplementedError

    def cancel(self, job_id: str) -> None:
        """Cancel a job that has not started."""
        raise NotImplementedError

    def stop(self, job_id: str) -> None:
        """Stop a job that runs, for good."""
        raise NotImplementedError

    def group(self, jobs: list[tuple[str, list[Any]]]) -> list[str]:
        """Send several jobs as the library's group."""
        raise NotImplementedError

    def after(self, first: tuple[str, list[Any]], then: tuple[str, list[Any]]) -> list[str]:
        """Send two jobs, the second to run once the first has ended."""
        raise NotImplementedError
