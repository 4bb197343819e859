"""/v1/jobs: submitting, reading and steering jobs"""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Body, Query, Security
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from libs.jobs import retention, submit, wishes
from libs.jobs.names import Name
from libs.jobs.spec import MethodName
from libs.jobs.states import JobStatus
from libs.web.access_notes import note
from libs.web.auth import Caller, Scope, authenticate
from libs.web.idempotency import Answer
from libs.web.paging import CursorText, Limit, Page
from libs.web.problems import responses
from libs.web.routing import Router
from services.gateway.context import Gw
from services.gateway.idempotency.once import Creates
from services.gateway.jobs import service, waiting
from services.gateway.jobs.repository import JobFilter
from services.gateway.jobs.schemas import DryRun, JobDetail, JobSummary

router = Router(prefix="/v1/jobs", tags=["jobs"])
Reader = Annotated[Caller, Security(authenticate, scopes=[Scope.JOBS_READ])]
Writer = Annotated[Caller, Security(authenticate, scopes=[Scope.JOBS_WRITE])]
SpecBody = Annotated[dict[str, Any], Body()]


@router.post("", status_code=202, response_model=JobDetail, responses={**responses(409), 200: {"model": DryRun}})
def submit_job(
    caller: Writer,
    body: SpecBody,
    creation: Creates,
    dry_run: Annotated[bool, Query(description="Check and resolve everything, queue nothing.")] = False,
) -> JSONResponse:
    """Submit a job. References to data sets and models are resolved now and pinned to a version and its digest.

    With `teacher: {train: …}` or `{init: MODEL, finetune: …}` a second job makes the teacher first, and with `compare`
    there is one job for each run; all of them are queued, or none, and are listed in `children`.

    The answer comes at once, with the job's address in `Location`; follow the job at `/v1/jobs/{id}/events`, or
    wait for its end with `/v1/jobs/{id}?wait=60`.
    """
    spec = service.read_spec(body)
    if dry_run:
        with creation.gateway.reading() as session:
            return JSONResponse(service.dry_run(session, caller.project_id, spec).model_dump(mode="json"))
    return creation.once(caller, lambda session: _accepted(service.submit_job(session, caller.project_id, spec)))


def _accepted(job: JobDetail) -> Answer:
    note(job_id=str(job.id))
    return Answer(202, job.model_dump(mode="json"), {"Location": f"/v1/jobs/{job.id}"})


def _new(session: Session, job: submit.NewJob) -> Answer:
    return _accepted(service.with_children(session, job))


@router.get("", responses=responses())
def list_jobs(
    caller: Reader,
    gateway: Gw,
    status: Annotated[list[JobStatus] | None, Query(max_length=len(JobStatus), description="Any of these.")] = None,
    method: Annotated[MethodName | None, Query()] = None,
    name: Annotated[Name | None, Query()] = None,
    group: UUID | None = None,
    schedule: Annotated[Name | None, Query(description="Submitted by the schedule of this name.")] = None,
    cursor: CursorText = None,
    limit: Limit = 50,
) -> Page[JobSummary]:
    """List jobs, newest first."""
    wanted = JobFilter(tuple(sorted(set(status or ()))), method, name, group, schedule)
    with gateway.reading() as session:
        return service.listing(session, caller.project_id, wanted, cursor, limit)


@router.get("/{job_id}", responses=responses(404))
async def get_job(
    caller: Reader,
    gateway: Gw,
    job_id: UUID,
    wait: Annotated[float, Query(ge=0, le=3600, description="Seconds to wait for the job's end, at most 60.")] = 0.0,
) -> JobDetail:
    """One job. With `wait`, the answer comes when the job has ended, or when that time is over."""
    return await waiting.job_after(gateway, caller.project_id, job_id, min(wait, gateway.settings.max_wait_s))


@router.get("/{job_id}/spec", responses=responses(404))
def get_spec(caller: Reader, gateway: Gw, job_id: UUID) -> dict[str, Any]:
    """The request of a job, complete and pinned: submitting it again runs the same."""
    with gateway.reading() as session:
        return service.find_job(session, caller.project_id, job_id).spec


@router.delete("/{job_id}", status_code=204, responses=responses(404, 409))
def delete_job(caller: Writer, gateway: Gw, job_id: UUID) -> None:
    """Delete a job that has ended, with its events, metrics and files. Models it made stay.

    Its files go with the next `octavo gc`; a checkpoint that a retry goes on from stays as long as the retry. The job
    that validated a data set is deleted only after the data set.
    """
    with gateway.writing() as session:
        retention.delete_job(session, caller.project_id, job_id)


@router.post("/{job_id}/cancel", status_code=202, responses=responses(404, 409))
def cancel_job(caller: Writer, gateway: Gw, job_id: UUID) -> JobDetail:
    """Cancel a job, and those that were made for it alone. A running one writes its last checkpoint first; asking twice
    is harmless."""
    with gateway.writing() as session:
        return service.with_children(session, wishes.cancel(session, caller.project_id, job_id))


@router.post("/{job_id}/pause", status_code=202, responses=responses(404, 409))
def pause_job(caller: Writer, gateway: Gw, job_id: UUID) -> JobDetail:
    """Pause a job, and those that were made for it alone: each writes a checkpoint and gives its slot back."""
    with gateway.writing() as session:
        return service.with_children(session, wishes.pause(session, caller.project_id, job_id))


@router.post("/{job_id}/resume", status_code=202, responses=responses(404, 409))
def resume_job(caller: Writer, gateway: Gw, job_id: UUID) -> JobDetail:
    """Queue a paused job again, with those that were paused with it; it goes on from its newest checkpoint."""
    with gateway.writing() as session:
        return service.with_children(session, wishes.resume(session, caller.project_id, job_id))


@router.post("/{job_id}/retry", status_code=202, response_model=JobDetail, responses=responses(404, 409))
def retry_job(caller: Writer, job_id: UUID, creation: Creates) -> JSONResponse:
    """A failed or cancelled job as a new job, which goes on from the newest checkpoint.

    A teacher or runs that it needs are used again where they succeeded or run yet, and retried where they did not.
    """
    return creation.once(caller, lambda session: _new(session, submit.retry(session, caller.project_id, job_id)))


@router.post("/{job_id}/clone", status_code=202, response_model=JobDetail, responses=responses(404, 409))
def clone_job(caller: Writer, job_id: UUID, creation: Creates) -> JSONResponse:
    """The same request as a new job, from its beginning; a teacher that was made for the old one is used again."""
    return creation.once(caller, lambda session: _new(session, submit.clone(session, caller.project_id, job_id)))
