"""Submitting jobs and reading them back. What a job may do next is decided by `libs.jobs`."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy.orm import Session

from libs.database.tables import Artifact as ArtifactRow
from libs.database.tables import Job
from libs.jobs import events, reports
from libs.jobs.errors import JobNotFound
from libs.jobs.plan import TEACHER, default_name, plan
from libs.jobs.spec import JobSpec, config_class, parse_spec
from libs.jobs.states import TERMINAL, JobStatus
from libs.jobs.submit import NewJob, accept
from libs.web.field_errors import Path, names_in
from libs.web.json_text import check_storable
from libs.web.paging import Page, decode_cursor
from libs.web.problems import FieldProblem, NotFoundError, UnprocessableError, summary_of, validation_problem
from libs.web.sse import Batch, StreamEvent
from services.gateway.jobs import repository
from services.gateway.jobs.schemas import (
    Artifact,
    ArtifactList,
    Attempt,
    DryRun,
    Event,
    EventPage,
    JobChild,
    JobDetail,
    JobSummary,
    MetricPage,
    PlannedJob,
    Series,
)
from services.gateway.paging import page_of
from services.gateway.repository import owned

STREAM_BATCH = 500
_WAITING_FOR_A_WORKER = (JobStatus.QUEUED, JobStatus.RETRY_WAIT)
NO_DIRECT = {"validate-dataset": "A data set is validated when it is made: POST /v1/datasets."}


def read_spec(body: dict[str, Any]) -> JobSpec:
    """The job a request body asks for.

    Raises:
        UnprocessableError: it is not valid; a pointer to each field.
    """
    check_storable(body)
    try:
        spec = parse_spec(body)
    except ValidationError as error:
        raise _spec_problem(error, body) from None
    if spec.method in NO_DIRECT:
        field = FieldProblem(pointer="/method", message=NO_DIRECT[spec.method])
        raise UnprocessableError(field.message, errors=[field])
    return spec


def _spec_problem(error: ValidationError, body: dict[str, Any]) -> UnprocessableError:
    """Without a known method, nothing can be said of its config."""
    problem = validation_problem(error, names=partial(_field_names, body))
    of_method = [field for field in problem.errors if field.pointer == "/method"]
    if of_method:
        others = [field for field in problem.errors if field.pointer.partition("/config")[0] and field not in of_method]
        code = "unknown_method" if "There is no method" in of_method[0].message else None
        fields = [*of_method, *others]
        return UnprocessableError(summary_of(fields), code=code, errors=fields)
    return problem


def _field_names(body: dict[str, Any], path: Path) -> Sequence[str]:
    """The fields at a place in a job request; those of `config` are its method's."""
    if path[:1] != ("config",):
        return names_in(JobSpec)(path)
    method, below = body["method"], path[1:]
    if method == "estimate" and below[:1] == ("config",):
        method, below = body["config"]["of"], below[1:]
    return names_in(config_class(method))(below)


def submit_job(session: Session, project_id: UUID, spec: JobSpec) -> JobDetail:
    """Pin the references of a spec and queue it, after the jobs it needs first.

    Raises:
        RequestRefused: a reference means nothing usable.
    """
    new = accept(session, project_id, spec)
    return with_children(session, new) if new.status == JobStatus.WAITING else detail_of(new)


def with_children(session: Session, job: Job | NewJob) -> JobDetail:
    """A job that was just written, with those whose models it needs."""
    return detail_of(job, children=repository.children(session, job.id))


def dry_run(session: Session, project_id: UUID, spec: JobSpec) -> DryRun:
    """What `submit_job` would store, and who could run it now.

    Raises:
        RequestRefused: a reference means nothing usable.
    """
    *first, last = plan(session, project_id, spec).first_to_last()
    return DryRun(
        **_as_planned(last.spec).model_dump(),
        workers=repository.live_workers(session, last.spec.queue),
        first=[_as_planned(one.spec) for one in first],
    )


def _as_planned(spec: JobSpec) -> PlannedJob:
    return PlannedJob(name=spec.name or default_name(spec), queue=spec.queue, spec=spec.model_dump(mode="json"))


def listing(
    session: Session, project_id: UUID, wanted: repository.JobFilter, cursor: str | None, limit: int
) -> Page[JobSummary]:
    """A page of jobs, newest first."""
    filters = {name: getattr(wanted, name) for name in wanted.__slots__}
    after = decode_cursor(cursor, "jobs", filters)
    rows = repository.page(session, project_id, wanted, after, limit + 1)
    return page_of(rows, limit, "jobs", filters, JobSummary.model_validate)


def find_job(session: Session, project_id: UUID, job_id: UUID) -> Job:
    """A job of the project.

    Raises:
        JobNotFound: the project has none of this id.
    """
    job = owned(session, Job, project_id, job_id)
    if job is None:
        raise JobNotFound(job_id)
    return job


def detail(session: Session, project_id: UUID, job_id: UUID) -> JobDetail:
    """A job with its attempts."""
    job = find_job(session, project_id, job_id)
    attempts = [Attempt.model_validate(row) for row in reports.attempts(session, job_id)]
    return detail_of(job, attempts, _hint(session, job), repository.children(session, job_id))


def _hint(session: Session, job: Job) -> str | None:
    if job.status not in _WAITING_FOR_A_WORKER or repository.live_workers(session, job.queue):
        return None
    needs = " with a GPU" if job.queue == "gpu" else ""
    advice = f"start a worker{needs}, or cancel it" + (" and submit it with device `auto`" if needs else "")
    return f"No worker that is alive takes jobs of the queue {job.queue!r}; the job waits until one does: {advice}."


