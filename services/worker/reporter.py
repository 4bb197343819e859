"""The thread that keeps an attempt's rows up to date: batches of metrics and logs, heartbeats, wishes.

Everything it writes is fenced by the attempt's epoch. While Postgres is away it keeps what it has and tries again;
when the lease is lost it says so and writes nothing more.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from threading import Event, Lock

import structlog
from pydantic import ValidationError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, StatementError

from libs.background import thread_of_this_context
from libs.database.engine import is_transient, transaction
from libs.database.tables import Job
from libs.jobs import events, queue, reports
from libs.jobs.dependencies import progress_before
from libs.jobs.errors import LeaseLost
from libs.jobs.moves import lock_attempt
from libs.jobs.reports import MetricPoint
from libs.tracing import record
from services.worker.child_logs import write_for_child
from services.worker.log_budget import LogBudget, storable
from services.worker.messages import (
    CheckpointSaved,
    Failed,
    Finished,
    Logged,
    Message,
    MetricReported,
    PhaseEnded,
    ProcessLogged,
    ProgressReported,
    Started,
    StoppedEarly,
    message_adapter,
)
from services.worker.settings import WorkerSettings

log = structlog.get_logger()
_WISH_EVERY_S = 1.0
_MOST_TOLD = 1000
"""Lines of one child's own log, and as many parts of its run, that are passed on; both are meant to be a handful."""
_MOST_HELD = 200_000
"""Values of metrics that wait for Postgres; beyond them, of each metric every second one is kept."""
_SUMMARY_SHARE = 0.005
"""Progress and metric events come at most every 0.5 % of the time a job has run: some 1,500 in ten hours."""


