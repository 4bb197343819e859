"""Turns what a child left behind into rows: files first, then everything in one transaction with the job's end."""

import mimetypes
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from libs.data.manifest import Manifest, read_manifest
from libs.database.engine import transaction
from libs.database.tables import Artifact, Job, ModelVersion
from libs.jobs import events, queue
from libs.jobs.moves import lock_attempt
from libs.jobs.references import roles_of
from libs.jobs.spec import JobSpec
from libs.jobs.states import TERMINAL, ExitReason, JobStatus
from libs.models.update_config import UpdateConfig
from libs.registry.aliases import promote
from libs.registry.artifacts import ArtifactStore, StoredFile, StoredFolder
from libs.registry.datasets import mark_invalid, mark_ready
from libs.registry.models import register_version
from libs.serving.bundle import Bundle, parse_bundle
from services.worker.attempt_folder import AttemptFolder
from services.worker.inputs import Prepared
from services.worker.messages import Failed, Finished
from services.worker.repository import validated_version
from services.worker.settings import code_version
from services.worker.unfinished import unfinished_report

_REPORT_TYPES = {".html": "text/html", ".json": "application/json", ".csv": "text/csv", ".png": "image/png"}


class OutcomeError(Exception):
    """The child's outcome breaks its contract: a path outside its folder, a bundle without its description."""


@dataclass(slots=True)
class Stored:
    """What lies in the artifact store and waits for its rows."""

    artifacts: list[Artifact] = field(default_factory=list)
    bundle: Bundle | None = None
    bundle_folder: StoredFolder | None = None
    manifest: Manifest | None = None
    dataset_folder: StoredFolder | None = None
    dataset_report: dict[str, Any] = field(default_factory=dict)


class OutcomeRecorder:
    """Records how attempts end."""

    def __init__(self, engine: Engine, store: ArtifactStore, retry_backoff_s: float) -> None:
        self._engine = engine
        self._store = store
        self._retry_backoff_s = retry_backoff_s

    def succeed(self, job: Job, outcome: Finished, stored: Stored) -> None:
        """Write artifacts, model or data-set version and the job's end together.

        Raises:
            LeaseLost: the attempt is not the job's any more; no row was written.
        """
        with transaction(self._engine) as session:
            locked = lock_attempt(session, job.id, job.epoch)
            session.add_all(stored.artifacts)
            details = {name: value for name, value in outcome.details.items() if name != "report"}
            result: dict[str, Any] = {"metrics": outcome.metrics, "details": details}
            result |= self._register_model(session, locked, stored, outcome)
            result |= _register_dataset(session, locked, stored)
            queue.succeed(session, job.id, job.epoch, result)

    def fail(self, job: Job, reason: ExitReason, failure: Failed, exit_code: int | None, *, retryable: bool) -> None:
        """Write how the attempt failed; the queue decides whether there is another.

        Raises:
            LeaseLost: the attempt is not the job's any more.
        """
        error = failure.model_dump(mode="json", exclude={"kind", "report", "out_of_memory"})
        with transaction(self._engine) as session:
            locked = queue.fail(
                session,
                job.id,
                job.epoch,
                reason,
                error,
                exit_code=exit_code,
                retryable=retryable,
                backoff_s=self._retry_backoff_s,
            )
            _close_dataset(session, locked, failure)

    def stop(self, job: Job, exit_code: int | None) -> None:
        """Write that the attempt obeyed a wish to stop.

        Raises:
            LeaseLost: the attempt is not the job's any more.
        """
        with transaction(self._engine) as session:
            queue.stop(session, job.id, job.epoch, exit_code=exit_code)

    def store(self, job: Job, outcome: Finished, inputs: Prepared, folder: AttemptFolder) -> Stored:
        """Put the outcome's files into the artifact store.

        Raises:
            OutcomeError: the outcome breaks its contract.
            ArtifactError: the store refused.
        """
        stored = Stored()
        for name, path in outcome.files.items():
            kept = self._store.put_file(_inside(folder, path))
            stored.artifacts.append(_artifact(job, "file", name, kept))
        if outcome.report is not None:
            report = _inside(folder, outcome.report)
            for path in sorted(path for path in report.rglob("*") if path.is_file()):
                name = path.relative_to(report).as_posix()
                stored.artifacts.append(_artifact(job, "report", name, self._store.put_file(path)))
        if outcome.bundle is not None:
            path = _inside(folder, outcome.bundle)
            stored.bundle = complete_bundle(path, job, inputs)
            stored.bundle_folder = self._store.put_folder(path)
        if outcome.dataset is not None:
            path = _inside(folder, outcome.dataset)
            stored.manifest = read_manifest(path)
            stored.dataset_folder = self._store.put_folder(path)
            stored.dataset_report = dict(outcome.details.get("report", {}))
        return stored

    def _register_model(self, session: Session, job: Job, stored: Stored, outcome: Finished) -> dict[str, Any]:
        if stored.bundle is None or stored.bundle_folder is None:
            return {}
        spec = JobSpec.model_validate(job.spec)
        name = spec.output_model or job.name
        version = register_version(
            session,
            project_id=job.project_id,
            model_name=name,
            bundle=stored.bundle,
            folder=stored.bundle_folder,
            job_id=job.id,
            metrics=outcome.metrics,
        )
        made = {
            "name": name,
            "version": version.version,
            "version_id": str(version.id),
            "status": version.status,
            "status_reason": version.status_reason,
            "digest": version.digest,
            **_promoted(session, spec, version),
        }
        events.append(session, job, [("model", made)])
        return {"model": made}


