"""Schedules over HTTP."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from libs.jobs.dataset_spec import DatasetRequest
from libs.jobs.names import Name
from libs.jobs.schedule_times import LONGEST_S, MOST_CRON_CHARS, SHORTEST_S, check_cron, check_zone
from libs.jobs.schedules import Misfire, Overlap
from libs.jobs.states import JobStatus

Cron = Annotated[str, StringConstraints(min_length=1, max_length=MOST_CRON_CHARS), AfterValidator(check_cron)]
"""Five fields: minute, hour, day of month, month, day of week."""
Zone = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(check_zone)]
"""A time zone of the IANA database."""

_JOB: dict[str, Any] = {
    "method": "update",
    "datasets": {"train": "clicks"},
    "models": {"init": "shop@production"},
    "config": {"promote": "production"},
}
_PLAN: dict[str, Any] = {
    "cron": "0 3 * * *",
    "timezone": "Europe/Berlin",
    "dataset": {"name": "clicks", "source": {"recorded": {"base": "clicks@1"}}},
    "job": _JOB,
}


class ScheduleChange(BaseModel):
    """What a schedule submits, and when: all of it, what is left out takes its default."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _PLAN})

    cron: Cron | None = Field(
        default=None,
        description="Minute, hour, day of month, month, day of week, as cron reads them. Either this or `every_s`.",
        examples=["0 3 * * *"],
    )
    every_s: int | None = Field(
        default=None, ge=SHORTEST_S, le=LONGEST_S, description="Seconds from one time to the next.", examples=[None]
    )
    timezone: Zone = Field(default="UTC", description="Whose clock `cron` means.", examples=["Europe/Berlin"])
    job: dict[str, Any] = Field(
        description="A job as `POST /v1/jobs` takes it. References are looked up each time: `shop@production` is what "
        "the alias is at by then.",
        examples=[_JOB],
    )
    dataset: DatasetRequest | None = Field(
        default=None,
        description="A version of a data set as `POST /v1/datasets` takes it, but no upload. It is made first; the job "
        "waits for its validation and reads just it, wherever it names the data set without a version.",
    )
    overlap: Overlap = Field(
        default="skip", description="While the job of an earlier time has not ended: skip this time, or allow both."
    )
    misfire: Misfire = Field(
        default="once",
        description="Times that nobody fired within a minute: once makes up for all of them by one, skip by none.",
    )

    @model_validator(mode="after")
    def _one_rhythm(self) -> Self:
        if (self.cron is None) == (self.every_s is None):
            raise ValueError("A schedule has either `cron` or `every_s`, and not both.")
        return self


class ScheduleRequest(ScheduleChange):
    """A new schedule."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"name": "nightly", **_PLAN}})

    name: Name


class RunJob(BaseModel):
    """The job of one time, as it stands now."""

    id: UUID
    name: str
    method: str
    status: JobStatus
    reason: str | None = Field(description="Why it is where it is.")
    model: dict[str, Any] | None = Field(description="The model version it made, and what became of the alias.")


class ScheduleRun(BaseModel):
    """What became of one time of a schedule."""

    id: UUID
    planned_at: datetime
    fired_at: datetime
    fired_by: Literal["clock", "user"]
    outcome: Literal["submitted", "skipped", "refused"]
    reason: str | None = Field(description="Why it was skipped or refused.")
    dataset: str | None = Field(description="The version that was begun first.", examples=["clicks@7"])
    job: RunJob | None = Field(description="null, too, when the job was deleted.")


class Schedule(BaseModel):
    """A schedule, and what became of its newest time."""

    id: UUID
    name: str
    cron: str | None
    every_s: int | None
    timezone: str
    job: dict[str, Any]
    dataset: dict[str, Any] | None
    overlap: Overlap
    misfire: Misfire
    status: Literal["active", "paused"]
    status_reason: str | None = Field(description="Why Octavo paused it; null when a user did.")
    next_run_at: datetime | None = Field(description="null while it is paused.")
    refusals: int = Field(description="How many times in a row, up to now, were refused.")
    last_run: ScheduleRun | None
    created_at: datetime
    updated_at: datetime
