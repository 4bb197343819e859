"""What a job leaves behind while it runs and after: events, metrics, artifacts, report"""

from typing import Annotated
from uuid import UUID

from fastapi import Header, Query
from starlette.responses import Response, StreamingResponse

from libs.web.problems import responses
from libs.web.routing import Router
from libs.web.sse import MAX_SEQ, last_event_id
from services.gateway.context import Gw
from services.gateway.downloads import download_of, stream_file
from services.gateway.jobs import service, waiting
from services.gateway.jobs.routes import Reader
from services.gateway.jobs.schemas import ArtifactList, EventPage, MetricPage

router = Router(prefix="/v1/jobs", tags=["jobs"])
MetricName = Annotated[str, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
_MOST_METRICS = 50


@router.get(
    "/{job_id}/events",
    response_model=EventPage,
    responses={
        **responses(404),
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
        204: {"description": "A stream that was read to its end."},
    },
)
def list_events(
    caller: Reader,
    gateway: Gw,
    job_id: UUID,
    after: Annotated[int, Query(ge=0, le=MAX_SEQ, description="Number of the last event you have.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
    resume_after: Annotated[str | None, Header(alias="Last-Event-ID", max_length=20)] = None,
) -> Response | EventPage:
    """A job's history: status, log, progress, metrics, checkpoint, model and data set events, numbered 1, 2, 3 …

    With `Accept: text/event-stream` the events are streamed as they come, each with its number as id:
    `Last-Event-ID` goes on where a broken connection ended. An `end` event says that none will follow.
    """
    if "text/event-stream" in accept:
        return waiting.events_from(gateway, caller.project_id, job_id, last_event_id(resume_after, after))
    with gateway.reading() as session:
        return service.event_page(session, caller.project_id, job_id, after, limit)


@router.get("/{job_id}/metrics", responses=responses(404))
def get_metrics(
    caller: Reader,
    gateway: Gw,
    job_id: UUID,
    name: Annotated[list[MetricName] | None, Query(max_length=_MOST_METRICS, description="Only these.")] = None,
    points: Annotated[int, Query(ge=1, le=10_000, description="Most values of one metric.")] = 1000,
    after: Annotated[
        str | None, Query(max_length=200, pattern=r"^[^\x00]*$", description="Name of the last metric you have.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=_MOST_METRICS, description="Metrics a page.")] = _MOST_METRICS,
) -> MetricPage:
    """A page of a job's metrics over optimiser steps, by name, each thinned out to at most `points` values."""
    with gateway.reading() as session:
        return service.metric_page(session, caller.project_id, job_id, name or [], after, limit, points)


@router.get("/{job_id}/artifacts", responses=responses(404))
def list_artifacts(caller: Reader, gateway: Gw, job_id: UUID) -> ArtifactList:
    """The files a job made."""
    with gateway.reading() as session:
        return service.artifact_list(session, caller.project_id, job_id)


@router.get(
    "/{job_id}/artifacts/{artifact_id}",
    response_class=StreamingResponse,
    responses={**responses(404), 200: {"content": {"application/octet-stream": {}}}},
)
def download_artifact(caller: Reader, gateway: Gw, job_id: UUID, artifact_id: UUID) -> StreamingResponse:
    """Download one file of a job."""
    with gateway.reading() as session:
        found = service.find_artifact(session, caller.project_id, job_id, artifact_id)
    return stream_file(gateway.store, download_of(found))


@router.get(
    "/{job_id}/report",
    response_class=StreamingResponse,
    responses={**responses(404), 200: {"content": {"text/html": {}}}},
)
def get_report(caller: Reader, gateway: Gw, job_id: UUID) -> StreamingResponse:
    """The HTML report of a training job: curves, confusion, calibration."""
    with gateway.reading() as session:
        found = service.find_report(session, caller.project_id, job_id)
    return stream_file(gateway.store, download_of(found), inline=True)
