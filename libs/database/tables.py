"""Every table of Octavo. Postgres is the only truth; each owned row carries its project."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID, uuid4

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    Double,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    Text,
    UniqueConstraint,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from libs.jobs.states import JobStatus

DEFAULT_PROJECT_ID = UUID(int=1)
"""The project of a single-tenant installation; made by the first migration."""

Json = dict[str, Any]


class Base(DeclarativeBase):
    """Naming rules make constraint names the same in the ORM and in migrations."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        int: BigInteger,
        float: Double,
        UUID: postgresql.UUID(as_uuid=True),
        datetime: TIMESTAMP(timezone=True),
        Json: JSONB,
        list[Json]: JSONB,
        list[str]: ARRAY(Text),
    }


class _Owned:
    """Columns of a row that belongs to a project."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Project(Base):
    """Who owns rows; there is a default one."""

    __tablename__ = "projects"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class ApiKey(_Owned, Base):
    """A key is `oct_<prefix>_<secret>`; only the SHA-256 of the whole is kept."""

    __tablename__ = "api_keys"

    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(unique=True)
    digest: Mapped[str]
    scopes: Mapped[list[str]]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class DashboardSession(Base):
    """A browser that logged in with a key. Its cookie holds a random token, of which only the SHA-256 is here.

    `sealed_key` is the key under a pad made of that token: who has the table alone can use neither.
    """

    __tablename__ = "dashboard_sessions"

    digest: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[UUID] = mapped_column(ForeignKey("api_keys.id", ondelete="CASCADE"))
    sealed_key: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    last_used_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    expires_at: Mapped[datetime]

    __table_args__ = (Index("ix_dashboard_sessions_key", "key_id"),)


class IdempotencyKey(Base):
    """The first answer to a request that carried `Idempotency-Key`, replayed to its repeats."""

    __tablename__ = "idempotency_keys"

    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_digest: Mapped[str]
    status_code: Mapped[int]
    response: Mapped[Json]
    headers: Mapped[Json]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())

    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)


class Job(_Owned, Base):
    """One thing asked for. `epoch` grows with every claim and fences the writes of older attempts."""

    __tablename__ = "jobs"

    name: Mapped[str]
    method: Mapped[str]
    spec: Mapped[Json]
    status: Mapped[str] = mapped_column(default=JobStatus.QUEUED.value)
    status_reason: Mapped[str | None]
    queue: Mapped[str] = mapped_column(default="cpu")
    priority: Mapped[int] = mapped_column(default=0)
    group_id: Mapped[UUID | None]
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id"))
    retry_of: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"))
    clone_of: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"))
    schedule: Mapped[str | None]  # name of the schedule that submitted it; stays when that is deleted
    epoch: Mapped[int] = mapped_column(default=0)
    attempts_used: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int] = mapped_column(default=3)
    timeout_s: Mapped[float | None]
    worker_id: Mapped[UUID | None]
    lease_expires_at: Mapped[datetime | None]
    not_before: Mapped[datetime | None]
    rung_at: Mapped[datetime | None]
    queued_at: Mapped[datetime | None]  # since when it could be claimed, the last time
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    progress: Mapped[float] = mapped_column(default=0.0)
    progress_note: Mapped[str] = mapped_column(default="")
    result: Mapped[Json | None]
    error: Mapped[Json | None]
    last_event_seq: Mapped[int] = mapped_column(default=0)
    request_id: Mapped[str | None]  # of the request that submitted it; see libs.origin
    traceparent: Mapped[str | None]

    __table_args__ = (
        CheckConstraint(f"status IN ({', '.join(repr(s.value) for s in JobStatus)})", name="status_known"),
        Index("ix_jobs_page", "project_id", text("created_at DESC"), text("id DESC")),
        Index("ix_jobs_group", "group_id"),
        Index(
            "ix_jobs_leased",
            "lease_expires_at",
            postgresql_where=text("status IN ('starting','running','cancelling','pausing')"),
        ),
        Index(
            "ix_jobs_open",
            "status",
            "queue",
            postgresql_where=text("status IN ('retry_wait','waiting','paused')"),
        ),
        Index("ix_jobs_queued", "queue", "queued_at", postgresql_where=text("status = 'queued'")),
        Index(
            "ix_jobs_claim",
            "queue",
            text("priority DESC"),
            "created_at",
            "id",
            postgresql_where=text("status = 'queued'"),
        ),
        Index("ix_jobs_parent", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
        Index("ix_jobs_retry", "retry_of", postgresql_where=text("retry_of IS NOT NULL")),
        Index("ix_jobs_clone", "clone_of", postgresql_where=text("clone_of IS NOT NULL")),
        Index(
            "ix_jobs_schedule",
            "project_id",
            "schedule",
            text("created_at DESC"),
            text("id DESC"),
            postgresql_where=text("schedule IS NOT NULL"),
        ),
    )


class JobDependency(Base):
    """`job_id` stays `waiting` until `depends_on` has succeeded.

    `role` says what the model that `depends_on` makes is for `job_id`: `models/teacher`, or `runs/afd/0`, a run that is
    compared. None: `job_id` only comes after it.
    """

    __tablename__ = "job_dependencies"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    depends_on: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str | None]

    __table_args__ = (Index("ix_job_dependencies_needed", "depends_on"),)


class JobAttempt(Base):
    """One claim of a job by one worker; kept as history."""

    __tablename__ = "job_attempts"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    worker_id: Mapped[UUID | None]
    started_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    finished_at: Mapped[datetime | None]
    exit_reason: Mapped[str | None]
    exit_code: Mapped[int | None]
    error: Mapped[Json | None]


class JobEvent(Base):
    """Gapless per job: `seq` is 1, 2, 3 … and is the SSE event id."""

    __tablename__ = "job_events"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str]
    data: Mapped[Json]
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())

    # the few changes of state among many log lines, which the page of a job shows
    __table_args__ = (Index("ix_job_events_moves", "job_id", "seq", postgresql_where=text("kind = 'status'")),)


class JobMetric(Base):
    """A number over steps; a later attempt's value for the same step wins."""

    __tablename__ = "job_metrics"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[int]
    value: Mapped[float]
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class JobCheckpoint(Base):
    """A published checkpoint; the newest one is where a resumed attempt starts."""

    __tablename__ = "job_checkpoints"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    artifact_id: Mapped[UUID] = mapped_column(ForeignKey("artifacts.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())

    __table_args__ = (Index("ix_job_checkpoints_artifact", "artifact_id"),)


class Outbox(Base):
    """Jobs to be rung on the broker; a row lives until its message was published."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    queue: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())

    __table_args__ = (Index("ix_outbox_job", "job_id"),)


class Schedule(_Owned, Base):
    """A job request that is submitted again and again, by a cron expression or every so many seconds.

    `next_run_at` is the one clock: whoever locks the row and finds it in the past submits, and moves it on.
    """

    __tablename__ = "schedules"

    name: Mapped[str]
    cron: Mapped[str | None]
    every_s: Mapped[int | None]
    timezone: Mapped[str]
    job: Mapped[Json]  # as POST /v1/jobs takes it
    dataset: Mapped[Json | None]  # as POST /v1/datasets takes it; made before each job
    overlap: Mapped[str] = mapped_column(default="skip")
    misfire: Mapped[str] = mapped_column(default="once")
    status: Mapped[str] = mapped_column(default="active")
    status_reason: Mapped[str | None]
    next_run_at: Mapped[datetime | None]
    refusals: Mapped[int] = mapped_column(default=0)  # in a row, up to now
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())

    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        CheckConstraint("(cron IS NULL) <> (every_s IS NULL)", name="one_rhythm"),
        CheckConstraint("every_s >= 60", name="at_most_each_minute"),
        CheckConstraint("overlap IN ('skip','allow')", name="overlap_known"),
        CheckConstraint("misfire IN ('once','skip')", name="misfire_known"),
        CheckConstraint("status IN ('active','paused')", name="status_known"),
        CheckConstraint("(status = 'active') = (next_run_at IS NOT NULL)", name="active_is_due"),
        Index("ix_schedules_due", "next_run_at", postgresql_where=text("status = 'active'")),
    )


class ScheduleRun(Base):
    """What became of one time of a schedule; `created_at` is when it was fired."""

    __tablename__ = "schedule_runs"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    schedule_id: Mapped[UUID] = mapped_column(ForeignKey("schedules.id", ondelete="CASCADE"))
    planned_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    fired_by: Mapped[str]
    outcome: Mapped[str]
    reason: Mapped[str | None]
    dataset: Mapped[str | None]  # name@version that was made first
    job_id: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"))

    __table_args__ = (
        UniqueConstraint("schedule_id", "planned_at"),
        CheckConstraint("fired_by IN ('clock','user')", name="fired_by_known"),
        CheckConstraint("outcome IN ('submitted','skipped','refused')", name="outcome_known"),
        Index("ix_schedule_runs_page", "schedule_id", text("created_at DESC"), text("id DESC")),
        Index("ix_schedule_runs_job", "job_id", postgresql_where=text("job_id IS NOT NULL")),
    )


class Worker(Base):
    """A worker process, as it last reported itself."""

    __tablename__ = "workers"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    host: Mapped[str]
    pid: Mapped[int]
    version: Mapped[str]
    queues: Mapped[list[str]]
    devices: Mapped[Json]
    slots: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    heartbeat_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Artifact(_Owned, Base):
    """A file in the artifact store, immutable, addressed by its SHA-256."""

    __tablename__ = "artifacts"

    job_id: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"))
    kind: Mapped[str]
    name: Mapped[str]
    uri: Mapped[str]
    digest: Mapped[str]
    size_bytes: Mapped[int]
    media_type: Mapped[str] = mapped_column(default="application/octet-stream")

    __table_args__ = (Index("ix_artifacts_job", "job_id"), Index("ix_artifacts_digest", "digest"))


class Dataset(_Owned, Base):
    """A name for versions; one that was deleted leaves its name free."""

    __tablename__ = "datasets"

    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        Index("uq_datasets_name", "project_id", "name", unique=True, postgresql_where=text("deleted_at IS NULL")),
    )


class DatasetVersion(_Owned, Base):
    """`uploading` → `validating` → `ready` | `invalid`. A ready version never changes."""

    __tablename__ = "dataset_versions"

    dataset_id: Mapped[UUID] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    version: Mapped[int]
    kind: Mapped[str] = mapped_column(default="images")  # known, and written, when the version is ready
    status: Mapped[str] = mapped_column(default="uploading")
    source: Mapped[Json]  # how it came: {"upload": filename} | {"path": url} | {"public": name}; split options
    upload_uri: Mapped[str | None]
    upload_size_bytes: Mapped[int] = mapped_column(default=0)
    uri: Mapped[str | None]  # folder in the artifact store that holds the validated files
    digest: Mapped[str | None]
    size_bytes: Mapped[int] = mapped_column(default=0)
    validation_job_id: Mapped[UUID | None]
    report: Mapped[Json | None]
    manifest: Mapped[Json | None]

    __table_args__ = (
        UniqueConstraint("dataset_id", "version"),
        CheckConstraint("status IN ('uploading','validating','ready','invalid')", name="status_known"),
        Index("ix_dataset_versions_digest", "digest"),
        Index("ix_dataset_versions_content", text("(manifest ->> 'digest')")),
    )


class Model(_Owned, Base):
    """A name for versions; one that was deleted leaves its name free."""

    __tablename__ = "models"

    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    last_version: Mapped[int] = mapped_column(default=0)
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        Index("uq_models_name", "project_id", "name", unique=True, postgresql_where=text("deleted_at IS NULL")),
    )


class ModelVersion(_Owned, Base):
    """Immutable once written; a version that failed a gate is `rejected` and says why."""

    __tablename__ = "model_versions"

    model_id: Mapped[UUID] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"))
    version: Mapped[int]
    status: Mapped[str]
    status_reason: Mapped[str | None]
    job_id: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), unique=True)
    method: Mapped[str]
    task: Mapped[str]
    uri: Mapped[str]  # folder in the artifact store that holds the bundle
    digest: Mapped[str]
    size_bytes: Mapped[int]
    bundle: Mapped[Json]  # libs.serving.bundle.Bundle
    metrics: Mapped[Json]
    lineage: Mapped[Json]
    gates: Mapped[Json]

    __table_args__ = (
        UniqueConstraint("model_id", "version"),
        CheckConstraint("status IN ('ready','rejected','archived')", name="status_known"),
        Index("ix_model_versions_digest", "digest"),
        Index(
            "ix_model_versions_parents",
            text("jsonb_path_query_array(lineage, '$.parent_digests.*')"),
            postgresql_using="gin",
        ),
    )


CONTENT: ColumnElement[Any] = DatasetVersion.manifest.op("->>", return_type=Text())(literal_column("'digest'"))
"""Digest of the pictures or events of a data set's version; has an index."""
PARENTS: ColumnElement[Any] = func.jsonb_path_query_array(
    ModelVersion.lineage, literal_column("'$.parent_digests.*'"), type_=JSONB
)
"""Digests of the models that a version was made from; has an index."""


class ModelAlias(Base):
    """A movable name for a version; `revision` is its ETag."""

    __tablename__ = "model_aliases"

    model_id: Mapped[UUID] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True)
    version_id: Mapped[UUID] = mapped_column(ForeignKey("model_versions.id", ondelete="CASCADE"))
    revision: Mapped[int] = mapped_column(default=1)
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Deployment(_Owned, Base):
    """What should be loaded, under which name; the model server reports what is."""

    __tablename__ = "deployments"

    name: Mapped[str]
    model_id: Mapped[UUID] = mapped_column(ForeignKey("models.id"))
    alias: Mapped[str | None]
    version_id: Mapped[UUID | None] = mapped_column(ForeignKey("model_versions.id"))
    status: Mapped[str] = mapped_column(default="loading")
    status_reason: Mapped[str | None]
    loaded_version_id: Mapped[UUID | None]
    settings: Mapped[Json] = mapped_column(default=dict)
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())

    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        CheckConstraint("(alias IS NULL) <> (version_id IS NULL)", name="one_target"),
        CheckConstraint("status IN ('loading','ready','failed','unloaded')", name="status_known"),
    )


