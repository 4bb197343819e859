"""What takes space, and what nothing needs any more: for `octavo du` and `octavo gc`. Never commits.

First rows go (`purge`), then, after that transaction, files that no row names (`unreferenced`). A file younger than
the grace age is never taken: it may have been stored by somebody who has not committed its row yet.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from uuid import UUID

from sqlalchemy import Text, cast, delete, exists, func, select, tuple_, union, update
from sqlalchemy.orm import Session, aliased

from libs.database.tables import (
    Artifact,
    Dataset,
    DatasetVersion,
    Deployment,
    Job,
    JobCheckpoint,
    Model,
    ModelVersion,
)
from libs.jobs.states import TERMINAL
from libs.registry.artifacts import ArtifactStore, StoredEntry
from libs.registry.datasets import upload_folder
from libs.registry.uploads import UPLOAD

MIN_GRACE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of one thing: a data set, a model, or a kind of artifacts of jobs."""

    noun: str
    name: str
    items: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long what nobody lists any more is kept."""

    deleted_after: timedelta = timedelta(days=7)
    uploads_after: timedelta = timedelta(days=7)
    checkpoints_after: timedelta = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Purged:
    """How many rows of each kind went."""

    datasets: int
    models: int
    uploads: int
    checkpoints: int


def usage(session: Session, project_id: UUID) -> list[Usage]:
    """Bytes in the store by data set, model and kind of artifact, as recorded; largest first."""
    datasets = (
        select(Dataset.name, func.count(), func.sum(DatasetVersion.size_bytes + DatasetVersion.upload_size_bytes))
        .join(DatasetVersion, DatasetVersion.dataset_id == Dataset.id)
        .where(Dataset.project_id == project_id)
        .group_by(Dataset.id)
    )
    models = (
        select(Model.name, func.count(), func.sum(ModelVersion.size_bytes))
        .join(ModelVersion, ModelVersion.model_id == Model.id)
        .where(Model.project_id == project_id)
        .group_by(Model.id)
    )
    artifacts = (
        select(Artifact.kind, func.count(), func.sum(Artifact.size_bytes))
        .where(Artifact.project_id == project_id)
        .group_by(Artifact.kind)
    )
    found = [
        Usage(noun, name, int(items), int(size_bytes or 0))
        for noun, query in (("dataset", datasets), ("model", models), ("artifact", artifacts))
        for name, items, size_bytes in session.execute(query)
    ]
    return sorted(found, key=lambda each: each.size_bytes, reverse=True)


def purge(session: Session, policy: RetentionPolicy) -> Purged:
    """Remove rows that the policy no longer keeps, of all projects; their files become unreferenced.

    Deleted data sets and models; raw uploads of validated data sets, and model files that no unfinished job imports;
    checkpoints that a newer one of the same job has replaced, and every checkpoint of a job that ended long ago.
    """
    return Purged(
        datasets=_purge_datasets(session, policy.deleted_after),
        models=_purge_models(session, policy.deleted_after),
        uploads=_purge_uploads(session, policy.uploads_after) + _purge_model_files(session, policy.uploads_after),
        checkpoints=_purge_checkpoints(session, policy.checkpoints_after),
    )


def unreferenced(named: Set[str], store: ArtifactStore, grace: timedelta = MIN_GRACE) -> Iterator[StoredEntry]:
    """Stored files that are not named, directly or by a folder above them, and that are older than `grace`.

    Args:
        named: see `referenced_uris`.

    Raises:
        ValueError: `grace` is shorter than an hour.
    """
    if grace < MIN_GRACE:
        raise ValueError(f"a grace age of {grace} would take files that are being stored now; at least {MIN_GRACE}")
    before = datetime.now(UTC) - grace
    for entry in store.entries():
        if entry.modified_at < before and not _is_named(entry.uri, store.root_url, named):
            yield entry


@dataclass(frozen=True, slots=True)
class Collected:
    """Files that went, or would go."""

    files: int
    size_bytes: int


def collect(named: Set[str], store: ArtifactStore, grace: timedelta = MIN_GRACE, *, dry_run: bool = False) -> Collected:
    """Delete every unreferenced file. Each is looked at again first: storing it anew renews its age.

    A large store takes its time, and no transaction may stay open so long.

    Args:
        named: see `referenced_uris`.

    Raises:
        ValueError: `grace` is shorter than an hour.
    """
    files = size_bytes = 0
    before = datetime.now(UTC) - grace
    for entry in list(unreferenced(named, store, grace)):
        if not dry_run:
            modified_at = store.modified_at(entry.uri)
            if modified_at is None or modified_at >= before:
                continue
            store.delete(entry.uri)
        files, size_bytes = files + 1, size_bytes + entry.size_bytes
    return Collected(files, size_bytes)


def referenced_uris(session: Session, store: ArtifactStore, policy: RetentionPolicy | None = None) -> set[str]:
    """Every URI that a row names, and the folders of uploads that were begun lately and have not come to their end."""
    columns = (Artifact.uri, DatasetVersion.uri, DatasetVersion.upload_uri, ModelVersion.uri)
    named = {uri for uri in session.scalars(union(*(select(column) for column in columns))) if uri}
    lately = func.clock_timestamp() - (policy or RetentionPolicy()).uploads_after
    coming = select(DatasetVersion.id).where(DatasetVersion.status == "uploading", DatasetVersion.created_at > lately)
    return named | {f"{store.root_url}/{upload_folder(version_id)}" for version_id in session.scalars(coming)}


def _is_named(uri: str, root_url: str, named: Set[str]) -> bool:
    key = PurePosixPath(uri.removeprefix(root_url).lstrip("/"))
    return any(f"{root_url}/{above}" in named for above in (key, *key.parents))


def _purge_datasets(session: Session, after: timedelta) -> int:
    doomed = delete(Dataset).where(Dataset.deleted_at < func.clock_timestamp() - after)
    return len(session.scalars(doomed.returning(Dataset.id)).all())


def _purge_models(session: Session, after: timedelta) -> int:
    deployed = exists().where(Deployment.model_id == Model.id)
    doomed = delete(Model).where(Model.deleted_at < func.clock_timestamp() - after, ~deployed)
    return len(session.scalars(doomed.returning(Model.id)).all())


def _purge_uploads(session: Session, after: timedelta) -> int:
    doomed = update(DatasetVersion).where(
        DatasetVersion.status == "ready",
        DatasetVersion.upload_uri.is_not(None),
        DatasetVersion.created_at < func.clock_timestamp() - after,
    )
    emptied = doomed.values(upload_uri=None, upload_size_bytes=0)
    return len(session.scalars(emptied.returning(DatasetVersion.id)).all())


def _purge_model_files(session: Session, after: timedelta) -> int:
    """What an import made is a model of its own; the file it was made of is needed no more."""
    imports = exists().where(
        Job.status.not_in([status.value for status in TERMINAL]),
        Job.spec["config"]["artifact"].astext == cast(Artifact.id, Text),
    )
    doomed = delete(Artifact).where(
        Artifact.kind == UPLOAD, Artifact.created_at < func.clock_timestamp() - after, ~imports
    )
    return len(session.scalars(doomed.returning(Artifact.id)).all())


def _purge_checkpoints(session: Session, after: timedelta) -> int:
    newer = aliased(JobCheckpoint)
    replaced = exists().where(
        newer.job_id == JobCheckpoint.job_id,
        tuple_(newer.epoch, newer.step) > tuple_(JobCheckpoint.epoch, JobCheckpoint.step),
    )
    ended = exists().where(
        Job.id == JobCheckpoint.job_id,
        Job.status.in_([status.value for status in TERMINAL]),
        Job.finished_at < func.clock_timestamp() - after,
    )
    doomed = delete(JobCheckpoint).where(replaced | ended).returning(JobCheckpoint.artifact_id)
    artifacts = session.scalars(doomed.execution_options(synchronize_session=False)).all()
    in_use = exists().where(JobCheckpoint.artifact_id == Artifact.id)  # a retried job goes on from its parent's
    session.execute(delete(Artifact).where(Artifact.id.in_(artifacts), ~in_use))
    return len(artifacts)
