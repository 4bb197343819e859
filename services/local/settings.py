"""Settings of the local stack alone, `OCTAVO_LOCAL_*`."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class LocalSettings(BaseSettings):
    """How much the servers of the local stack may take."""

    model_config = SettingsConfigDict(env_prefix="OCTAVO_LOCAL_", extra="ignore", frozen=True)

    session_cache_mb: int = Field(
        default=256, ge=4, le=1_000_000, description="Memory of the session cache; the sessions used least leave it."
    )