class UserEvent(Base):
    """Something a user did to an item. Narrow, as there may be hundreds of millions; rows are never updated.

    `id` grows with arrival, so the oldest rows are found without an index on time. `event_key` is 128 bits of the
    SHA-256 over project and the sender's event id: a narrow index, unique without the project beside it.
    """

    __tablename__ = "user_events"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    event_key: Mapped[UUID] = mapped_column(unique=True)
    user_id: Mapped[str | None]
    session_id: Mapped[str | None]
    item_id: Mapped[str]
    type: Mapped[str]
    occurred_at: Mapped[datetime]
    received_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())

    __table_args__ = (
        CheckConstraint("user_id IS NOT NULL OR session_id IS NOT NULL", name="someone"),
        Index(
            "ix_user_events_user",
            "project_id",
            "user_id",
            text("occurred_at DESC"),
            text("id DESC"),
            postgresql_where=text("user_id IS NOT NULL"),
        ),
        Index(
            "ix_user_events_session",
            "project_id",
            "session_id",
            text("occurred_at DESC"),
            text("id DESC"),
            postgresql_where=text("session_id IS NOT NULL"),
        ),
    )


class Recommendation(Base):
    """What was recommended in answer to one request, by what, and why. `id` grows with writing, as of `user_events`.

    Models, versions and deployments are named and not referred to: what was said stays true when they are gone.
    """

    __tablename__ = "recommendations"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    request_id: Mapped[UUID] = mapped_column(unique=True)
    deployment: Mapped[str]  # that was asked
    arm: Mapped[str | None]  # the deployment that answered in its place; null: itself
    stands_in_for: Mapped[str | None]  # the arm that should have answered, and was not loaded
    variant: Mapped[str]  # the alias that answered; empty: the deployment is of one fixed version
    model: Mapped[str]
    version: Mapped[int]
    version_id: Mapped[UUID]
    user_id: Mapped[str | None]
    session_id: Mapped[str | None]
    strategy: Mapped[str]
    items: Mapped[list[Json]]  # best first: item_id, score, reasons
    history: Mapped[list[str]]  # item ids that the model read, oldest first
    created_at: Mapped[datetime]

    __table_args__ = (
        Index("ix_recommendations_model", "project_id", "model", "created_at"),
        Index("ix_recommendations_deployment", "project_id", "deployment", "created_at"),
        Index("ix_recommendations_user", "project_id", "user_id", postgresql_where=text("user_id IS NOT NULL")),
        Index(
            "ix_recommendations_session", "project_id", "session_id", postgresql_where=text("session_id IS NOT NULL")
        ),
    )


class Feedback(Base):
    """What became of one recommended item; `rank` is its place in the answer, from 1."""

    __tablename__ = "feedback"

    recommendation_id: Mapped[int] = mapped_column(
        ForeignKey("recommendations.id", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(primary_key=True)
    rank: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    item_id: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())

    __table_args__ = (CheckConstraint("kind IN ('impression','click','conversion')", name="kind_known"),)
