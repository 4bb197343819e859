"""Job groups over HTTP."""

from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from libs.jobs.states import JobStatus
from services.gateway.jobs.schemas import JobSummary

MAX_JOBS = 200
"""Of one request, with the jobs that its members need first."""
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Values = Annotated[list[Any], Field(min_length=1, max_length=MAX_JOBS)]


class GroupRequest(BaseModel):
    """Jobs to be submitted together: a list of them, or one varied over seeds and a grid of hyper-parameters."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "job": {"method": "frskd", "datasets": {"train": "digits"}},
                "seeds": [0, 1, 2],
                "grid": {"lr": [0.05, 0.1]},
            }
        },
    )

    jobs: list[dict[str, Any]] | None = Field(default=None, min_length=1, max_length=MAX_JOBS)
    job: dict[str, Any] | None = Field(default=None, description="What is varied.")
    seeds: list[Seed] | None = Field(default=None, min_length=1, max_length=MAX_JOBS)
    grid: dict[str, Values] = Field(
        default_factory=dict, max_length=8, description="Hyper-parameter → values; every combination becomes a job."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.jobs is None) == (self.job is None):
            raise ValueError("give either jobs, or one job with seeds and grid")
        if self.jobs is not None and (self.seeds or self.grid):
            raise ValueError("seeds and grid vary one job; with jobs they have no meaning")
        return self


class GroupMember(BaseModel):
    """One job of a group: what sets it apart, and what came out."""

    job: JobSummary
    seed: int
    varied: dict[str, Any] = Field(description="Hyper-parameters in which the jobs of the group differ.")
    metrics: dict[str, Any] = Field(description="Final figures, once it has succeeded.")


class Group(BaseModel):
    """Jobs submitted together, as one table."""

    id: UUID
    counts: dict[JobStatus, int] = Field(description="Jobs by state.")
    members: list[GroupMember]
