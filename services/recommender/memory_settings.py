"""Settings of what the recommender remembers of users, `OCTAVO_RECOMMENDER_*`."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from libs.settings import EnvironmentSettings, PlatformSettings


class MemorySettings(EnvironmentSettings):
    """Limits of events, where sessions are cached, and how recommendations are written down."""

    model_config = SettingsConfigDict(env_prefix="OCTAVO_RECOMMENDER_", extra="ignore", frozen=True)

    platform: PlatformSettings = Field(default_factory=PlatformSettings)
    max_events: int = Field(default=10_000, ge=1, le=100_000, description="Events of one request.")
    max_events_bytes: int = Field(default=4 * 2**20, ge=1, description="Body of one request of events.")
    clock_skew_s: float = Field(default=60.0, ge=0, description="How far ahead of Octavo's a sender's clock may be.")
    sessions_url: SecretStr = Field(
        default=SecretStr(""),
        description="Valkey of the session cache; all of it can be lost. Empty: database 1 of the broker's server.",
    )
    sessions_password_file: Path | None = Field(default=None, description="File with the password of `sessions_url`.")
    sessions_timeout_s: float = Field(default=0.25, gt=0, description="Longest a request waits for the session cache.")
    session_ttl_s: float = Field(default=3600.0, gt=0, description="A session not asked for so long leaves the cache.")
    session_items: int = Field(default=200, ge=1, le=10_000, description="Newest items of a session that are cached.")
    record_queue: int = Field(default=10_000, ge=1, description="Recommendations waiting to be written, at most.")
    record_queue_bytes: int = Field(default=64 * 2**20, ge=1, description="What they may take as JSON, together.")
    record_every_s: float = Field(default=0.2, gt=0, description="Longest a recommendation waits to be written.")
    record_stop_s: float = Field(default=5.0, gt=0, description="Time to write what waits when the process stops.")

    @property
    def session_cache_url(self) -> str:
        """URL of the session cache, never empty."""
        given = self.sessions_url.get_secret_value()
        return given or urlsplit(self.platform.broker_url.get_secret_value())._replace(path="/1").geturl()
