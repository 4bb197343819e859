"""What the gateway answers with, as objects. Fields of newer gateways that are unknown here stay in `raw`."""

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self


class JobState(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    PAUSING = "pausing"
    PAUSED = "paused"
    RETRY_WAIT = "retry_wait"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class Record:
    """A JSON object of the API."""

    raw: dict[str, Any] = field(repr=False, compare=False)

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Self:
        """Take the fields this class knows; what the answer lacks is None."""
        names = [one.name for one in dataclasses.fields(cls) if one.name != "raw"]
        return cls(raw=raw, **{name: raw.get(name) for name in names})


@dataclass(frozen=True, kw_only=True)
class Event(Record):
    """One entry of a job's history; `seq` is 1, 2, 3 … without a gap."""

    seq: int
    kind: str
    data: dict[str, Any]
    at: str | None


@dataclass(frozen=True, kw_only=True)
class Method(Record):
    """A training method or a task of the platform."""

    name: str
    kind: str
    title: str
    summary: str
    reference: str
    datasets: list[str] | None
    optional_datasets: list[str] | None
    models: list[str] | None
    optional_models: list[str] | None
    beside: list[str] | None
    baselines: list[str] | None
    config_schema: dict[str, Any] | None
    defaults: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class DatasetVersion(Record):
    """A version of a data set."""

    dataset: str
    version: int
    status: str
    digest: str | None
    size_bytes: int
    validation_job_id: str | None
    upload_url: str | None
    summary: dict[str, Any] | None

    @property
    def reference(self) -> str:
        """`name@version`."""
        return f"{self.dataset}@{self.version}"


@dataclass(frozen=True, kw_only=True)
class Dataset(Record):
    """A data set by name."""

    name: str
    description: str
    created_at: str
    latest: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class Artifact(Record):
    """A file a job made."""

    id: str
    kind: str
    name: str
    digest: str
    size_bytes: int
    media_type: str


@dataclass(frozen=True, kw_only=True)
class Prediction(Record):
    """One class and how probable it is."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True, kw_only=True)
class Classification(Record):
    """What a picture shows, best first."""

    model: str
    version: int
    digest: str

    @property
    def predictions(self) -> list[Prediction]:
        """Classes, the most probable first."""
        return [Prediction.of(one) for one in self.raw["predictions"]]

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.predictions[0].label


@dataclass(frozen=True, kw_only=True)
class Key(Record):
    """An API key; `key` is its text, there only when it was just made."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    created_at: str
    last_used_at: str | None
    revoked_at: str | None
    key: str | None


@dataclass(frozen=True, kw_only=True)
class Model(Record):
    """A model by name."""

    name: str
    description: str
    last_version: int
    created_at: str
    aliases: list[dict[str, Any]] | None


@dataclass(frozen=True, kw_only=True)
class ModelVersion(Record):
    """A version of a model; it never changes."""

    model: str
    version: int
    task: str
    status: str
    status_reason: str | None
    method: str
    digest: str
    size_bytes: int
    metrics: dict[str, Any]
    job_id: str | None
    created_at: str
    bundle: dict[str, Any] | None
    gates: dict[str, Any] | None

    @property
    def reference(self) -> str:
        """`name@version`."""
        return f"{self.model}@{self.version}"


@dataclass(frozen=True, kw_only=True)
class Deployment(Record):
    """A model being served under a name: what should be, and what is."""

    name: str
    model: str
    task: str | None
    alias: str | None
    version: int | None
    loaded_version: int | None
    status: str
    status_reason: str | None
    settings: dict[str, Any] | None
    created_at: str | None

    @property
    def traffic(self) -> dict[str, float]:
        """Other deployments, and the percentage of the requests that each answers."""
        return dict((self.settings or {}).get("traffic", {}))


@dataclass(frozen=True, kw_only=True)
class ScheduleRun(Record):
    """What became of one time of a schedule."""

    id: str
    planned_at: str
    fired_at: str
    fired_by: str
    outcome: str
    reason: str | None
    dataset: str | None
    job: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class Schedule(Record):
    """A job request that is submitted again and again."""

    name: str
    cron: str | None
    every_s: int | None
    timezone: str
    job: dict[str, Any]
    dataset: dict[str, Any] | None
    overlap: str
    misfire: str
    status: str
    status_reason: str | None
    next_run_at: str | None
    last_run: dict[str, Any] | None
    created_at: str

    @property
    def newest(self) -> ScheduleRun | None:
        """What became of its newest time; None before the first."""
        return None if self.last_run is None else ScheduleRun.of(self.last_run)