class AttemptReporter:
    """Takes a child's messages and lines from other threads; writes them from its own.

    Attributes:
        ending: the message that ended the run: finished, stopped or failed.
        wish: "cancel" or "pause", once a user asked for it.
        lost: set when the lease is gone.
    """

    def __init__(
        self,
        engine: Engine,
        job: Job,
        settings: WorkerSettings,
        on_checkpoint: Callable[[CheckpointSaved], None],
    ) -> None:
        self._engine = engine
        self._job_id, self._epoch = job.id, job.epoch
        self._before = progress_before(job.method)
        self._settings = settings
        self._on_checkpoint = on_checkpoint
        self._lock = Lock()
        self._entries: list[events.Entry] = []
        self._metrics: list[MetricPoint] = []
        self._latest: dict[str, tuple[int, float]] = {}
        self._progress: ProgressReported | None = None
        self._started: Started | None = None
        self._budget = LogBudget(settings.worker_log_lines_per_s, settings.worker_log_lines)
        self._began = time.monotonic()
        self._next_heartbeat = self._next_wish = self._next_summary = 0.0
        self._told: Counter[type[ProcessLogged | PhaseEnded]] = Counter()
        self._closing = False
        self._wake = Event()
        self._thread = thread_of_this_context(self._run, f"octavo-report-{job.id}")
        self.ending: Finished | StoppedEarly | Failed | None = None
        self.wish: str | None = None
        self.lost = Event()

    def start(self) -> None:
        """Begin to keep the lease."""
        self._thread.start()

    def write_last(self) -> None:
        """Write what is left, now, from the calling thread, and nothing after it: the outcome follows.

        Raises:
            LeaseLost: the attempt is not the job's any more.
            DBAPIError: Postgres is away; call it again.
        """
        self._closing = True
        self._wake.set()
        self._thread.join()
        self._flush(last=True)

    def close(self) -> None:
        """End the thread; what is left is not written, and the lease no longer kept."""
        self._closing = True
        self._wake.set()
        self._thread.join()

    def on_message(self, line: bytes) -> None:
        """One line of the child's pipe."""
        try:
            message = message_adapter.validate_json(line)
        except ValidationError as error:
            self.on_log("warning", f"a message of the child process could not be read: {error.errors()[0]['msg']}")
            return
        if isinstance(message, ProcessLogged | PhaseEnded):
            self._tell(message)
        else:
            self._take(message)

    def on_output(self, line: bytes) -> None:
        """One line the child printed."""
        if text := line.decode(errors="replace").rstrip():
            self.on_log("info", text)

    def on_log(self, level: str, message: str) -> None:
        """A line of the worker's own."""
        with self._lock:
            self._entries += self._budget.admit(level, message)

    def on_usage(self, step: int, values: Mapping[str, float]) -> None:
        """What the attempt uses: metrics, and no events, which are for what the run itself says."""
        with self._lock:
            self._metrics += [MetricPoint(name, step, value) for name, value in values.items()]

    def _take(self, message: Message) -> None:
        with self._lock:
            match message:
                case MetricReported():
                    if len(self._metrics) >= _MOST_HELD:
                        self._thin_out()
                    self._metrics.append(MetricPoint(storable(message.name), message.step, message.value))
                    self._latest[storable(message.name)] = (message.step, message.value)
                case ProgressReported():
                    self._progress = message
                case Logged():
                    self._entries += self._budget.admit(message.level, message.message, message.fields)
                case Started():
                    self._started = message
                    self._wake.set()
                case CheckpointSaved():
                    self._on_checkpoint(message)
                case Finished() | StoppedEarly() | Failed():
                    self.ending = self.ending or message

    def _thin_out(self) -> None:
        """Hold fewer values: Postgres has been away for long."""
        held = len(self._metrics)
        self._metrics = thinned(self._metrics)
        dropped = held - len(self._metrics)
        self._entries += self._budget.admit("warning", f"{dropped} values of metrics were dropped: Postgres is away")

    def _tell(self, message: ProcessLogged | PhaseEnded) -> None:
        """Whoever runs the platform, by its log and its traces."""
        kind = type(message)
        self._told[kind] += 1
        if self._told[kind] > _MOST_TOLD:
            return
        if isinstance(message, ProcessLogged):
            write_for_child(message)
        else:
            record(message.name, message.began_ns, message.ended_ns)

    def _run(self) -> None:
        while not (self._closing or self.lost.is_set()):
            self._write()
            self._wake.wait(self._settings.worker_flush_s)
            self._wake.clear()

    def _write(self) -> None:
        """What there is to write; the lease is kept whatever is wrong with that."""
        try:
            try:
                self._flush(last=False)
            finally:
                self._keep_lease()
        except LeaseLost:
            log.warning("lease_lost")
            self.lost.set()
        except DBAPIError as error:
            log.warning("database_lost", error=str(error).splitlines()[0])
        except Exception:
            log.exception("not_reported")

    def _flush(self, *, last: bool) -> None:
        """Write the batch; while Postgres is away it stays for the next time."""
        with self._lock:
            self._summarise(last)
            entries, metrics = list(self._entries), self._metrics
            self._metrics = []
            progress, started = self._progress, self._started
        if not (entries or metrics or progress or started):
            return
        try:
            self._store(entries, metrics, progress, started)
        except StatementError as error:
            if isinstance(error, DBAPIError) and is_transient(error):
                with self._lock:
                    self._metrics = metrics + self._metrics
                raise
            log.exception("batch_dropped", entries=len(entries), metrics=len(metrics), error=str(error))
        with self._lock:
            del self._entries[: len(entries)]
            self._progress = None if self._progress is progress else self._progress
            self._started = None

    def _store(
        self,
        entries: list[events.Entry],
        metrics: list[MetricPoint],
        progress: ProgressReported | None,
        started: Started | None,
    ) -> None:
        with transaction(self._engine) as session:
            if started is not None:
                queue.mark_running(session, self._job_id, self._epoch, started.device)
            job = lock_attempt(session, self._job_id, self._epoch)
            if progress is not None:
                job.progress, job.progress_note = self._overall(progress.fraction), storable(progress.note)
            reports.record_metrics(session, job, metrics)
            events.append(session, job, entries)

    def _summarise(self, last: bool) -> None:
        """Add events for those who watch: the newest value of each metric, and the progress."""
        now = time.monotonic()
        if now < self._next_summary and not last:
            return
        added: list[events.Entry] = self._budget.take_dropped()
        if self._latest:
            values = {name: {"step": step, "value": value} for name, (step, value) in self._latest.items()}
            added.append(("metrics", {"values": values}))
            self._latest = {}
        if self._progress is not None:
            fraction = self._overall(self._progress.fraction)
            added.append(("progress", {"fraction": fraction, "note": storable(self._progress.note)}))
        self._entries += added
        if added:
            self._next_summary = now + (now - self._began) * _SUMMARY_SHARE

    def _overall(self, fraction: float) -> float:
        """Progress of the job at a fraction of its attempt."""
        return self._before + (1 - self._before) * (fraction if math.isfinite(fraction) else 0.0)

    def _keep_lease(self) -> None:
        now = time.monotonic()
        if now >= self._next_heartbeat:
            with transaction(self._engine) as session:
                self.wish = queue.heartbeat(session, self._job_id, self._epoch, self._settings.lease_s) or self.wish
            self._next_heartbeat = now + self._settings.heartbeat_s
        elif now >= self._next_wish:
            with transaction(self._engine) as session:
                self.wish = queue.wish(session, self._job_id, self._epoch) or self.wish
            self._next_wish = now + _WISH_EVERY_S


def thinned(points: Sequence[MetricPoint]) -> list[MetricPoint]:
    """Of each metric every second value, the newest among them, in their order."""
    seen: Counter[str] = Counter()
    kept = []
    for point in reversed(points):
        if seen[point.name] % 2 == 0:
            kept.append(point)
        seen[point.name] += 1
    return kept[::-1]
