"""Settings that every inference service has; each one adds its prefix, its port and its limits."""

from pathlib import Path

from pydantic import Field

from libs.settings import EnvironmentSettings, PlatformSettings


class ServingSettings(EnvironmentSettings):
    """Address and clocks of one process that serves models."""

    platform: PlatformSettings = Field(default_factory=PlatformSettings)
    host: str = Field(default="127.0.0.1", description="Address it listens at.")
    port: int = Field(ge=0, le=65_535, description="Port it listens at; 0: any that is free.")
    poll_s: float = Field(default=5.0, gt=0, description="Deployments are read again after this, NOTIFY or not.")
    retry_s: float = Field(default=30.0, gt=0, description="A model that failed to load is tried again after this.")
    cache_limit_bytes: int = Field(default=20 * 2**30, ge=1, description="Models kept on disk; loaded ones stay.")
    pool_size: int = Field(default=4, ge=1, description="Database connections of requests.")
    drain_s: float = Field(default=10.0, gt=0, description="Time open requests have to end when the process stops.")

    @property
    def cache_folder(self) -> Path:
        """Digest-checked copies of model bundles, shared by the services of a machine."""
        return self.platform.cache / "models"
