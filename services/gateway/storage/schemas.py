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


class Collected(BaseModel):
    """What went, or would go."""

    jobs: int
    files: int
    size_bytes: int
    dry_run: bool
