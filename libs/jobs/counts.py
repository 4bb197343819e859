"""What this process did with jobs, for Prometheus: counted when the transaction that did it has been committed.

Each process counts what it did itself, so that sums over processes count everything once: the gateway submits and
cancels, workers take jobs and end attempts, the relay ends those of lost workers. Labels are methods, queues, states
and reasons, of which there is a fixed number; never jobs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from libs.jobs.states import ExitReason, JobStatus

BECAUSE_OF_ANOTHER = "dependency"
"""Why a job ended that ended with one that it depended on; other reasons are those of attempts."""
_WAIT_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 43_200.0)
_ATTEMPT_S = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1800.0, 3600.0, 4 * 3600.0, 12 * 3600.0, 48 * 3600.0)

_submitted = Counter("octavo_jobs_submitted", "Jobs submitted by this process.", ("method",), registry=None)
_ended = Counter(
    "octavo_jobs_ended",
    "Jobs that this process moved to their last state; `reason` is that of the attempt, or dependency.",
    ("method", "status", "reason"),
    registry=None,
)
_attempts = Counter(
    "octavo_job_attempts",
    "Attempts whose end this process wrote down; worker_lost: their lease had expired.",
    ("method", "reason"),
    registry=None,
)
_attempt_s = Histogram(
    "octavo_job_attempt_seconds",
    "From the claim of a job to the end of that attempt.",
    ("method",),
    buckets=_ATTEMPT_S,
    registry=None,
)
_wait_s = Histogram(
    "octavo_job_queue_wait_seconds",
    "From when a job could be claimed to its claim by this process.",
    ("queue",),
    buckets=_WAIT_S,
    registry=None,
)


def show_counts(registry: CollectorRegistry) -> None:
    """Have a registry show what this process did with jobs."""
    for metric in (_submitted, _ended, _attempts, _attempt_s, _wait_s):
        registry.register(metric)


def submitted(session: Session, method: str) -> None:
    """A job was written."""
    _once_committed(session, _submitted.labels(method).inc)


def ended(session: Session, method: str, status: JobStatus, reason: ExitReason | None) -> None:
    """A job came to its last state; `reason` None: because of another job."""
    label = BECAUSE_OF_ANOTHER if reason is None else reason.value
    _once_committed(session, _ended.labels(method, status.value, label).inc)


def attempt_ended(session: Session, method: str, reason: ExitReason, seconds: float) -> None:
    """An attempt was closed."""
    _once_committed(session, _attempts.labels(method, reason.value).inc)
    _once_committed(session, _attempt_s.labels(method).observe, seconds)


def claimed(session: Session, method: str) -> None:
    """An attempt begins: all its possible ends are shown from now on, so that the first is seen as an increase."""
    for reason in ExitReason:
        _once_committed(session, _attempts.labels, method, reason.value)


def waited(session: Session, queue: str, waited_s: float) -> None:
    """A job was taken from its queue."""
    _once_committed(session, _wait_s.labels(queue).observe, waited_s)


@dataclass(frozen=True, slots=True)
class _Pending:
    """What is counted once `within`, and every transaction around it, is committed."""

    within: SessionTransaction | None
    count: Callable[..., object]
    amounts: tuple[Any, ...]


_KEY = "octavo_counts"


def _once_committed(session: Session, count: Callable[..., object], *amounts: Any) -> None:
    within = session.get_nested_transaction() or session.get_transaction()
    session.info.setdefault(_KEY, []).append(_Pending(within, count, amounts))


@event.listens_for(Session, "after_commit")
def _count(session: Session) -> None:
    if session.in_nested_transaction():
        return  # a savepoint; what is around it may yet be rolled back
    for pending in session.info.pop(_KEY, ()):
        pending.count(*pending.amounts)


@event.listens_for(Session, "after_soft_rollback")
def _forget(session: Session, ended: SessionTransaction) -> None:
    if pending := session.info.get(_KEY):
        session.info[_KEY] = [one for one in pending if not _is_within(one.within, ended)]


def _is_within(inner: Any, outer: SessionTransaction) -> bool:
    while inner is not None and inner is not outer:
        inner = inner.parent
    return inner is outer
