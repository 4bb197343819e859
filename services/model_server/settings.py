"""Settings of the model server alone, `OCTAVO_MODEL_SERVER_*`; the shared ones are in `libs.settings`."""

import os
from functools import cache

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from libs.serving.deployments.settings import ServingSettings


class ModelServerSettings(ServingSettings):
    """Address, limits and clocks of one model server process."""

    model_config = SettingsConfigDict(env_prefix="OCTAVO_MODEL_SERVER_", extra="ignore", frozen=True)

    port: int = Field(default=8100, ge=0, le=65_535, description="Port it listens at; 0: any that is free.")
    max_body_bytes: int = Field(default=64 * 2**20, ge=1, description="Limit of an inference request body.")
    max_pixels: int = Field(default=50_000_000, ge=1, description="A picture with more is refused before decoding.")
    decoders: int = Field(
        default=min(4, os.cpu_count() or 1), ge=1, le=64, description="Pictures decoded at the same time."
    )
    load_wait_s: float = Field(default=30.0, gt=0, description="Longest a v2 load request waits for the model.")


@cache
def model_server_settings() -> ModelServerSettings:
    """The settings of this process, read once."""
    return ModelServerSettings()
