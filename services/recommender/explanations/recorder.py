"""Writes down what was recommended, behind the answers: a queue bounded in records and in bytes, and one thread that
inserts batches.

No request waits for it. While Postgres is away the queue fills; once it is full, recommendations are dropped, counted
in `octavo_recommender_records_dropped_total` and said in the log. A dropped one has no explanation and takes no
feedback: its request id answers 404.
"""

import threading
from collections import deque
from time import monotonic

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge
from pydantic import TypeAdapter
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from libs.background import Background
from libs.database.engine import is_transient, transaction
from services.recommender.explanations import repository
from services.recommender.explanations.record import RecommendationRecord
from services.recommender.memory_settings import MemorySettings

log = structlog.get_logger("octavo.recommender.recorder")
_JSON = TypeAdapter(RecommendationRecord)
_BATCH = 500
_BACKOFF_S = (0.2, 0.5, 1.0, 2.0)
_LOG_EVERY_S = 10.0


class Recorder:
    """The thread; see the module's docstring."""

    def __init__(self, engine: Engine, settings: MemorySettings, registry: CollectorRegistry) -> None:
        self._engine = engine
        self._settings = settings
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()  # JSON: what it takes is known, and Postgres takes it
        self._waiting_bytes = 0
        self._taken_in = self._settled = 0  # records so far; settled ones are written or dropped, in the same order
        self._background = Background("recorder", self._run)
        self._hurry = threading.Event()
        self._stop_by = float("inf")
        self._quiet_until = 0.0
        self._dropped = Counter(
            "octavo_recommender_records_dropped",
            "Recommendations not written down: they have no explanation and take no feedback.",
            ("reason",),
            registry=registry,
        )
        waiting = Gauge("octavo_recommender_records_waiting", "Recommendations to be written down.", registry=registry)
        waiting.set_function(lambda: len(self._waiting))

    def start(self) -> None:
        """Begin to write."""
        self._background.start()

    def stop(self) -> None:
        """Write what waits, for `record_stop_s` at most, and end."""
        self._stop_by = monotonic() + self._settings.record_stop_s
        self._background.stopping.set()
        self._hurry.set()
        self._background.stop(self._settings.record_stop_s + 1.0)
        if lost := len(self._waiting):
            self._drop(lost, "stopped")

    def record_recommendation(self, record: RecommendationRecord) -> bool:
        """Have it written down soon; takes microseconds. False: it was dropped, as the queue is full."""
        content = _JSON.dump_json(record)
        with self._changed:
            size_bytes = self._waiting_bytes + len(content)
            fits = len(self._waiting) < self._settings.record_queue and size_bytes <= self._settings.record_queue_bytes
            if fits:
                self._waiting.append(content)
                self._waiting_bytes = size_bytes
                self._taken_in += 1
        if not fits:
            self._drop(1, "full")
        return fits

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was handed over before is written; False when that took longer than `timeout_s`."""
        self._hurry.set()
        with self._changed:
            before = self._taken_in
            return self._changed.wait_for(lambda: self._settled >= before, timeout_s)

    def _run(self) -> None:
        while not (self._background.stopping.is_set() and not self._waiting):
            self._hurry.wait(self._settings.record_every_s)
            self._hurry.clear()
            while batch := self._take():
                self._write(batch)
                self._settle(batch)

    def _take(self) -> list[bytes]:
        with self._changed:
            return [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]

    def _settle(self, batch: list[bytes]) -> None:
        with self._changed:
            self._waiting_bytes -= sum(map(len, batch))
            self._settled += len(batch)
            self._changed.notify_all()

    def _write(self, batch: list[bytes]) -> None:
        """Insert; while Postgres is away, again and again."""
        failures = 0
        while True:
            try:
                with transaction(self._engine) as session:
                    repository.insert(session, batch)
            except Exception as error:  # whatever it is, what comes after it is written
                if not _passes(error):
                    return self._write_what_fits(batch, str(getattr(error, "orig", None) or error))
                if monotonic() > self._stop_by:
                    return self._drop(len(batch), "stopped")
                self._background.stopping.wait(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
                failures += 1
            else:
                return None

    def _write_what_fits(self, batch: list[bytes], error: str) -> None:
        if len(batch) == 1:
            self._drop(1, "refused", error)
        else:
            for one in batch:
                self._write([one])

    def _drop(self, count: int, reason: str, error: str = "") -> None:
        self._dropped.labels(reason).inc(count)
        if reason != "full" or monotonic() > self._quiet_until:
            self._quiet_until = monotonic() + _LOG_EVERY_S
            log.error("recommendations are not written down", reason=reason, dropped=count, error=error[:300])


def _passes(error: Exception) -> bool:
    return isinstance(error, PoolTimeoutError) or (isinstance(error, DBAPIError) and is_transient(error))
