"""Settings every Octavo process shares, read from `OCTAVO_*` environment variables.

A service with settings of its own subclasses `PlatformSettings` in its folder.
"""

from functools import cache
from pathlib import Path

import platformdirs
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class PlatformSettings(BaseSettings):
    """Where the shared state lives, and the clocks of the job queue."""

    model_config = SettingsConfigDict(env_prefix="OCTAVO_", extra="ignore", frozen=True)

    database_url: SecretStr = Field(
        default=SecretStr("postgresql+psycopg://octavo@127.0.0.1:5432/octavo"),
        description="SQLAlchemy URL of Postgres 15 or newer, driver psycopg 3.",
    )
    broker_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"), description="Celery broker: Valkey or Redis 7.2+."
    )
    home: Path = Field(
        default=Path(platformdirs.user_data_dir("octavo")),
        description="Folder for this machine's files: caches, attempts, and the local stack's state.",
    )
    artifacts_url: str = Field(
        default="",
        description="Artifact store: file:///folder or s3://bucket/prefix. Empty: <home>/artifacts.",
    )
    data_roots: str = Field(
        default="",
        description="Folders or s3:// prefixes, joined by ':::', under which data sets may be used in place.",
    )
    mirror: str = Field(default="", description="Folder or URL to take public data and weights from.")

    lease_s: float = Field(default=30.0, gt=0, description="How long a claim lasts without a heartbeat.")
    heartbeat_s: float = Field(default=5.0, gt=0, description="Time between two heartbeats of a running attempt.")
    reap_every_s: float = Field(default=5.0, gt=0, description="Time between two looks for expired leases.")
    ring_again_s: float = Field(
        default=15.0, gt=0, description="A queued job nobody claimed for this long is published again."
    )
    job_retention_days: float = Field(
        default=0.0, ge=0, le=36_500, description="Jobs that ended so long ago are deleted by the relay; 0: never."
    )
    event_retention_days: float = Field(
        default=0.0, ge=0, le=36_500, description="Events of users that arrived so long ago are deleted; 0: never."
    )
    recommendation_retention_days: float = Field(
        default=90.0,
        ge=0,
        le=36_500,
        description="What was recommended so long ago is deleted, with its feedback; 0: never.",
    )
    retry_backoff_s: float = Field(default=5.0, ge=0, description="First wait before an automatic retry; doubles.")
    stop_grace_s: float = Field(
        default=30.0,
        gt=0,
        description="Time a child has to write its checkpoint between SIGTERM and SIGKILL.",
    )

    @property
    def artifact_root(self) -> str:
        """The artifact store's URL, never empty."""
        return self.artifacts_url or (self.home / "artifacts").as_uri()

    @property
    def cache(self) -> Path:
        """Folder of digest-addressed copies of data sets and models on this machine."""
        return self.home / "cache"


@cache
def platform_settings() -> PlatformSettings:
    """The settings of this process, read once."""
    return PlatformSettings()
