"""Data sets over HTTP."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["uploading", "validating", "ready", "invalid"]


class CompleteRequest(BaseModel):
    """The upload is complete."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"size_bytes": 1048576}})

    size_bytes: int | None = Field(default=None, ge=0, description="Refused when other than what arrived.")


class DatasetVersion(BaseModel):
    """A version of a data set; `ready` ones never change."""

    id: UUID
    dataset: str
    version: int
    status: Status
    source: dict[str, Any]
    upload_url: str | None = Field(description="Where the chunks go while the version is `uploading`.")
    size_bytes: int
    digest: str | None
    validation_job_id: UUID | None
    summary: dict[str, Any] | None = Field(description="What it holds, by its kind, once it is ready.")
    created_at: datetime


class Dataset(BaseModel):
    """A data set by name."""

    id: UUID
    name: str
    description: str
    created_at: datetime
    latest: DatasetVersion | None = Field(description="Its newest version.")


class DatasetDetail(Dataset):
    """A data set with its newest versions."""

    versions: list[DatasetVersion] = Field(description="The newest 100; the list of versions has them all.")


class Report(BaseModel):
    """What validation found: counts, broken files by name, duplicates, class balance."""

    dataset: str
    version: int
    status: Status
    report: dict[str, Any]


class Statistics(BaseModel):
    """Figures of a ready version."""

    dataset: str
    version: int
    manifest: dict[str, Any]
