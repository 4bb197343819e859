"""What the overview says: the queue, who works on it, whether the parts of Octavo answer."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

import httpx2
from sqlalchemy.orm import Session

from libs.database.tables import Worker
from libs.jobs import workers
from libs.jobs.states import ACTIVE, JobStatus
from services.gateway.context import Gateway
from services.gateway.dashboard.overview import repository
from services.gateway.inference.proxy import Upstream
from services.gateway.jobs import service as jobs
from services.gateway.jobs.repository import JobFilter
from services.gateway.jobs.schemas import JobSummary

LATEST = 10
ALIVE_WITHIN_S = 60.0
_LATE_S = 10.0
_ANSWER_WITHIN_S = 1.0
_IN_QUEUE = (JobStatus.WAITING, JobStatus.QUEUED, JobStatus.RETRY_WAIT)


@dataclass(frozen=True, slots=True)
class Overview:
    """The figures of one project.

    Attributes:
        slots: jobs that the live workers can run at a time.
    """

    queued: int
    running: int
    paused: int
    by_status: dict[str, int]
    workers: int
    slots: int
    latest: list[JobSummary]


def overview(session: Session, project_id: UUID) -> Overview:
    """The overview of a project."""
    counts = repository.jobs_by_status(session, project_id)
    live = workers.alive(session, ALIVE_WITHIN_S)
    return Overview(
        queued=sum(counts.get(status, 0) for status in _IN_QUEUE),
        running=sum(counts.get(status, 0) for status in ACTIVE),
        paused=counts.get(JobStatus.PAUSED, 0),
        by_status=counts,
        workers=len(live),
        slots=sum(worker.slots for worker in live),
        latest=jobs.listing(session, project_id, JobFilter(), None, LATEST).items,
    )


@dataclass(frozen=True, slots=True)
class Part:
    """One part of Octavo, and how it is."""

    name: str
    well: bool
    words: str


async def services(gateway: Gateway) -> list[Part]:
    """Whether the inference services answer."""
    return list(await asyncio.gather(_service(gateway.model_server), _service(gateway.recommender)))


async def _service(upstream: Upstream) -> Part:
    name = upstream.name.capitalize()
    try:
        answer = await upstream.client.get("/readyz", timeout=_ANSWER_WITHIN_S)
    except httpx2.TransportError:
        return Part(name, well=False, words="does not answer; what it serves is not reached")
    if answer.status_code != 200:
        return Part(name, well=False, words=f"answers, and is not ready (status {answer.status_code})")
    return Part(name, well=True, words="answers")


def stored_parts(session: Session) -> list[Part]:
    """What the database knows: that it answers, the relay's backlog, the workers."""
    count, oldest_s = repository.waiting_messages(session)
    late = oldest_s > _LATE_S
    relay = f"{count} messages wait, the oldest for {oldest_s:.0f} s: is the relay or the broker away?"
    live: list[Worker] = list(workers.alive(session, ALIVE_WITHIN_S))
    none = "none has reported in the last minute; jobs wait until one starts"
    return [
        Part("Postgres", well=True, words="answers"),
        Part("Relay", well=not late, words=relay if late else "rings workers at once"),
        Part("Workers", well=bool(live), words=f"{len(live)} alive" if live else none),
    ]
