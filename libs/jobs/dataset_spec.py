"""What a version of a data set is to be made of, as `POST /v1/datasets` takes it."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from libs.data.config import ValidationConfig
from libs.data.errors import PublicDatasetError
from libs.data.manifest import DataKind
from libs.jobs.names import Name, Reference

_FILE_NAME = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$"
_ARCHIVES = (".zip", ".npz", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
_TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
_ENDINGS = _ARCHIVES + _TABLES


def _plain(name: str) -> str:
    if re.fullmatch(_FILE_NAME, name) is None:
        raise ValueError(
            "This is not a plain file name: letters, digits, '.', '-' and '_', at most 128 of them, no dot first, "
            "no folders."
        )
    return name


def _archive(name: str) -> str:
    if not name.lower().endswith(_ENDINGS):
        raise ValueError(
            f"A data set is uploaded as one archive or one table of events: a name that ends in {', '.join(_ENDINGS)}."
        )
    return name


FileName = Annotated[str, AfterValidator(_plain), Field(json_schema_extra={"pattern": _FILE_NAME})]
"""A plain file name."""


Place = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A path or an s3:// address."""


def _fetchable(name: str) -> str:
    from libs.data.public.catalog import public_dataset  # needs numpy, which the gateway otherwise does without

    try:
        return public_dataset(name).name
    except PublicDatasetError as error:
        raise ValueError(str(error)) from None


PlainText = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")]


EventType = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Recorded(BaseModel):
    """Which of the events that were sent to `POST /v1/events`, and what they are added to."""

    model_config = ConfigDict(extra="forbid")

    since_days: int | None = Field(
        default=None, ge=1, le=36_500, description="Only those that happened in the last so many days; left out: all."
    )
    types: list[EventType] | None = Field(
        default=None, min_length=1, max_length=100, description="Only events of these types; left out: all."
    )
    base: Reference | None = Field(
        default=None,
        description="A ready data set of events whose events and item features come in too: what was known before.",
        examples=["clicks"],
    )


class Source(BaseModel):
    """Where the content of a version comes from: exactly one of these."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1, "maxProperties": 1})

    upload: Annotated[FileName, AfterValidator(_archive)] | None = Field(
        default=None, description="It will be uploaded in chunks, as a file of this name.", examples=["cats.zip"]
    )
    path: Place | None = Field(
        default=None,
        description="It lies where the workers can read it, under an allowed root (`OCTAVO_DATA_ROOTS`).",
        examples=["/data/cats", "s3://bucket/cats"],
    )
    public: Annotated[str, AfterValidator(_fetchable)] | None = Field(
        default=None,
        description="Octavo fetches it, with its checksum, from its official address or `OCTAVO_MIRROR`.",
        examples=["digits"],
    )

    recorded: Recorded | None = Field(
        default=None, description="It is made of the events that were sent to `POST /v1/events`."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError(
                "A source has exactly one of these fields: `upload` (a file you send), `path` (a place the workers can "
                "read), `public` (a data set that Octavo fetches), `recorded` (events that were sent to Octavo)."
            )
        return self


class VersionRequest(BaseModel):
    """A new version of a data set."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"source": {"upload": "cats.zip"}}})

    source: Source
    validation: ValidationConfig = Field(default=ValidationConfig(), description="How it is checked and split.")

    @property
    def kind(self) -> DataKind | None:
        """What it will hold; None where only validation can tell."""
        if self.source.recorded is not None:
            return "events"
        return None if self.validation.kind == "auto" else self.validation.kind


class DatasetRequest(VersionRequest):
    """A data set and its first version; for a name that exists, its next version."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"name": "cats", "source": {"upload": "cats.zip"}}}
    )

    name: Name
    description: PlainText = ""
