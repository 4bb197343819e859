"""Data sets over HTTP."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from libs.data.config import ValidationConfig
from libs.jobs.spec import Name

FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$")]
"""A plain file name; its ending says what the upload is."""

PlainText = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")]
Status = Literal["uploading", "validating", "ready", "invalid"]


class UploadSource(BaseModel):
    """The content will be uploaded in chunks."""

    model_config = ConfigDict(extra="forbid", title="UploadSource")

    upload: FileName = Field(description="File name; its ending says what it is.", examples=["cats.zip"])


class PathSource(BaseModel):
    """The content lies where the workers can read it, under one of the allowed roots (`OCTAVO_DATA_ROOTS`)."""

    model_config = ConfigDict(extra="forbid", title="PathSource")

    path: Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]+$")] = Field(
        examples=["/data/cats", "s3://bucket/cats"]
    )


class PublicSource(BaseModel):
    """A public data set that Octavo fetches, with its checksum, from its official address or `OCTAVO_MIRROR`."""

    model_config = ConfigDict(extra="forbid", title="PublicSource")

    public: Name = Field(examples=["digits"])


Source = UploadSource | PathSource | PublicSource


class VersionRequest(BaseModel):
    """A new version of a data set."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"source": {"upload": "cats.zip"}}})

    source: Source
    validation: ValidationConfig = Field(default=ValidationConfig(), description="How it is checked and split.")


class DatasetRequest(VersionRequest):
    """A data set and its first version; for a name that exists, its next version."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"name": "cats", "source": {"upload": "cats.zip"}}}
    )

    name: Name
    description: PlainText = ""


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
    summary: dict[str, Any] | None = Field(description="Classes, splits and sizes, once it is ready.")
    created_at: datetime


class Dataset(BaseModel):
    """A data set by name."""

    id: UUID
    name: str
    description: str
    created_at: datetime
    latest: DatasetVersion | None = Field(description="Its newest version.")


class DatasetDetail(Dataset):
    """A data set with all its versions, newest first."""

    versions: list[DatasetVersion]


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
