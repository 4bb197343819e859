"""The life of a job, as data. The same table is enforced in SQL by a trigger (see the first migration).

waiting --> queued --> starting --> running --> succeeded | failed | cancelled
              ^            \\_ retry_wait, paused _/         (terminal: never left)

A job that is paused while it waits goes back to `waiting`.
"""

from enum import StrEnum


class JobStatus(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"  # dependencies or child jobs still run; holds no slot
    QUEUED = "queued"
    STARTING = "starting"  # claimed; data and child process are being made ready
    RUNNING = "running"
    CANCELLING = "cancelling"  # a wish: the child is writing its last checkpoint
    PAUSING = "pausing"
    PAUSED = "paused"
    RETRY_WAIT = "retry_wait"  # the last attempt failed; the next one waits for its backoff
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ExitReason(StrEnum):
    """Why an attempt ended."""

    OK = "ok"
    ERROR = "error"
    CANCELLED = "cancelled"
    PAUSED = "paused"
    SHUTDOWN = "shutdown"
    WORKER_LOST = "worker_lost"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "oom"


TERMINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})
ACTIVE = frozenset({JobStatus.STARTING, JobStatus.RUNNING, JobStatus.CANCELLING, JobStatus.PAUSING})
"""States in which a worker holds a lease."""

_S = JobStatus
ALLOWED_MOVES: dict[JobStatus, frozenset[JobStatus]] = {
    _S.WAITING: frozenset({_S.QUEUED, _S.PAUSED, _S.CANCELLED, _S.FAILED}),
    _S.QUEUED: frozenset({_S.STARTING, _S.CANCELLED, _S.PAUSED, _S.FAILED}),
    _S.STARTING: frozenset(
        {
            _S.RUNNING,
            _S.QUEUED,
            _S.WAITING,
            _S.RETRY_WAIT,
            _S.CANCELLING,
            _S.PAUSING,
            _S.FAILED,
            _S.CANCELLED,
            _S.PAUSED,
        }
    ),
    _S.RUNNING: frozenset(
        {
            _S.SUCCEEDED,
            _S.FAILED,
            _S.CANCELLED,
            _S.CANCELLING,
            _S.PAUSING,
            _S.PAUSED,
            _S.QUEUED,
            _S.RETRY_WAIT,
            _S.WAITING,
        }
    ),
    _S.CANCELLING: frozenset({_S.CANCELLED, _S.SUCCEEDED, _S.FAILED}),
    _S.PAUSING: frozenset({_S.PAUSED, _S.CANCELLING, _S.CANCELLED, _S.SUCCEEDED, _S.FAILED, _S.RETRY_WAIT, _S.QUEUED}),
    _S.PAUSED: frozenset({_S.QUEUED, _S.WAITING, _S.CANCELLED}),
    _S.RETRY_WAIT: frozenset({_S.QUEUED, _S.CANCELLED, _S.PAUSED, _S.FAILED}),
    _S.SUCCEEDED: frozenset(),
    _S.FAILED: frozenset(),
    _S.CANCELLED: frozenset(),
}
