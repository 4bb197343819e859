"""The thread that carries an attempt's checkpoints to the artifact store and publishes them, newest first."""

import contextlib
import time
from threading import Condition
from uuid import uuid4

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from libs.background import thread_of_this_context
from libs.database.engine import is_transient, transaction
from libs.database.tables import Artifact, Job
from libs.jobs.errors import LeaseLost
from libs.jobs.moves import lock_attempt
from libs.jobs.reports import record_checkpoint
from libs.registry.artifacts import ArtifactStore
from services.worker.attempt_folder import AttemptFolder
from services.worker.messages import CheckpointSaved
from services.worker.patience import is_worth_waiting, waits
from services.worker.reporter import AttemptReporter

log = structlog.get_logger()


class BadCheckpoint(Exception):
    """What the child announced is not there, or is something else."""


class CheckpointUploader:
    """Uploads one checkpoint at a time; of several that wait only the newest is taken.

    One that cannot be stored is tried again until it is, or a newer one waits: while Postgres is away as long as that
    takes, while the store fails for `store_wait_s`.
    """

    def __init__(
        self,
        engine: Engine,
        store: ArtifactStore,
        job: Job,
        folder: AttemptFolder,
        reporter: AttemptReporter,
        store_wait_s: float,
    ) -> None:
        self._engine = engine
        self._store = store
        self._job = job
        self._folder = folder
        self._reporter = reporter
        self._store_wait_s = store_wait_s
        self._waiting: CheckpointSaved | None = None
        self._closing = self._abandoned = False
        self._changed = Condition()
        self._thread = thread_of_this_context(self._run, f"octavo-checkpoints-{job.id}")

    def start(self) -> None:
        self._thread.start()

    def offer(self, saved: CheckpointSaved) -> None:
        """A new checkpoint file is there."""
        with self._changed:
            self._waiting = saved
            self._changed.notify()

    def close(self) -> None:
        """Upload what waits, then end."""
        self._end(abandoned=False)

    def abandon(self) -> None:
        """End; what waits is not uploaded any more."""
        self._end(abandoned=True)

    def _end(self, *, abandoned: bool) -> None:
        with self._changed:
            self._closing, self._abandoned = True, abandoned
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (saved := self._next()) is not None:
            try:
                self._publish_in_the_end(saved)
            except LeaseLost:
                return
            except Exception as error:  # the next one may fare better
                log.exception("checkpoint_not_stored", step=saved.step)
                self._tell(saved, "could not be stored", error)

    def _next(self) -> CheckpointSaved | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._closing)
            saved, self._waiting = self._waiting, None
            return None if self._abandoned else saved

    def _publish_in_the_end(self, saved: CheckpointSaved) -> None:
        """Publish, unless something newer waits before that is possible.

        Raises:
            LeaseLost: the attempt is not the job's any more.
            Exception: why it is given up.
        """
        gives_up_at = time.monotonic() + self._store_wait_s
        for wait_s in waits():
            try:
                self._publish(saved)
            except DBAPIError as error:
                if not is_transient(error):
                    raise
                log.warning("database_lost", error=str(error).splitlines()[0])
            except OSError as error:
                if not is_worth_waiting(error) or time.monotonic() + wait_s > gives_up_at:
                    raise
                log.warning("checkpoint_not_stored", step=saved.step, error=str(error))
                self._tell(saved, "is not stored yet", error)
            else:
                return
            if self._is_superseded(wait_s):
                return

    def _is_superseded(self, within_s: float) -> bool:
        """Whether, now or within so long, there is no use in trying it again."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._abandoned, within_s)
            return self._waiting is not None or self._abandoned or self._reporter.lost.is_set()

    def _tell(self, saved: CheckpointSaved, what: str, error: Exception) -> None:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        self._reporter.on_log("warning", f"the checkpoint of step {saved.step} {what}: {reason}")

    def _publish(self, saved: CheckpointSaved) -> None:
        path = saved.path.resolve()
        if not path.is_relative_to(self._folder.checkpoints.resolve()):
            raise BadCheckpoint(f"{saved.path} lies outside the attempt's folder")
        if not path.is_file():
            raise BadCheckpoint(f"{path.name} is gone")
        # An address of its own: of equal files of two jobs, one might be deleted here while the other is recorded.
        stored = self._store.put_file(path, f"checkpoints/{self._job.id}/{self._job.epoch}/{path.name}")
        if stored.digest != saved.digest:
            raise BadCheckpoint(f"{path.name} has SHA-256 {stored.digest}, announced was {saved.digest}")
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
