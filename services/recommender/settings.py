"""Settings of the recommender alone, `OCTAVO_RECOMMENDER_*`; what it remembers of users is in `memory_settings`."""

from functools import cache

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from libs.serving.deployments.settings import ServingSettings
from services.recommender.memory_settings import MemorySettings


class RecommenderSettings(ServingSettings):
    """Address, limits and clocks of one recommender process."""

    model_config = SettingsConfigDict(env_prefix="OCTAVO_RECOMMENDER_", extra="ignore", frozen=True)

    memory: MemorySettings = Field(default_factory=MemorySettings)
    port: int = Field(default=8200, ge=0, le=65_535, description="Port it listens at; 0: any that is free.")
    pool_size: int = Field(
        default=8, ge=1, description="Threads that compute, and database connections: a request waits for no other."
    )
    max_waiting: int = Field(default=256, ge=1, description="Requests waiting for a thread; further ones are refused.")
    batch_timeout_s: float = Field(default=20.0, gt=0, description="Histories of a batch that are read later are not.")
    max_body_bytes: int = Field(default=4 * 2**20, ge=1, description="Limit of a request body.")


@cache
def recommender_settings() -> RecommenderSettings:
    """The settings of this process, read once."""
    return RecommenderSettings()
