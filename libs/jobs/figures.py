"""How the queue stands now, in one statement that looks at no more rows than it says.

Only jobs that have not ended are counted: those that have may be millions, and are counted as they end
(`libs.jobs.counts`). Each part reads an index of just its rows.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.orm import Session

from libs.jobs.states import ACTIVE, TERMINAL, JobStatus

MOST_ROWS = 10_000
"""Rows that are looked at: of each queue's jobs of a state that waits, and of all others in one. So many: at least."""
OPEN_STATUSES = tuple(status for status in JobStatus if status not in TERMINAL)
"""The states that are counted."""
_STATEMENT_MS = 2000
_WAITING = (JobStatus.RETRY_WAIT, JobStatus.WAITING, JobStatus.PAUSED)


@dataclass(slots=True)
class QueueFigures:
    """What one look found; ages are in seconds on Postgres's clock.

    Attributes:
        jobs: by state and queue, those that have not ended.
        oldest_queued_s: by queue, since when its longest waiting job could be claimed.
        overdue_leases: attempts whose lease has expired and that no reaper has ended yet.
        outbox, outbox_oldest_s: messages that wait to be published.
        workers, slots: by queue, of workers heard of within a lease.
        silent_workers: rows of workers not heard of for longer.
        heartbeat_oldest_s: since the last word of the most silent worker.
        schedules_overdue_s: how late the most overdue schedule is.
    """

    jobs: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    oldest_queued_s: dict[str, float] = field(default_factory=dict)
    overdue_leases: int = 0
    outbox: int = 0
    outbox_oldest_s: float = 0.0
    workers: dict[str, int] = field(default_factory=dict)
    slots: dict[str, int] = field(default_factory=dict)
    silent_workers: int = 0
    heartbeat_oldest_s: float = 0.0
    schedules_overdue_s: float = 0.0


def _listed(statuses: frozenset[JobStatus] | tuple[JobStatus, ...]) -> str:
    return ",".join(f"'{status.value}'" for status in sorted(statuses))


# States are written out: Postgres takes a partial index only where it sees that the condition implies the index's.
# Each queue is looked at by itself, so that a long one hides no other; jobs at work are no more than slots.
_STATEMENT = text(f"""
WITH queued AS MATERIALIZED (
    SELECT queue, queued_at FROM unnest(CAST(:queues AS text[])) AS asked (queue), LATERAL (
        SELECT queued_at FROM jobs WHERE status = 'queued' AND jobs.queue = asked.queue ORDER BY queued_at LIMIT :most
    ) AS found
), active AS MATERIALIZED (
    SELECT status, queue, lease_expires_at FROM jobs WHERE status IN ({_listed(ACTIVE)}) LIMIT :most
), waiting AS MATERIALIZED (
    SELECT status, queue FROM unnest(ARRAY[{_listed(_WAITING)}]) AS state (status),
        unnest(CAST(:queues AS text[])) AS asked (queue), LATERAL (
        SELECT FROM jobs
        WHERE status IN ({_listed(_WAITING)}) AND jobs.status = state.status AND jobs.queue = asked.queue LIMIT :most
    ) AS found
), messages AS MATERIALIZED (
    SELECT created_at FROM outbox ORDER BY id LIMIT :most
), known AS MATERIALIZED (
    SELECT queues, slots, heartbeat_at, heartbeat_at >= clock_timestamp() - make_interval(secs => :lease_s) AS alive
    FROM workers LIMIT :most
)
SELECT 'jobs' AS what, 'queued' AS status, queue, count(*)::float8 AS value FROM queued GROUP BY queue
UNION ALL SELECT 'jobs', status, queue, count(*) FROM active GROUP BY status, queue
UNION ALL SELECT 'jobs', status, queue, count(*) FROM waiting GROUP BY status, queue
UNION ALL SELECT 'oldest', '', queue, extract(epoch FROM clock_timestamp() - min(queued_at)) FROM queued GROUP BY queue
UNION ALL SELECT 'overdue_leases', '', '', count(*) FROM active WHERE lease_expires_at < clock_timestamp()
UNION ALL SELECT 'outbox', '', '', count(*) FROM messages
UNION ALL SELECT 'outbox_oldest_s', '', '', extract(epoch FROM clock_timestamp() - min(created_at)) FROM messages
UNION ALL SELECT 'workers', '', queue, count(*) FROM known, unnest(queues) AS queue WHERE alive GROUP BY queue
UNION ALL SELECT 'slots', '', queue, sum(slots) FROM known, unnest(queues) AS queue WHERE alive GROUP BY queue
UNION ALL SELECT 'silent_workers', '', '', count(*) FROM known WHERE NOT alive
UNION ALL SELECT 'heartbeat_oldest_s', '', '', extract(epoch FROM clock_timestamp() - min(heartbeat_at)) FROM known
UNION ALL SELECT 'schedules_overdue_s', '', '', extract(epoch FROM clock_timestamp() - min(next_run_at))
    FROM schedules WHERE status = 'active'
""")  # noqa: S608 - constants of ours


def queue_figures(session: Session, lease_s: float, queues: Sequence[str]) -> QueueFigures:
    """How these queues stand; the transaction's statements have 2 s each from here on.

    Raises:
        sqlalchemy.exc.OperationalError: Postgres is away, or took longer.
    """
    session.execute(text(f"SET LOCAL statement_timeout = {_STATEMENT_MS}"))
    figures = QueueFigures()
    asked = {"lease_s": lease_s, "queues": list(queues), "most": MOST_ROWS}
    for what, status, queue, value in session.execute(_STATEMENT, asked):
        match what:
            case "jobs":
                figures.jobs[status, queue] = int(value)
            case "oldest":
                figures.oldest_queued_s[queue] = max(0.0, float(value or 0.0))  # a gateway of before wrote no time
            case "workers" | "slots":
                getattr(figures, what)[queue] = int(value)
            case "overdue_leases" | "outbox" | "silent_workers":
                setattr(figures, what, int(value))
            case _:
                setattr(figures, what, max(0.0, float(value or 0.0)))
    return figures
