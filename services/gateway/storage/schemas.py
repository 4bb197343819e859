"""Storage over HTTP."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Usage(BaseModel):
    """Space of one data set, one model, or one kind of artifacts of jobs."""

    model_config = ConfigDict(from_attributes=True)

    noun: Literal["dataset", "model", "artifact"]
    name: str
    items: int = Field(description="Versions, or files.")
    size_bytes: int


class UsageList(BaseModel):
    """Space by noun and name, largest first."""

    items: list[Usage]


MAX_AGE_S = 100 * 365 * 86_400


class CollectRequest(BaseModel):
    """What to collect. Each of these may be a query parameter instead."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"dry_run": True, "jobs_older_than_s": 2_592_000}}
    )

    dry_run: bool | None = Field(default=None, description="Only say what would go.")
    jobs_older_than_s: float | None = Field(
        default=None, ge=0, le=MAX_AGE_S, description="Delete jobs that ended this long ago, too."
    )


class Collected(BaseModel):
    """What went, or would go."""

    jobs: int
    files: int
    size_bytes: int
    dry_run: bool
