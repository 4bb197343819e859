"""Makes a job's inputs ready on this machine: data sets and models by digest, the checkpoint to go on from."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from libs.database.engine import transaction
from libs.database.tables import Artifact, DatasetVersion, Job, ModelVersion
from libs.jobs.dependencies import RUNS, needed
from libs.jobs.moves import lock_attempt
from libs.jobs.reports import Checkpoint, newest_checkpoint
from libs.jobs.spec import JobSpec
from libs.registry import datasets, models
from libs.registry.artifacts import ArtifactStore
from libs.registry.cache import FolderCache
from libs.registry.datasets import ReadyVersion
from libs.registry.import_config import ImportConfig
from libs.registry.uploads import find_upload
from services.worker.attempt_folder import AttemptFolder
from services.worker.patience import Patience
from services.worker.places import with_pictures
from services.worker.recorded import write_recorded
from services.worker.repository import validated_version
from services.worker.uploads import fetch_model_file, fetch_upload


@dataclass(slots=True)
class Prepared:
    """What the child is given."""

    datasets: dict[str, Path] = field(default_factory=dict)
    models: dict[str, Path] = field(default_factory=dict)
    dataset_digests: dict[str, str] = field(default_factory=dict)
    model_digests: dict[str, str] = field(default_factory=dict)
    resume_from: Path | None = None


@dataclass(slots=True)
class _Wanted:
    datasets: dict[str, ReadyVersion]
    models: dict[str, ModelVersion]
    runs: dict[str, ModelVersion]
    upload: DatasetVersion | None
    model_file: Artifact | None
    checkpoint: Checkpoint | None


class InputStore:
    """Fetches inputs through this machine's cache."""

    def __init__(self, engine: Engine, store: ArtifactStore, cache: FolderCache) -> None:
        self._engine = engine
        self._store = store
        self._cache = cache

    @contextmanager
    def prepared(self, job: Job, folder: AttemptFolder, patience: Patience) -> Iterator[Prepared]:
        """The job's inputs as local folders, kept from eviction while the context lasts.

        Raises:
            RegistryError: a reference leads nowhere.
            ArtifactError: the store cannot give what the registry promises.
            NoLongerWanted: the job was told to stop before all is here.
            LeaseLost: the attempt is not the job's any more.
        """
        wanted = self._resolve(job)
        ready = Prepared()
        with ExitStack() as leases:
            for role, dataset in wanted.datasets.items():
                lease = partial(self._cache.lease, dataset.digest, dataset.uri, patience.check)
                stored = patience.until_entered(leases, lease)
                whole = partial(with_pictures, stored, self._cache, folder.path)
                ready.datasets[role] = patience.until_entered(leases, whole)
                ready.dataset_digests[role] = dataset.digest
            for role, model in (wanted.models | wanted.runs).items():
                lease = partial(self._cache.lease, model.digest, model.uri, patience.check)
                ready.models[role] = patience.until_entered(leases, lease)
                ready.model_digests[role] = model.digest
            if wanted.upload is not None:
                ready.datasets["upload"] = self._upload(wanted.upload, ready.datasets, folder.path / "upload", patience)
            if wanted.model_file is not None:
                file, here = wanted.model_file, folder.path / "upload"
                fetch = partial(fetch_model_file, file, here, self._store, patience.check)
                ready.datasets["upload"] = patience.until_done(fetch)
            if wanted.checkpoint is not None:
                ready.resume_from = self._fetch_checkpoint(wanted.checkpoint, folder, patience)
            yield ready

    def _upload(self, version: DatasetVersion, others: dict[str, Path], folder: Path, patience: Patience) -> Path:
        if version.upload_uri == datasets.RECORDED:
            return write_recorded(self._engine, version, others.get("base"), folder, patience.check)
        return patience.until_done(partial(fetch_upload, version, folder, self._store, patience.check))

    def _resolve(self, job: Job) -> _Wanted:
        """Look the references up; from the first attempt on they name exact versions, so that all see the same."""
        spec = JobSpec.model_validate(job.spec)
        with transaction(self._engine) as session:
            locked = lock_attempt(session, job.id, job.epoch)
            upload = validated_version(session, job.id)
            roles = {role: name for role, name in spec.datasets.items() if upload is None or role != "upload"}
            found = _Wanted(
                datasets={role: datasets.resolve(session, job.project_id, name) for role, name in roles.items()},
                models={role: models.resolve(session, job.project_id, name) for role, name in spec.models.items()},
                runs=_runs(session, job),
                upload=upload,
                model_file=_model_file(session, job.project_id, spec),
                checkpoint=newest_checkpoint(session, job.id),
            )
            locked.spec = {
                **locked.spec,
                "datasets": {**spec.datasets, **_pinned(spec.datasets, found.datasets)},
                "models": _pinned(spec.models, found.models),
                "digests": {**_digests("datasets", found.datasets), **_digests("models", found.models)},
            }
        return found

    def _fetch_checkpoint(self, checkpoint: Checkpoint, folder: AttemptFolder, patience: Patience) -> Path:
        target = folder.path / "resume"
        target.mkdir()
        artifact = checkpoint.artifact
        place = target / artifact.name
        return patience.until_done(lambda: self._store.fetch_file(artifact.uri, place, artifact.digest, patience.check))


def _runs(session: Session, job: Job) -> dict[str, ModelVersion]:
    """`afd/0` → the model that a run of a comparison made."""
    found = {}
    for other, role in needed(session, job.id):
        if role is not None and role.startswith(RUNS):
            made = (other.result or {})["model"]
            name = role.removeprefix(RUNS)
            found[name] = models.resolve(session, job.project_id, f"{made['name']}@{made['version']}")
    return found


def _model_file(session: Session, project_id: UUID, spec: JobSpec) -> Artifact | None:
    """What an import job is to import."""
    if not isinstance(spec.config, ImportConfig):
        return None
    return find_upload(session, project_id, spec.config.artifact)


def _pinned(references: dict[str, str], found: Mapping[str, ReadyVersion | ModelVersion]) -> dict[str, str]:
    """`name@version` for every reference that was looked up."""
    return {role: f"{references[role].partition('@')[0]}@{version.version}" for role, version in found.items()}


def _digests(kind: str, found: Mapping[str, ReadyVersion | ModelVersion]) -> dict[str, str]:
    """Those known since the job was accepted, and those of versions that were made meanwhile."""
    return {f"{kind}/{role}": version.digest for role, version in found.items()}
