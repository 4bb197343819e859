"""Settings every Octavo process shares, read from `OCTAVO_*` environment variables.

A service with settings of its own subclasses `PlatformSettings` or `EnvironmentSettings` in its folder.
"""

from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

import platformdirs
from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

_SCHEMES = {
    "database_url": ("postgresql+psycopg", "postgresql"),
    "broker_url": ("redis", "rediss"),
    "artifacts_url": ("file", "s3"),
}
_PASSWORD_FILE = "_password_file"  # noqa: S105 - the end of field names


class WrongSettings(Exception):
    """An environment variable cannot be used; the message names it and says why, in one line.

    No ValueError: pydantic would take it for a wrong value of the settings that hold these.
    """


class EnvironmentSettings(BaseSettings):
    """Settings from environment variables.

    A field `<name>_password_file` names a file, such as a mounted secret, that holds the password of the address in
    `<name>_url`.

    Raises:
        WrongSettings: a variable has a value it cannot have, or a password file cannot be read.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _from_environment(cls, values: Any, build: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return build({**values, **cls._with_passwords(values)} if isinstance(values, dict) else values)
        except ValidationError as error:
            raise WrongSettings("; ".join(cls._in_words(one["loc"], one["msg"]) for one in error.errors())) from None

    @classmethod
    def _with_passwords(cls, values: dict[str, Any]) -> dict[str, str]:
        """The addresses whose password is in a file."""
        found = {}
        for name, path in values.items():
            if name.endswith(_PASSWORD_FILE) and path:
                address = name.removesuffix(_PASSWORD_FILE) + "_url"
                url = values.get(address, cls.model_fields[address].default)
                text = url.get_secret_value() if isinstance(url, SecretStr) else str(url)
                if not text:
                    raise WrongSettings(cls._in_words((name,), f"there is no {address} that the password is for"))
                found[address] = _with_password(text, cls._password(name, Path(path)))
        return found

    @classmethod
    def _password(cls, field: str, path: Path) -> str:
        try:
            password = path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise WrongSettings(cls._in_words((field,), f"{path} cannot be read: {reason}")) from None
        if not password:
            raise WrongSettings(cls._in_words((field,), f"{path} is empty"))
        return password

    @classmethod
    def _in_words(cls, place: tuple[int | str, ...], message: str) -> str:
        prefix = cls.model_config.get("env_prefix", "")
        return f"{prefix}{'_'.join(map(str, place))}".upper() + f": {message.removeprefix('Value error, ')}"


def _with_password(url: str, password: str) -> str:
    """`url` with this password in place of its own; the user stays."""
    parts = urlsplit(url)
    account, at, host = parts.netloc.rpartition("@")
    user = account.partition(":")[0] if at else ""
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}").geturl()


class PlatformSettings(EnvironmentSettings):
    """Where the shared state lives, and the clocks of the job queue."""

    model_config = SettingsConfigDict(env_prefix="OCTAVO_", extra="ignore", frozen=True)

    database_url: SecretStr = Field(
        default=SecretStr("postgresql+psycopg://octavo@127.0.0.1:5432/octavo"),
        description="SQLAlchemy URL of Postgres 15 or newer, driver psycopg 3.",
    )
    database_password_file: Path | None = Field(
        default=None, description="File with the password of `database_url`, such as a mounted secret."
    )
    broker_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"), description="Celery broker: Valkey or Redis 7.2+."
    )
    broker_password_file: Path | None = Field(default=None, description="File with the password of `broker_url`.")
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

    start_wait_s: float = Field(
        default=60.0, ge=0, description="How long a service that starts waits for Postgres before it gives up."
    )
    alive_file: Path | None = Field(
        default=None,
        description="File a relay or worker touches whenever it has spoken with Postgres, for a health check.",
    )
    metrics_host: str = Field(default="127.0.0.1", description="Address of `metrics_port`.")
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65_535,
        description="Where a relay or worker shows its metrics to Prometheus, each at one of its own; 0: nowhere.",
    )

    lease_s: float = Field(default=30.0, gt=0, description="How long a claim lasts without a heartbeat.")
    heartbeat_s: float = Field(
        default=5.0, gt=0, validate_default=True, description="Time between two heartbeats of a running attempt."
    )
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
    idempotency_retention_days: float = Field(
        default=7.0,
        ge=0,
        le=36_500,
        description="How long the answer to a request with an `Idempotency-Key` is remembered; 0: for ever.",
    )
    retry_backoff_s: float = Field(default=5.0, ge=0, description="First wait before an automatic retry; doubles.")
    stop_grace_s: float = Field(
        default=30.0,
        gt=0,
        description="Time a child has to write its checkpoint between SIGTERM and SIGKILL.",
    )

    @field_validator("database_url", "broker_url", "artifacts_url")
    @classmethod
    def _is_understood(cls, url: Any, info: ValidationInfo) -> Any:
        known = _SCHEMES[info.field_name or ""]
        text = url.get_secret_value() if isinstance(url, SecretStr) else url
        if text and text.partition("://")[0] not in known:  # the value is not repeated: it may hold a password
            raise ValueError(f"the address has to begin with {' or '.join(f'{scheme}://' for scheme in known)}")
        return url

    @field_validator("heartbeat_s")
    @classmethod
    def _is_in_time(cls, heartbeat_s: float, info: ValidationInfo) -> float:
        lease_s = info.data.get("lease_s", heartbeat_s * 2)
        if 2 * heartbeat_s > lease_s:
            raise ValueError(
                f"every {heartbeat_s:g} s is too seldom for leases of {lease_s:g} s: one has to last two heartbeats, "
                "or jobs that run are taken for lost"
            )
        return heartbeat_s

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
