"""Reads of jobs for lists, streams and tables. What changes a job is in `libs.jobs`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select, text
from sqlalchemy.orm import Session

from libs.database.tables import Artifact, Job, JobDependency, Worker
from libs.web.paging import Position
from services.gateway.repository import newest_first

_SUMMARY = (
    Job.id,
    Job.name,
    Job.method,
    Job.status,
    Job.status_reason,
    Job.queue,
    Job.priority,
    Job.group_id,
    Job.schedule,
    Job.progress,
    Job.progress_note,
    Job.created_at,
    Job.started_at,
    Job.finished_at,
)
_WORKER_IS_GONE_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a list shows; what is None or empty does not matter."""

    status: tuple[str, ...] = ()
    method: str | None = None
    name: str | None = None
    group: UUID | None = None
    schedule: str | None = None


def page(
    session: Session, project_id: UUID, wanted: JobFilter, after: Position | None, count: int
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Summaries of the project's jobs, newest first."""
    query = select(*_SUMMARY).where(Job.project_id == project_id)
    if wanted.status:
        query = query.where(Job.status.in_(wanted.status))
    if wanted.method is not None:
        query = query.where(Job.method == wanted.method)
    if wanted.name is not None:
        query = query.where(Job.name == wanted.name)
    if wanted.group is not None:
        query = query.where(Job.group_id == wanted.group)
    if wanted.schedule is not None:
        query = query.where(Job.schedule == wanted.schedule)
    return session.execute(newest_first(query, Job, after, count)).all()


def status_of(session: Session, project_id: UUID, job_id: UUID) -> Row[str, int] | None:
    """A job's state and the number of its last event."""
    query = select(Job.status, Job.last_event_seq).where(Job.id == job_id, Job.project_id == project_id)
    return session.execute(query).one_or_none()


@dataclass(frozen=True, slots=True)
class Child:
    """A job whose model another one needs, as a summary, and the role the model takes."""

    role: str
    job: Row[*tuple[Any, ...]]


def children(session: Session, job_id: UUID) -> list[Child]:
    """The jobs whose models a job needs, in the order they were submitted."""
    query = select(JobDependency.role, *_SUMMARY).join(Job, Job.id == JobDependency.depends_on)
    mine = query.where(JobDependency.job_id == job_id, JobDependency.role.is_not(None))
    return [Child(row.role, row) for row in session.execute(mine.order_by(Job.created_at, Job.id))]


def members(session: Session, project_id: UUID, group_id: UUID) -> Sequence[Job]:
    """The jobs of a group in the order they were submitted."""
    query = select(Job).where(Job.group_id == group_id, Job.project_id == project_id)
    return session.scalars(query.order_by(Job.created_at, Job.id)).all()


_NAMES = text("""
WITH RECURSIVE found(name) AS (
    (SELECT name FROM job_metrics
     WHERE job_id = :job AND (CAST(:after AS text) IS NULL OR name > :after) ORDER BY name LIMIT 1)
    UNION ALL
    SELECT (SELECT name FROM job_metrics WHERE job_id = :job AND name > found.name ORDER BY name LIMIT 1)
    FROM found WHERE found.name IS NOT NULL
)
SELECT name FROM found WHERE name IS NOT NULL LIMIT :most
""")

_NAMES_AMONG = text("""
SELECT DISTINCT name FROM unnest(CAST(:names AS text[])) AS wanted(name)
WHERE (CAST(:after AS text) IS NULL OR name > :after)
    AND EXISTS (SELECT FROM job_metrics WHERE job_id = :job AND job_metrics.name = wanted.name)
ORDER BY name LIMIT :most
""")

_THINNED = text("""
WITH span AS MATERIALIZED (
    SELECT name,
        (SELECT min(step) FROM job_metrics WHERE job_id = :job AND name = wanted.name) AS low,
        (SELECT max(step) FROM job_metrics WHERE job_id = :job AND name = wanted.name) AS high,
        (SELECT count(*) FROM (
            SELECT FROM job_metrics WHERE job_id = :job AND name = wanted.name LIMIT :points + 1) AS first) AS found
    FROM unnest(CAST(:names AS text[])) AS wanted(name)
)
SELECT name, array_agg(step ORDER BY step) AS steps, array_agg(value ORDER BY step) AS values, false AS thinned
FROM span CROSS JOIN LATERAL (
    SELECT step, value FROM job_metrics WHERE job_id = :job AND name = span.name ORDER BY step LIMIT :points) AS every
WHERE found <= :points
GROUP BY name
UNION ALL
SELECT name, array_agg(step ORDER BY step), array_agg(value ORDER BY step), true
FROM span CROSS JOIN generate_series(1, :points) AS place CROSS JOIN LATERAL (
    SELECT step, value FROM job_metrics
    WHERE job_id = :job AND name = span.name
        AND step > low - 1 + CAST(div((high - low + 1)::numeric * (place - 1), :points) AS bigint)
        AND step <= low - 1 + CAST(div((high - low + 1)::numeric * place, :points) AS bigint)
    ORDER BY step DESC LIMIT 1) AS last
WHERE found > :points
GROUP BY name
ORDER BY name
""")


def metric_names(
    session: Session, job_id: UUID, most: int, after: str | None = None, among: Sequence[str] = ()
) -> Sequence[str]:
    """The names of a job's metrics, the first `most` after `after`; where `among` has some, those of them.

    A jump in the index for each, however many values there are.
    """
    given = {"job": job_id, "most": most, "after": after}
    query = session.scalars(_NAMES_AMONG, {**given, "names": list(among)}) if among else session.scalars(_NAMES, given)
    return query.all()


def thinned_metrics(
    session: Session, job_id: UUID, names: Sequence[str], points: int
) -> Sequence[Row[str, list[int], list[float], bool]]:
    """(name, steps, values, whether it has more) by name, of each metric at most `points` values.

    Of a metric that has more, its steps are cut into so many equal ranges, and the last value of each range stands for
    it; the newest value is always there. Postgres looks up just these: a long job costs no more than a short one.
    """
    return session.execute(_THINNED, {"job": job_id, "names": list(names), "points": points}).all()


def artifacts(session: Session, job_id: UUID) -> Sequence[Artifact]:
    """The files of a job by kind and name."""
    query = select(Artifact).where(Artifact.job_id == job_id)
    return session.scalars(query.order_by(Artifact.kind, Artifact.name, Artifact.created_at)).all()


def artifact(session: Session, job_id: UUID, artifact_id: UUID) -> Artifact | None:
    """One file of a job."""
    return session.scalar(select(Artifact).where(Artifact.job_id == job_id, Artifact.id == artifact_id))


def newest_artifact(session: Session, job_id: UUID, name: str) -> Artifact | None:
    """The newest file of a job with this name."""
    query = select(Artifact).where(Artifact.job_id == job_id, Artifact.name == name)
    return session.scalar(query.order_by(Artifact.created_at.desc()).limit(1))


def live_workers(session: Session, queue: str) -> int:
    """Workers that take jobs of `queue` and have reported lately."""
    lately = Worker.heartbeat_at > func.now() - _WORKER_IS_GONE_AFTER
    return session.scalar(select(func.count()).where(Worker.queues.contains([queue]), lately)) or 0