def _promoted(session: Session, spec: JobSpec, version: ModelVersion) -> dict[str, Any]:
    """What became of the alias that an update was to move."""
    if not isinstance(spec.config, UpdateConfig) or spec.config.promote is None:
        return {}
    refusal = promote(session, version, spec.config.promote, version.lineage["parent_digests"]["init"])
    return {"promoted": spec.config.promote} if refusal is None else {"not_promoted": refusal}


def complete_bundle(path: Path, job: Job, inputs: Prepared) -> Bundle:
    """Write into `bundle.json` what only the platform knows: job, data digests, parents, code version.

    Raises:
        OutcomeError: there is no readable `bundle.json`.
    """
    file = path / "bundle.json"
    try:
        bundle = parse_bundle(file.read_bytes())
    except (OSError, ValueError) as error:
        raise OutcomeError(f"the run's bundle has no valid bundle.json: {error}") from error
    beside = roles_of(job.method).beside  # measured, and not what this model comes from
    parents = {role: digest for role, digest in inputs.model_digests.items() if role not in beside}
    lineage = bundle.lineage.model_copy(
        update={
            "job_id": str(job.id),
            "code_version": code_version(),
            "parent_digests": {**bundle.lineage.parent_digests, **parents},
            "dataset_digests": {**inputs.dataset_digests, **bundle.lineage.dataset_digests},
        }
    )
    complete = bundle.model_copy(update={"lineage": lineage})
    file.write_text(complete.model_dump_json(indent=2))
    return complete


def _register_dataset(session: Session, job: Job, stored: Stored) -> dict[str, Any]:
    version = validated_version(session, job.id)
    if version is None or stored.manifest is None or stored.dataset_folder is None:
        return {}
    mark_ready(session, version.id, stored.dataset_folder, stored.manifest, stored.dataset_report)
    made = {"version_id": str(version.id), "version": version.version, "status": version.status}
    events.append(session, job, [("dataset", made)])
    return {"dataset": made}


def _close_dataset(session: Session, job: Job, failure: Failed) -> None:
    """A validation that failed for good makes its version invalid."""
    if job.status not in TERMINAL or job.status == JobStatus.SUCCEEDED:
        return
    version = validated_version(session, job.id)
    if version is not None and version.status == "validating":
        mark_invalid(session, version.id, failure.report or unfinished_report(failure.error, failure.message))


def _artifact(job: Job, kind: str, name: str, stored: StoredFile) -> Artifact:
    suffix = Path(name).suffix.lower()
    media_type = _REPORT_TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Artifact(
        id=uuid4(),
        project_id=job.project_id,
        job_id=job.id,
        kind=kind,
        name=name[:200],
        uri=stored.uri,
        digest=stored.digest,
        size_bytes=stored.size_bytes,
        media_type=media_type,
    )


def _inside(folder: AttemptFolder, path: Path) -> Path:
    """`path` with links followed, refused outside the run's scratch folder."""
    found = path.resolve()
    if not found.is_relative_to(folder.files.resolve()):
        raise OutcomeError(f"the run's outcome lies outside its folder: {path}")
    return found
