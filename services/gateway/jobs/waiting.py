"""Requests that wait for a job: the only asynchronous part. Rows are read in threads."""

import asyncio
from uuid import UUID

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from libs.web.sse import Batch, EventStream, StreamTimes
from services.gateway.context import Gateway
from services.gateway.jobs import service
from services.gateway.jobs.schemas import JobDetail


async def job_after(gateway: Gateway, project_id: UUID, job_id: UUID, wait_s: float) -> JobDetail:
    """The job once it has ended, or as it stands after `wait_s` seconds."""
    if wait_s > 0:
        with gateway.wakeups.subscription(str(job_id)) as news:
            try:
                async with asyncio.timeout(wait_s):
                    await _until_ended(gateway, project_id, job_id, news)
            except TimeoutError:
                pass
    return await run_in_threadpool(_read, gateway, project_id, job_id)


async def _until_ended(gateway: Gateway, project_id: UUID, job_id: UUID, news: asyncio.Event) -> None:
    while not gateway.wakeups.closed:
        news.clear()
        if await run_in_threadpool(_ended, gateway, project_id, job_id):
            return
        await news.wait()


def _ended(gateway: Gateway, project_id: UUID, job_id: UUID) -> bool:
    with gateway.reading() as session:
        return service.has_ended(session, project_id, job_id)


def _read(gateway: Gateway, project_id: UUID, job_id: UUID) -> JobDetail:
    with gateway.reading() as session:
        return service.detail(session, project_id, job_id)


def events_from(gateway: Gateway, project_id: UUID, job_id: UUID, after: int) -> Response:
    """The stream of the job's events after number `after`; 204 when none will ever follow.

    Raises:
        JobNotFound: the project has none of this id.
    """
    with gateway.reading() as session:
        page = service.event_page(session, project_id, job_id, after, 1)
    if page.ended and not page.items:
        return Response(status_code=204)  # tells an EventSource not to connect again
    return _event_stream(gateway, project_id, job_id, after)


def _event_stream(gateway: Gateway, project_id: UUID, job_id: UUID, after: int) -> EventStream:
    """The job's events after number `after`, as they come."""

    def read(after: int) -> Batch:
        with gateway.reading() as session:
            return service.event_batch(session, project_id, job_id, after)

    settings = gateway.settings
    times = StreamTimes(heartbeat_s=settings.heartbeat_s, send_s=settings.stream_send_s)
    return EventStream(gateway.wakeups, str(job_id), read, after, times)
