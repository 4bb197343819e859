"""Models over HTTP."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

VersionStatus = Literal["ready", "rejected", "archived"]


class VersionSummary(BaseModel):
    """A version of a model; it never changes."""

    id: UUID
    model: str
    version: int
    status: VersionStatus
    status_reason: str | None = Field(description="Why it was rejected.")
    method: str
    task: str
    job_id: UUID | None
    digest: str = Field(description="SHA-256 of the bundle.")
    size_bytes: int
    metrics: dict[str, Any]
    created_at: datetime


class VersionDetail(VersionSummary):
    """A version with its signature, preprocessing, labels, gates and lineage."""

    bundle: dict[str, Any]
    gates: dict[str, Any] = Field(description="What the version had to show before it was ready.")
    lineage: dict[str, Any]


class Alias(BaseModel):
    """A movable name for a version. `revision` is its ETag."""

    model: str
    alias: str
    version: int
    revision: int
    updated_at: datetime


class AliasRequest(BaseModel):
    """Where an alias should point."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"version": 3}})

    version: int = Field(ge=1, le=10**9)


class Model(BaseModel):
    """A model by name."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    description: str
    last_version: int
    created_at: datetime


class ModelDetail(Model):
    """A model with its aliases and its versions, newest first."""

    aliases: list[Alias]
    versions: list[VersionSummary]


class LineageDataset(BaseModel):
    """A data set a version was trained on. `name` is null when this project has no data set of that content now."""

    role: str
    digest: str
    name: str | None
    version: int | None


class LineageModel(BaseModel):
    """A model version another one came from."""

    role: str
    digest: str
    name: str | None
    version: int | None


class Lineage(BaseModel):
    """Where a version comes from, and what came from it."""

    model: str
    version: int
    digest: str
    method: str
    job_id: UUID | None
    seed: int | None
    code_version: str
    config: dict[str, Any]
    datasets: list[LineageDataset]
    parents: list[LineageModel]
    children: list[LineageModel]


class Comparison(BaseModel):
    """Versions side by side: one column each, in the order asked for."""

    versions: list[VersionSummary]
    metrics: dict[str, list[float | str | None]] = Field(
        description="Name → value of each version, null: not measured."
    )
    config: dict[str, list[Any]] = Field(description="Hyper-parameters in which they differ.")
    parameters: list[int]
    latency_p50_ms: list[float | None] = Field(description="Of one picture on one thread, where they were exported.")
