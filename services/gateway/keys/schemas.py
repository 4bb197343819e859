"""API keys over HTTP."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from libs.web.auth import Scope

KeyName = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]


class KeyRequest(BaseModel):
    """A key to be made. It can do no more than the key that makes it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"name": "ci", "scopes": ["jobs:write"]}})

    name: KeyName = Field(description="What it is for.")
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope))


class Key(BaseModel):
    """A key, without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    prefix: str = Field(description="The middle part of the key, to recognise it by.")
    scopes: list[str]
    created_at: datetime
    last_used_at: datetime | None = Field(description="To the minute.")
    revoked_at: datetime | None


class CreatedKey(Key):
    """A new key, with its text: the only time it is shown."""

    key: str | None = Field(description="null in the answer to a repeat.", examples=["oct_0123456789_…"])
