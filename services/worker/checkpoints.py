"""The thread that carries an attempt's checkpoints to the artifact store and publishes them, newest first."""

import contextlib
from threading import Condition
from uuid import uuid4

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from libs.background import thread_of_this_context
from libs.database.engine import transaction
from libs.database.tables import Artifact, Job
from libs.jobs.errors import LeaseLost
from libs.jobs.moves import lock_attempt
from libs.jobs.reports import record_checkpoint
from libs.registry.artifacts import ArtifactError, ArtifactStore
from services.worker.attempt_folder import AttemptFolder
from services.worker.messages import CheckpointSaved

log = structlog.get_logger()
_TRIES = 3


class CheckpointUploader:
    """Uploads one checkpoint at a time; of several that wait only the newest is taken."""

    def __init__(self, engine: Engine, store: ArtifactStore, job: Job, folder: AttemptFolder) -> None:
        self._engine = engine
        self._store = store
        self._job = job
        self._folder = folder
        self._waiting: CheckpointSaved | None = None
        self._closing = False
        self._changed = Condition()
        self._thread = thread_of_this_context(self._run, f"octavo-checkpoints-{job.id}")
        self.problem: str | None = None

    def start(self) -> None:
        self._thread.start()

    def offer(self, saved: CheckpointSaved) -> None:
        """A new checkpoint file is there."""
        with self._changed:
            self._waiting = saved
            self._changed.notify()

    def close(self) -> None:
        """Upload what waits, then end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (saved := self._next()) is not None:
            for left in reversed(range(_TRIES)):
                try:
                    self._publish(saved)
                    self.problem = None
                    break
                except LeaseLost:
                    return
                except (OSError, DBAPIError) as error:
                    self.problem = f"the checkpoint of step {saved.step} could not be stored: {error}"
                    log.warning("checkpoint_not_stored", error=str(error), tries_left=left)

    def _next(self) -> CheckpointSaved | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._closing)
            saved, self._waiting = self._waiting, None
            return saved

    def _publish(self, saved: CheckpointSaved) -> None:
        path = saved.path.resolve()
        if not path.is_relative_to(self._folder.checkpoints.resolve()):
            raise ArtifactError(f"{saved.path} lies outside the attempt's folder")
        stored = self._store.put_file(path)
        if stored.digest != saved.digest:
            raise ArtifactError(f"{path.name} has SHA-256 {stored.digest}, announced was {saved.digest}")
        artifact = Artifact(
            id=uuid4(),
            project_id=self._job.project_id,
            job_id=self._job.id,
            kind="checkpoint",
            name=path.name,
            uri=stored.uri,
            digest=stored.digest,
            size_bytes=stored.size_bytes,
        )
        with transaction(self._engine) as session:
            job = lock_attempt(session, self._job.id, self._job.epoch)
            older = [artifact.uri for artifact in record_checkpoint(session, job, saved.step, artifact)]
        for uri in older:
            with contextlib.suppress(OSError):
                self._store.delete(uri)
