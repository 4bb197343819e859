"""Jobs over HTTP."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from libs.jobs.states import JobStatus


class JobSummary(BaseModel):
    """A job as a list shows it."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    method: str
    status: JobStatus
    status_reason: str | None
    queue: str
    priority: int
    group_id: UUID | None
    schedule: str | None = Field(description="The name of the schedule that submitted it, also when that is deleted.")
    progress: float = Field(description="0 to 1.")
    progress_note: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Attempt(BaseModel):
    """One claim of a job by one worker."""

    model_config = ConfigDict(from_attributes=True)

    epoch: int
    started_at: datetime
    finished_at: datetime | None
    exit_reason: str | None
    exit_code: int | None
    error: dict[str, Any] | None


class JobChild(JobSummary):
    """A job whose model another one needs."""

    role: str = Field(description="What for: `models/teacher`, or `runs/afd/0`, a run that is compared.")


class JobDetail(JobSummary):
    """A job with its request, its result and its attempts."""

    spec: dict[str, Any] = Field(description="The request, every default written out and every reference pinned.")
    parent_id: UUID | None
    retry_of: UUID | None
    clone_of: UUID | None
    attempts_used: int
    max_attempts: int
    timeout_s: float | None
    result: dict[str, Any] | None = Field(description="Final metrics and what the job made, once it has succeeded.")
    error: dict[str, Any] | None
    last_event_seq: int
    request_id: str | None = Field(
        description="`X-Request-ID` of the request that submitted it, by which the logs of every process are searched."
    )
    hint: str | None = Field(
        default=None,
        description="What a job that waits lacks: no live worker takes its queue. Only in answers to `GET`.",
    )
    attempts: list[Attempt] = []
    teacher_job: UUID | None = Field(default=None, description="The job that makes its teacher, or made it.")
    children: list[JobChild] = Field(
        default=[],
        description="Jobs whose models it needs: its teacher's, the runs it compares. Cancel, pause and resume pass on "
        "to those that no other job waits for.",
    )


class Event(BaseModel):
    """One entry of a job's history; `seq` is 1, 2, 3 … without a gap."""

    model_config = ConfigDict(from_attributes=True)

    seq: int
    kind: str = Field(examples=["status", "log", "progress", "metrics", "checkpoint", "model", "dataset"])
    data: dict[str, Any]
    at: datetime


class EventPage(BaseModel):
    """Events in order. `ended`: no event will ever follow the last one."""

    items: list[Event]
    next_after: int = Field(description="`after` of the next request.")
    ended: bool


class Series(BaseModel):
    """One metric over steps."""

    name: str = Field(examples=["train/loss"])
    steps: list[int]
    values: list[float | str] = Field(description="Numbers; `NaN`, `Infinity` and `-Infinity` as strings.")
    thinned: bool = Field(description="Whether the job reported more values than these; the last one is always here.")


class MetricPage(BaseModel):
    """Some of a job's metrics, by name. `next_after` is null on the last page."""

    items: list[Series]
    next_after: str | None = Field(default=None, description="`after` of the next request.", examples=[None])


class Artifact(BaseModel):
    """A file a job made."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    kind: str
    name: str
    digest: str = Field(description="SHA-256.")
    size_bytes: int
    media_type: str
    created_at: datetime


class ArtifactList(BaseModel):
    """The files a job made."""

    items: list[Artifact]


class PlannedJob(BaseModel):
    """A job as it would be stored."""

    name: str
    queue: str
    spec: dict[str, Any]


class DryRun(PlannedJob):
    """What a submission would do."""

    workers: int = Field(description="Workers that take jobs of this queue now.")
    first: list[PlannedJob] = Field(
        default=[], description="Jobs that would be made first: its teacher's, the runs it compares."
    )
