"""Every span attribute of otjobs, once: its name, unit and meaning.

The `messaging.*` names are those of the OpenTelemetry semantic conventions (messaging spans, status Development);
what they have no word for is under `otjobs.*`. Times are integers in unix nanoseconds.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

# What and where -------------------------------------------------------------------------------------------------
SYSTEM: Final = "messaging.system"  # the queue library: celery, rq, ..., or a name the user gives
OPERATION_TYPE: Final = "messaging.operation.type"  # send, receive, process
OPERATION_NAME: Final = "messaging.operation.name"  # dispatch, start, execute
QUEUE: Final = "messaging.destination.name"  # the queue this publication or attempt used
JOB_ID: Final = "messaging.message.id"
JOB_TYPE: Final = "otjobs.job.type"
JOB_QUEUE: Final = "otjobs.job.queue"  # the queue of the first publication, where it differs from QUEUE

# Attempts -------------------------------------------------------------------------------------------------------
ATTEMPT: Final = "otjobs.job.attempt"  # 1, 2, ...
MAX_ATTEMPTS: Final = "otjobs.job.max_attempts"
OUTCOME: Final = "otjobs.job.outcome"  # an Outcome
DISPATCHED: Final = "otjobs.job.dispatched"  # distinct other jobs this attempt dispatched; absent: unknown
OBSERVED: Final = "otjobs.job.observed"  # true: another process reports the end
REDELIVERED: Final = "otjobs.job.redelivered"  # true: the broker delivered the message again
BROADCAST: Final = "otjobs.job.broadcast"  # true: the broker hands the message to every worker, each has a run of it
DEAD_LETTER: Final = "otjobs.job.dead_letter"  # true: set aside for good
CPU_SECONDS: Final = "otjobs.job.cpu_seconds"  # seconds, where one thread ran the attempt
WORKER: Final = "otjobs.worker"  # worker name, host:pid where the library has none
ERROR_TYPE: Final = "error.type"  # exception class or reason

# Times, unix ns -------------------------------------------------------------------------------------------------
ENQUEUED_AT: Final = "otjobs.job.enqueued_at"  # first publish of the job
PUBLISHED_AT: Final = "otjobs.job.published_at"  # publish of this attempt, where it differs
DUE_AT: Final = "otjobs.job.due_at"  # earliest allowed start of this attempt
EXPIRES_AT: Final = "otjobs.job.expires_at"  # a job not started by then is expired
RECEIVED_AT: Final = "otjobs.job.received_at"  # when the worker's main process took the message
RETRY_READY_AT: Final = "otjobs.job.retry_ready_at"  # of an attempt that ended as a retry: when the next one is ready
FIRST_STARTED_AT: Final = "otjobs.job.first_started_at"  # start of attempt 1, on retries of a job without enqueued_at

# Causes ---------------------------------------------------------------------------------------------------------
PARENT_ID: Final = "otjobs.job.parent.id"
PARENT_TYPE: Final = "otjobs.job.parent.type"
PARENT_ATTEMPT: Final = "otjobs.job.parent.attempt"
WORKFLOW_ID: Final = "otjobs.workflow.id"  # root's trace id, 32 hex digits, where it differs from the span's
WORKFLOW_TYPE: Final = "otjobs.workflow.type"  # children: the root job's type
WORKFLOW_STARTED_AT: Final = "otjobs.workflow.started_at"  # children: unix ns of the root's dispatch
WORKFLOW_ROOTS: Final = "otjobs.workflow.roots"  # how many root jobs the composite published; its own span's counts
GROUP_ID: Final = "otjobs.group.id"  # the library's id of the group or chord
PRODUCER: Final = "otjobs.job.producer"  # service of the dispatching process, where it differs
TRIGGER: Final = "otjobs.trigger"  # request, schedule, manual (children: job, derived)
TRIGGER_NAME: Final = "otjobs.trigger.name"  # route or span name, schedule entry, ''
LABEL_PREFIX: Final = "otjobs.label."

# Beacons --------------------------------------------------------------------------------------------------------
BEACON_INTERVAL: Final = "otjobs.beacon.interval_seconds"  # seconds until the next beacon is due

# Values ---------------------------------------------------------------------------------------------------------
Outcome = Literal["success", "failure", "retry", "expired", "cancelled", "rejected", "lost"]
"""How an attempt ends (`OUTCOME`)."""
Trigger = Literal["request", "schedule", "manual"]
"""What causes a root job (`TRIGGER`)."""

OUTCOMES: Final[dict[str, Outcome]] = {value: value for value in get_args(Outcome)}
UNSTARTED_OUTCOMES: Final = frozenset({"expired", "cancelled", "rejected"})

NAMES: Final = frozenset(value for name, value in globals().items() if name.isupper() and isinstance(value, str))
"""All of the above; labels have names of their own."""
