"""Settings of the gateway alone, `OCTAVO_GATEWAY_*`; the shared ones are in `libs.settings`."""

from functools import cache
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from libs.settings import EnvironmentSettings, PlatformSettings


class GatewaySettings(EnvironmentSettings):
    """Address, limits and clocks of one gateway process."""

    model_config = SettingsConfigDict(env_prefix="OCTAVO_GATEWAY_", extra="ignore", frozen=True)

    platform: PlatformSettings = Field(default_factory=PlatformSettings)
    host: str = Field(default="127.0.0.1", description="Address it listens at.")
    port: int = Field(default=8000, ge=0, le=65_535, description="Port it listens at; 0: any that is free.")
    model_server_url: str = Field(
        default="http://127.0.0.1:8100", description="Where /v2 and /v1/classify are passed on to."
    )
    recommender_url: str = Field(
        default="http://127.0.0.1:8200", description="Where recommendations, events and feedback are passed on to."
    )
    first_key_file: Path | None = Field(
        default=None, description="File with an API key that `services.gateway.prepare` makes valid."
    )
    pool_size: int = Field(
        default=16, ge=1, description="Threads that serve requests, each with a database connection of its own."
    )
    max_body_bytes: int = Field(default=2**20, ge=1, description="Limit of a JSON request body.")
    max_chunk_bytes: int = Field(default=5 * 2**30, ge=1, description="Limit of one chunk of an upload.")
    max_upload_bytes: int = Field(default=500 * 2**30, ge=1, description="Limit of a whole upload.")
    max_import_bytes: int = Field(default=4 * 2**30, ge=1, description="Limit of an imported model file.")
    max_inference_bytes: int = Field(default=64 * 2**20, ge=1, description="Limit of an inference request body.")
    body_stall_s: float = Field(
        default=60.0, gt=0, description="A request whose body stops coming for so long is answered by 408."
    )
    inference_timeout_s: float = Field(default=60.0, gt=0, description="Longest wait for an inference service.")
    max_events_bytes: int = Field(default=4 * 2**20, ge=1, description="Limit of a body of events or recommendations.")
    max_wait_s: float = Field(default=60.0, gt=0, description="Longest `?wait=` of a job.")
    heartbeat_s: float = Field(default=15.0, gt=0, description="Comment on an event stream on which nothing happens.")
    stream_send_s: float = Field(default=30.0, gt=0, description="A client slower than this loses its event stream.")
    keep_alive_s: int = Field(
        default=75,
        ge=1,
        description="An idle connection is kept so long. Longer than clients keep theirs (often 5 or 60 s), or a "
        "request may be sent on a connection that is just being closed.",
    )
    drain_s: float = Field(default=10.0, gt=0, description="Time open requests have to end when the process stops.")


@cache
def gateway_settings() -> GatewaySettings:
    """The settings of this process, read once."""
    return GatewaySettings()
