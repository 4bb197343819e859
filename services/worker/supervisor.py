"""One attempt from claim to end: inputs, child process, wishes, outcome. A worker runs several in its threads."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

import structlog
from pydantic import ValidationError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from libs.database.engine import is_transient, transaction
from libs.database.tables import Job
from libs.jobs import queue
from libs.jobs.errors import JobNotFound, LeaseLost
from libs.jobs.moves import lock, ring
from libs.jobs.spec import JobSpec, Resources
from libs.jobs.states import ExitReason, JobStatus
from libs.jobs.tasks import TASKS
from libs.origin import Origin, current_origin, set_origin
from libs.registry.artifacts import ArtifactStore
from libs.registry.errors import RegistryError
from libs.tracing import is_traced, record, span
from libs.training.run import StopReason
from services.worker.attempt_folder import AttemptFolder
from services.worker.checkpoints import CheckpointUploader
from services.worker.child_process import ChildProcess
from services.worker.devices import Assignment, DevicePool, NoLongerWanted
from services.worker.inputs import InputStore, Prepared
from services.worker.launch import Launcher, child_environment, python_child
from services.worker.messages import AttemptOrder, Failed, Finished, StoppedEarly
from services.worker.metrics import WorkerMetrics
from services.worker.oom import OutOfMemoryWatch
from services.worker.outcomes import OutcomeRecorder
from services.worker.patience import Patience
from services.worker.reporter import AttemptReporter
from services.worker.settings import WorkerSettings, code_version
from services.worker.usage import UsageMeter

log = structlog.get_logger()
_TICK_S = 0.1
_RECORD_RETRY_S = 2.0
_STOPPED = {"cancel": ExitReason.CANCELLED, "pause": ExitReason.PAUSED}
_FAILURES = frozenset({ExitReason.ERROR, ExitReason.TIMEOUT, ExitReason.OUT_OF_MEMORY})


@dataclass(slots=True)
class _Attempt:
    """What the steps of one attempt share."""

    job: Job
    folder: AttemptFolder
    reporter: AttemptReporter
    uploader: CheckpointUploader
    stop_reason: StopReason | None = None
    exit_code: int | None = None
    reason: ExitReason = ExitReason.ERROR


class Supervisor:
    """Runs jobs of one worker. `shutting_down` makes every attempt checkpoint, and hands its job back."""

    def __init__(
        self,
        worker_id: UUID,
        engine: Engine,
        store: ArtifactStore,
        inputs: InputStore,
        devices: DevicePool,
        settings: WorkerSettings,
        metrics: WorkerMetrics,
        *,
        slots: int = 1,
        launcher: Launcher = python_child,
    ) -> None:
        self.worker_id = worker_id
        self._engine = engine
        self._store = store
        self._inputs = inputs
        self._devices = devices
        self._settings = settings
        self._metrics = metrics
        self._slots = slots
        self._launcher = launcher
        self._recorder = OutcomeRecorder(engine, store, settings.retry_backoff_s)
        self.shutting_down = threading.Event()

    def run(self, rung: UUID) -> UUID | None:
        """Answer a ring: claim a job and run it to the end of its attempt. None when there was nothing to do."""
        if self.shutting_down.is_set():
            self._ring_for_others(rung)
            return None
        with transaction(self._engine) as session:
            job = queue.claim(session, rung, self.worker_id, self._settings.lease_s)
        if job is None:
            self._metrics.found_nothing.inc()
            log.info("rung_in_vain", rung_for=str(rung), **current_origin().log_fields)
            return None
        origin = Origin(job.request_id or "", job.traceparent)
        set_origin(origin)
        bound = {"job_id": str(job.id), "epoch": job.epoch, **origin.log_fields}
        with (
            self._metrics.busy.track_inprogress(),
            structlog.contextvars.bound_contextvars(**bound),
            span(f"attempt {job.method}", "consumer", octavo_job_id=str(job.id), octavo_epoch=job.epoch) as made,
        ):
            log.info("attempt_started", method=job.method)
            try:
                reason = self._attempt(job)
            except LeaseLost:
                self._metrics.abandoned.inc()
                log.warning("attempt_abandoned")
                made.fail("the lease was lost")
            else:
                log.info("attempt_ended", reason=reason)
                made.set("octavo.attempt.reason", reason)
                if reason in _FAILURES:
                    made.fail(reason)
        return job.id

    def _ring_for_others(self, rung: UUID) -> None:
        """This worker ends: the message it took is published again."""
        with suppress(JobNotFound), transaction(self._engine) as session:
            job = lock(session, rung)
            if job.status == JobStatus.QUEUED:
                ring(session, job)

    def _attempt(self, job: Job) -> ExitReason:
        """Run an attempt and write down its end; why it ended."""
        folder = AttemptFolder(self._settings.attempts / str(job.id) / str(job.epoch))
        reporter = AttemptReporter(self._engine, job, self._settings, lambda saved: uploader.offer(saved))
        wait_s = self._settings.worker_store_wait_s
        uploader = CheckpointUploader(self._engine, self._store, job, folder, reporter, wait_s)
        attempt = _Attempt(job, folder, reporter, uploader)
        reporter.start()
        uploader.start()
        try:
            self._run_and_record(attempt)
            return attempt.reason
        finally:
            uploader.abandon()
            reporter.close()
            folder.remove()

    def _run_and_record(self, attempt: _Attempt) -> None:
        """Failures of the worker itself (inputs, storage) are failures of the attempt, and say so."""
        try:
            attempt.folder.make()
            spec = JobSpec.model_validate(attempt.job.spec)
            began_ns = time.time_ns()
            with (
                self._inputs.prepared(attempt.job, attempt.folder, self._patience(attempt)) as inputs,
                self._devices.assigned(wanted_resources(spec), lambda: self._is_unwanted(attempt)) as assignment,
            ):
                record("prepare", began_ns, time.time_ns())
                memory = OutOfMemoryWatch()
                attempt.folder.write_order(self._order(attempt.job, spec, inputs, assignment))
                with span("child"):
                    self._run_child(attempt, assignment)
                with span("record"):
                    self._record(attempt, inputs, memory)
        except LeaseLost:
            raise
        except NoLongerWanted:
            self._stop(attempt)
        except Exception as error:
            log.warning("attempt_failed", exc_info=error)
            failure = Failed(
                error=type(error).__name__,
                message=str(error) or type(error).__name__,
                user_error=is_users_error(error),
            )
            self._fail(attempt, ExitReason.ERROR, failure, retryable=not failure.user_error)

    def _patience(self, attempt: _Attempt) -> Patience:
        """What the attempt reads and what it has made waits for a store that fails: neither is at fault."""

        def tell(error: OSError) -> None:
            log.warning("store_fails", error=str(error))
            attempt.reporter.on_log("warning", f"the artifact store or the disk fails, and is waited for: {error}")

        wait_s = self._settings.worker_store_wait_s
        return Patience(wait_s, lambda: self._is_unwanted(attempt), self.shutting_down.wait, tell)

    def _is_unwanted(self, attempt: _Attempt) -> bool:
        reporter = attempt.reporter
        return reporter.lost.is_set() or reporter.wish is not None or self.shutting_down.is_set()

    def _run_child(self, attempt: _Attempt, assignment: Assignment) -> None:
        """Start the child, stay with it until it has ended, and have all it said written down."""
        child = ChildProcess(attempt.folder, attempt.reporter.on_message, attempt.reporter.on_output)
        command = self._launcher(attempt.folder.path, assignment.processes)
        child.start(command, child_environment(os.environ, assignment, self._slots))
        try:
            every_s = self._settings.worker_usage_every_s
            meter = UsageMeter(child.pid, assignment.gpus, attempt.job.started_at, every_s)
            with meter.told(attempt.reporter.on_usage):
                self._watch(attempt, child)
        finally:
            if not child.exited.is_set():
                child.kill()
            attempt.exit_code = child.finish()
        attempt.uploader.close()

    def _watch(self, attempt: _Attempt, child: ChildProcess) -> None:
        """Until the child has ended: pass on the first wish to stop, kill it when it is too slow."""
        timeout_at = time.monotonic() + (attempt.job.timeout_s or float("inf"))
        kill_at = float("inf")
        while not child.exited.wait(_TICK_S):
            if attempt.reporter.lost.is_set():
                child.kill()
                child.exited.wait()
                raise LeaseLost(attempt.job.id, attempt.job.epoch)
            if attempt.stop_reason is None:
                attempt.stop_reason = self._reason_to_stop(attempt, timeout_at)
                if attempt.stop_reason is not None:
                    log.info("attempt_stopping", reason=attempt.stop_reason)
                    attempt.folder.write_stop(attempt.stop_reason)
                    kill_at = time.monotonic() + self._settings.stop_grace_s
            elif time.monotonic() > kill_at:
                attempt.reporter.on_log("warning", f"killed: no stop within {self._settings.stop_grace_s:g} s")
                child.kill()
                kill_at = float("inf")

    def _reason_to_stop(self, attempt: _Attempt, timeout_at: float) -> StopReason | None:
        match attempt.reporter.wish:
            case "cancel" | "pause" as wish:
                return wish
        if self.shutting_down.is_set():
            return "shutdown"
        return "timeout" if time.monotonic() > timeout_at else None

    @staticmethod
    def _order(job: Job, spec: JobSpec, inputs: Prepared, assignment: Assignment) -> AttemptOrder:
        return AttemptOrder(
            job_id=str(job.id),
            epoch=job.epoch,
            method=spec.method,
            config=spec.config.model_dump(mode="json"),
            seed=spec.seed,
            device=assignment.device,
            processes=assignment.processes,
            datasets=inputs.datasets,
            models=inputs.models,
            resume_from=inputs.resume_from,
            code_version=code_version(),
            traced=is_traced(),
            dataset_digests=inputs.dataset_digests,
            model_digests=inputs.model_digests,
        )

    def _record(self, attempt: _Attempt, inputs: Prepared, memory: OutOfMemoryWatch) -> None:
        ending = attempt.reporter.ending
        if isinstance(ending, Finished):
            stored = self._patience(attempt).until_done(
                lambda: self._recorder.store(attempt.job, ending, inputs, attempt.folder)
            )
            attempt.reason = ExitReason.OK
            self._persist(attempt, lambda: self._recorder.succeed(attempt.job, ending, stored))
        elif attempt.stop_reason == "timeout":
            failure = Failed(error="TimeoutError", message=f"it ran longer than its {attempt.job.timeout_s:g} s")
            self._fail(attempt, ExitReason.TIMEOUT, failure, retryable=False)
        elif isinstance(ending, Failed):
            reason = ExitReason.OUT_OF_MEMORY if ending.out_of_memory else ExitReason.ERROR
            self._fail(attempt, reason, ending, retryable=not (ending.user_error or ending.out_of_memory))
        elif isinstance(ending, StoppedEarly) or attempt.stop_reason is not None:
            self._stop(attempt)
        else:
            reason, failure = death(attempt.exit_code, memory_ran_out=memory.happened())
            self._fail(attempt, reason, failure)

    def _stop(self, attempt: _Attempt) -> None:
        attempt.reason = _STOPPED.get(attempt.reporter.wish or "", ExitReason.SHUTDOWN)
        self._persist(attempt, lambda: self._recorder.stop(attempt.job, attempt.exit_code))

    def _fail(self, attempt: _Attempt, reason: ExitReason, failure: Failed, *, retryable: bool = True) -> None:
        log.warning("attempt_failed", reason=reason, error=failure.error, message=failure.message)
        code, attempt.reason = attempt.exit_code, reason
        self._persist(attempt, lambda: self._recorder.fail(attempt.job, reason, failure, code, retryable=retryable))

    def _persist(self, attempt: _Attempt, record: Callable[[], None]) -> None:
        """Write the attempt's last words and its end; again and again while Postgres is away."""
        while True:
            try:
                attempt.reporter.write_last()
                record()
            except DBAPIError as error:
                if not is_transient(error):
                    raise
                log.warning("database_lost", error=str(error).splitlines()[0])
                threading.Event().wait(_RECORD_RETRY_S)
            else:
                return


def wanted_resources(spec: JobSpec) -> Resources:
    """What the job asks for; a task that computes on the CPU takes no GPU it was not told to take."""
    task = TASKS.get(spec.method)
    if task is not None and task.gathers:
        return Resources(device="cpu")
    if spec.resources.device == "auto" and task is not None and not task.uses_gpu:
        return spec.resources.model_copy(update={"device": "cpu"})
    return spec.resources


def is_users_error(error: Exception) -> bool:
    """Whether the request is at fault, so that another attempt would end the same way."""
    return bool(getattr(error, "user_error", False)) or isinstance(error, RegistryError | ValidationError)


def death(exit_code: int | None, *, memory_ran_out: bool) -> tuple[ExitReason, Failed]:
    """Why a child process ended without a word."""
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        if exit_code == -signal.SIGKILL and memory_ran_out:
            message = "the kernel killed the process because memory ran out; use a smaller batch or more memory"
            return ExitReason.OUT_OF_MEMORY, Failed(error="OutOfMemory", message=message)
        return ExitReason.ERROR, Failed(error=name, message=f"the process was killed by {name}")
    message = f"the process ended with status {exit_code} and without an outcome; its last lines are in the log"
    return ExitReason.ERROR, Failed(error="ChildDied", message=message)
