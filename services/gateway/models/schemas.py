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
    """A model with its aliases and its newest versions."""

    aliases: list[Alias]
    versions: list[VersionSummary] = Field(description="The newest 100; the list of versions has them all.")


class LineageNode(BaseModel):
    """One thing in a lineage; an `unknown` one is known by its digest alone."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    kind: Literal["model_version", "dataset_version", "job", "unknown"]
    name: str
    digest: str | None
    deleted: bool


class LineageEdge(BaseModel):
    """`source` went into `target`."""

    model_config = ConfigDict(from_attributes=True)

    source: str
    target: str
    role: str = Field(examples=["dataset:train", "model:init", "made by"])


class Lineage(BaseModel):
    """Everything a version was made from, and every version made from it, as a graph."""

    id: str = Field(description="The node of the version itself.")
    nodes: list[LineageNode]
    edges: list[LineageEdge]
    complete: bool = Field(description="Whether the graph was small enough to be shown whole.")
    seed: int | None
    code_version: str
    config: dict[str, Any]


class MetricChange(BaseModel):
    """A figure of two versions; `change` = right - left where both have it."""

    left: float | None
    right: float | None
    change: float | None


class FactChange(BaseModel):
    """A fact in which two versions differ."""

    model_config = ConfigDict(from_attributes=True)

    left: Any
    right: Any


class Difference(BaseModel):
    """How a version (right) differs from the base (left)."""

    version: VersionSummary
    metrics: dict[str, MetricChange]
    config: dict[str, FactChange] = Field(description="Hyper-parameters that differ.")
    facts: dict[str, FactChange] = Field(description="Size, parameters, labels, data and other facts that differ.")


class Comparison(BaseModel):
    """The first version beside each of the others."""

    base: VersionSummary
    against: list[Difference]
