"""/v1/schedules: jobs that are submitted again and again"""

from typing import Annotated

from fastapi import Path
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from libs.jobs import schedules
from libs.jobs.names import Name
from libs.web.idempotency import Answer
from libs.web.paging import CursorText, Limit, Page
from libs.web.problems import responses
from libs.web.routing import Router
from services.gateway.context import Gw
from services.gateway.idempotency.once import Creates
from services.gateway.jobs.routes import Reader, Writer
from services.gateway.jobs.schemas import JobSummary
from services.gateway.schedules import service
from services.gateway.schedules.schemas import Schedule, ScheduleChange, ScheduleRequest, ScheduleRun

router = Router(prefix="/v1/schedules", tags=["schedules"])
ScheduleName = Annotated[Name, Path(examples=["nightly"])]


@router.post("", status_code=201, response_model=Schedule, responses=responses(409))
def create_schedule(caller: Writer, body: ScheduleRequest, creation: Creates) -> JSONResponse:
    """Submit a job again and again, by a cron expression or every so many seconds.

    Job and data set are checked now as if they were sent, and each time anew. What is refused then is seen in
    `last_run`; five refusals in a row pause the schedule. A schedule that makes data sets needs the scope
    `datasets:write`, too.
    """
    plan = service.read_plan(caller, body)

    def work(session: Session) -> Answer:
        roots = creation.gateway.settings.platform.data_roots
        made = service.create(session, caller.project_id, body, plan, roots)
        return Answer(201, made.model_dump(mode="json"), {"Location": f"/v1/schedules/{made.name}"})

    return creation.once(caller, work)


@router.get("", responses=responses())
def list_schedules(caller: Reader, gateway: Gw, cursor: CursorText = None, limit: Limit = 50) -> Page[Schedule]:
    """List schedules, newest first."""
    with gateway.reading() as session:
        return service.listing(session, caller.project_id, cursor, limit)


@router.get("/{name}", responses=responses(404))
def get_schedule(caller: Reader, gateway: Gw, name: ScheduleName) -> Schedule:
    """One schedule: what it submits and when, and what became of its newest time."""
    with gateway.reading() as session:
        return service.detail(session, caller.project_id, name)


@router.put("/{name}", responses=responses(404))
def replace_schedule(caller: Writer, gateway: Gw, name: ScheduleName, body: ScheduleChange) -> Schedule:
    """Give a schedule another plan, checked as a new one is. A paused schedule stays paused."""
    plan = service.read_plan(caller, body)
    with gateway.writing() as session:
        return service.replace(session, caller.project_id, name, plan, gateway.settings.platform.data_roots)


@router.delete("/{name}", status_code=204, responses=responses(404))
def delete_schedule(caller: Writer, gateway: Gw, name: ScheduleName) -> None:
    """Delete a schedule and the list of its runs. The jobs it submitted stay, and go on."""
    with gateway.writing() as session:
        schedules.delete(session, caller.project_id, name)


@router.post("/{name}/pause", responses=responses(404))
def pause_schedule(caller: Writer, gateway: Gw, name: ScheduleName) -> Schedule:
    """Submit nothing until it is resumed. Again changes nothing."""
    with gateway.writing() as session:
        return service.pause(session, caller.project_id, name)


@router.post("/{name}/resume", responses=responses(404))
def resume_schedule(caller: Writer, gateway: Gw, name: ScheduleName) -> Schedule:
    """Go on with the first time from now; what passed meanwhile is not made up for. Again changes nothing."""
    with gateway.writing() as session:
        return service.resume(session, caller.project_id, name)


@router.get("/{name}/jobs", responses=responses(404))
def list_jobs_of_schedule(
    caller: Reader, gateway: Gw, name: ScheduleName, cursor: CursorText = None, limit: Limit = 50
) -> Page[JobSummary]:
    """The jobs a schedule submitted, newest first: those that train and those that validated a data set first.

    They are found by its name, so those of a deleted schedule of the same name are among them.
    """
    with gateway.reading() as session:
        return service.jobs_of(session, caller.project_id, name, cursor, limit)


@router.get("/{name}/runs", responses=responses(404))
def list_runs(
    caller: Reader, gateway: Gw, name: ScheduleName, cursor: CursorText = None, limit: Limit = 50
) -> Page[ScheduleRun]:
    """What became of a schedule's times, newest first: the last 100, and those whose job has not ended."""
    with gateway.reading() as session:
        return service.runs(session, caller.project_id, name, cursor, limit)


@router.post("/{name}/runs", status_code=202, response_model=ScheduleRun, responses=responses(404, 409))
def run_schedule(caller: Writer, name: ScheduleName, creation: Creates) -> JSONResponse:
    """Submit its job now, beside its own times; also while it is paused. The job's address is in `Location`."""

    def work(session: Session) -> Answer:
        run = service.run(session, caller, name, creation.gateway.settings.platform.data_roots)
        headers = {"Location": f"/v1/jobs/{run.job.id}"} if run.job else {}
        return Answer(202, run.model_dump(mode="json"), headers)

    return creation.once(caller, work)
