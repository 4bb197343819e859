"""/jobs/{id}: one job, live, and what can be asked of it"""

from typing import Annotated
from uuid import UUID

from fastapi import Header, Query, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from libs.jobs import retention, submit, wishes
from libs.web.sse import MAX_SEQ, last_event_id
from services.gateway.context import Gw
from services.gateway.dashboard.jobs import view
from services.gateway.dashboard.pages import Pages, done
from services.gateway.dashboard.session.visit import ReadsJobs, WritesJobs
from services.gateway.dashboard.templating import HEADERS, render
from services.gateway.downloads import download_of, stream_file
from services.gateway.jobs import service, waiting

router = Pages(prefix="/jobs/{job_id}")
_POINTS = 400
"""Points of a curve: about as many as a chart has pixels."""
_MOST_POINTS = 15_000
"""Points of all curves of a page together: a job that reports very many metrics gets coarser ones."""
_MOST_CURVES = 300
"""Metrics of a page, the first by name: nothing limits how many a job reports, and each costs a look at the index."""
USED = ("resources/cpu", "resources/memory", "resources/gpu", "resources/gpu_memory")
"""Metrics of what a job uses, on its page whatever else it reports."""
Before = Annotated[int | None, Query(ge=1, le=MAX_SEQ)]


@router.page("")
def job_page(request: Request, gateway: Gw, visitor: ReadsJobs, job_id: UUID) -> Response:
    """One job. Its curves are fetched, and its events streamed, by the page's script."""
    with gateway.reading() as session:
        page = view.job_page(session, visitor.caller.project_id, job_id)
        log = view.log_page(session, visitor.caller.project_id, page.job, None)
    return render(request, "jobs/job.html", page=page, job=page.job, log=log, words_of=view.words_of)


@router.page("/now")
def job_part(request: Request, gateway: Gw, visitor: ReadsJobs, job_id: UUID) -> Response:
    """What changes while the job lives, again."""
    with gateway.reading() as session:
        page = view.job_page(session, visitor.caller.project_id, job_id)
    return render(request, "jobs/changed.html", page=page, job=page.job)


@router.page("/log")
def log_page(request: Request, gateway: Gw, visitor: ReadsJobs, job_id: UUID, before: Before = None) -> Response:
    """Events by pages, newest page first."""
    with gateway.reading() as session:
        job = service.detail(session, visitor.caller.project_id, job_id)
        log = view.log_page(session, visitor.caller.project_id, job, before)
    return render(request, "jobs/log.html", job=job, log=log, words_of=view.words_of)


@router.page("/curves")
def curves(gateway: Gw, visitor: ReadsJobs, job_id: UUID) -> Response:
    """The metrics of the job, thinned out by Postgres to what a chart can show; `more`: there are others."""
    project_id = visitor.caller.project_id
    with gateway.reading() as session:
        names = service.metric_names(session, project_id, job_id, _MOST_CURVES + 1)
        wanted = list(dict.fromkeys([*names[:_MOST_CURVES], *USED]))
        found = service.curves(session, project_id, job_id, wanted, _POINTS, _MOST_POINTS)
    items = [{"name": name, "steps": steps, "values": values} for name, (steps, values) in found.items()]
    return JSONResponse({"items": items, "more": len(names) > _MOST_CURVES}, headers=HEADERS)


@router.page("/stream")
def stream(
    gateway: Gw,
    visitor: ReadsJobs,
    job_id: UUID,
    after: Annotated[int, Query(ge=0, le=MAX_SEQ)] = 0,
    resume_after: Annotated[str | None, Header(alias="Last-Event-ID", max_length=20)] = None,
) -> Response:
    """The job's events as they come: the API's stream, for a browser, which sends a cookie and no key."""
    return waiting.events_from(gateway, visitor.caller.project_id, job_id, last_event_id(resume_after, after))


@router.page("/report")
def report(gateway: Gw, visitor: ReadsJobs, job_id: UUID) -> Response:
    """The report a job wrote, for a frame in which it reaches nothing."""
    with gateway.reading() as session:
        found = service.find_report(session, visitor.caller.project_id, job_id)
    return stream_file(gateway.store, download_of(found), inline=True)


@router.page("/artifacts/{artifact_id}")
def artifact(gateway: Gw, visitor: ReadsJobs, job_id: UUID, artifact_id: UUID) -> Response:
    """One file of a job."""
    with gateway.reading() as session:
        found = service.find_artifact(session, visitor.caller.project_id, job_id, artifact_id)
    return stream_file(gateway.store, download_of(found))


@router.action("/cancel")
def cancel(request: Request, gateway: Gw, visitor: WritesJobs, job_id: UUID) -> Response:
    """Cancel the job."""
    with gateway.writing() as session:
        wishes.cancel(session, visitor.caller.project_id, job_id)
    return done(f"/jobs/{job_id}", request)


@router.action("/pause")
def pause(request: Request, gateway: Gw, visitor: WritesJobs, job_id: UUID) -> Response:
    """Pause the job."""
    with gateway.writing() as session:
        wishes.pause(session, visitor.caller.project_id, job_id)
    return done(f"/jobs/{job_id}", request)


@router.action("/resume")
def resume(request: Request, gateway: Gw, visitor: WritesJobs, job_id: UUID) -> Response:
    """Queue the paused job again."""
    with gateway.writing() as session:
        wishes.resume(session, visitor.caller.project_id, job_id)
    return done(f"/jobs/{job_id}", request)


@router.action("/retry")
def retry(request: Request, gateway: Gw, visitor: WritesJobs, job_id: UUID) -> Response:
    """Make a new job that goes on from the newest checkpoint, and show it."""
    with gateway.writing() as session:
        new = submit.retry(session, visitor.caller.project_id, job_id)
        new_id = new.id
    return done(f"/jobs/{new_id}", request)


@router.action("/clone")
def clone(request: Request, gateway: Gw, visitor: WritesJobs, job_id: UUID) -> Response:
    """Make a new job of the same request, and show it."""
    with gateway.writing() as session:
        new = submit.clone(session, visitor.caller.project_id, job_id)
        new_id = new.id
    return done(f"/jobs/{new_id}", request)


@router.action("/delete")
def delete(request: Request, gateway: Gw, visitor: WritesJobs, job_id: UUID) -> Response:
    """Delete the job, and show the others."""
    with gateway.writing() as session:
        retention.delete_job(session, visitor.caller.project_id, job_id)
    return done("/jobs", request)
