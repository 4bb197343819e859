"""Deployments over HTTP."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from libs.jobs.names import Name, Reference
from libs.registry.deployments import DeploymentSettings

Status = Literal["loading", "ready", "failed", "unloaded"]


class DeploymentChange(BaseModel):
    """What a deployment should serve, and how. What is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"model": "cats-frskd@2"}})

    model: Reference | None = Field(
        default=None, description="`model@alias` follows the alias; `model@3` and `model` stay at one version."
    )
    settings: DeploymentSettings | None = Field(
        default=None,
        description="Settings that are left out stay as they are; `traffic` is replaced as a whole, and changing it "
        "alone loads nothing anew.",
        examples=[{"traffic": {"films-new": 30}}],
    )


class DeploymentRequest(BaseModel):
    """A model to be served under a name."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"name": "cats", "model": "cats-frskd@production"}}
    )

    name: Name = Field(description="What /v2/models/{name} and /v1/classify/{name} call it.")
    model: Reference = Field(description="`model@alias` follows the alias; `model@3` and `model` stay at one version.")
    settings: DeploymentSettings = DeploymentSettings()


class Deployment(BaseModel):
    """What should be served, and what is."""

    id: UUID
    name: str
    model: str
    task: str | None = Field(description="What the model does, and so which service answers; null while it has none.")
    alias: str | None = Field(description="The alias it follows.")
    version: int | None = Field(description="The version it should serve now.")
    loaded_version: int | None = Field(description="The version it serves now.")
    status: Status
    status_reason: str | None
    settings: DeploymentSettings
    created_at: datetime
    updated_at: datetime
