"""Settings of the model server alone, `OCTAVO_MODEL_SERVER_*`; the shared ones are in `libs.settings`."""

import os
from functools import cache
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from libs.settings import PlatformSettings


class ModelServerSettings(BaseSettings):
    """Address, limits and clocks of one model server process."""

    model_config = SettingsConfigDict(env_prefix="OCTAVO_MODEL_SERVER_", extra="ignore", frozen=True)

    platform: PlatformSettings = Field(default_factory=PlatformSettings)
    host: str = "127.0.0.1"
    port: int = Field(default=8100, ge=0, le=65_535)
    max_body_bytes: int = Field(default=64 * 2**20, ge=1, description="Limit of an inference request body.")
    max_pixels: int = Field(default=50_000_000, ge=1, description="A picture with more is refused before decoding.")
    decoders: int = Field(
        default=min(4, os.cpu_count() or 1), ge=1, le=64, description="Pictures decoded at the same time."
    )
    poll_s: float = Field(default=5.0, gt=0, description="Deployments are read again after this, NOTIFY or not.")
    retry_s: float = Field(default=30.0, gt=0, description="A model that failed to load is tried again after this.")
    load_wait_s: float = Field(default=30.0, gt=0, description="Longest a v2 load request waits for the model.")
    cache_limit_bytes: int = Field(default=20 * 2**30, ge=1, description="Models kept on disk; loaded ones stay.")
    drain_s: float = Field(default=10.0, gt=0, description="Time open requests have to end when the process stops.")

    @property
    def cache_folder(self) -> Path:
        """Digest-checked copies of model bundles."""
        return self.platform.cache / "models"

    @property
    def snapshot_file(self) -> Path:
        """What was last known of deployments and keys; read when Postgres is down at start."""
        return self.platform.home / "model_server" / "snapshot.json"


@cache
def model_server_settings() -> ModelServerSettings:
    """The settings of this process, read once."""
    return ModelServerSettings()