def detail_of(
    job: Job | NewJob,
    attempts: Sequence[Attempt] = (),
    hint: str | None = None,
    children: Sequence[repository.Child] = (),
) -> JobDetail:
    """A job over HTTP."""
    return JobDetail(
        **{name: getattr(job, name) for name in _OF_THE_ROW},
        attempts=list(attempts),
        hint=hint,
        teacher_job=next((child.job.id for child in children if child.role == TEACHER), None),
        children=[JobChild(role=child.role, **_summary(child.job)) for child in children],
    )


_OF_THE_ROW = JobDetail.model_fields.keys() - {"attempts", "hint", "teacher_job", "children"}


def _summary(job: Any) -> dict[str, Any]:
    return JobSummary.model_validate(job).model_dump()


def has_ended(session: Session, project_id: UUID, job_id: UUID) -> bool:
    """Whether a job is in a terminal state."""
    return _state(session, project_id, job_id)[0] in TERMINAL


def _state(session: Session, project_id: UUID, job_id: UUID) -> tuple[str, int]:
    found = repository.status_of(session, project_id, job_id)
    if found is None:
        raise JobNotFound(job_id)
    return found[0], found[1]


def event_page(session: Session, project_id: UUID, job_id: UUID, after: int, limit: int) -> EventPage:
    """Events after number `after`."""
    status, last_seq = _state(session, project_id, job_id)
    items = [Event.model_validate(row) for row in events.after(session, job_id, after, limit)]
    next_after = items[-1].seq if items else after
    return EventPage(items=items, next_after=next_after, ended=status in TERMINAL and next_after >= last_seq)


def event_batch(session: Session, project_id: UUID, job_id: UUID, after: int) -> Batch:
    """Events after number `after`, for a stream.

    The state is read before the events: whatever a terminal job wrote is then among them.
    """
    status, last_seq = _state(session, project_id, job_id)
    rows = events.after(session, job_id, after, STREAM_BATCH)
    seen = rows[-1].seq if rows else after
    stream = [StreamEvent(row.seq, row.kind, {**row.data, "at": row.at.isoformat()}) for row in rows]
    return Batch(stream, more=len(rows) == STREAM_BATCH, ended=status in TERMINAL and seen >= last_seq)


def metric_page(
    session: Session, project_id: UUID, job_id: UUID, names: Sequence[str], after: str | None, limit: int, points: int
) -> MetricPage:
    """The first `limit` metrics after the name `after`, each of at most `points` values; of `names` where some are.

    Raises:
        JobNotFound: the project has no such job.
    """
    find_job(session, project_id, job_id)
    found = repository.metric_names(session, job_id, limit + 1, after, names)
    wanted = found[:limit]
    items = [
        Series(name=name, steps=steps, values=[json_number(value) for value in values], thinned=thinned)
        for name, steps, values, thinned in repository.thinned_metrics(session, job_id, wanted, points)
    ]
    return MetricPage(items=items, next_after=wanted[-1] if len(found) > limit else None)


Curve = tuple[list[int], list[float | str]]
"""Steps, and a value for each as JSON can carry it."""


def curves(
    session: Session, project_id: UUID, job_id: UUID, names: Sequence[str], points: int, most: int
) -> dict[str, Curve]:
    """Metrics by name, of each at most `points` values, and of all together about `most`.

    Raises:
        JobNotFound: the project has no such job.
    """
    find_job(session, project_id, job_id)
    points = max(1, min(points, most // max(1, len(names))))
    thinned = repository.thinned_metrics(session, job_id, names, points)
    return {name: (steps, [json_number(value) for value in values]) for name, steps, values, _ in thinned}


def metric_names(session: Session, project_id: UUID, job_id: UUID, most: int) -> Sequence[str]:
    """The first `most` names of a job's metrics, by name.

    Raises:
        JobNotFound: the project has no such job.
    """
    find_job(session, project_id, job_id)
    return repository.metric_names(session, job_id, most)


def json_number(value: float) -> float | str:
    """A number as JSON can carry it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def artifact_list(session: Session, project_id: UUID, job_id: UUID) -> ArtifactList:
    """The files a job made."""
    find_job(session, project_id, job_id)
    return ArtifactList(items=[Artifact.model_validate(row) for row in repository.artifacts(session, job_id)])


def find_artifact(session: Session, project_id: UUID, job_id: UUID, artifact_id: UUID) -> ArtifactRow:
    """One file of a job.

    Raises:
        NotFoundError: the job has none of this id.
    """
    find_job(session, project_id, job_id)
    artifact = repository.artifact(session, job_id, artifact_id)
    if artifact is None:
        raise NotFoundError(f"Job {job_id} has no artifact {artifact_id}.", code="artifact_not_found")
    return artifact


def find_report(session: Session, project_id: UUID, job_id: UUID) -> ArtifactRow:
    """The HTML report of a job.

    Raises:
        NotFoundError: it has none yet.
    """
    job = find_job(session, project_id, job_id)
    artifact = repository.newest_artifact(session, job_id, "report.html")
    if artifact is None:
        detail = f"Job {job_id} has no report; it is written when the job succeeds, and the job is {job.status}."
        raise NotFoundError(detail, code="report_not_found")
    return artifact
