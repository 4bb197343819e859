"""How the queue stands, for Prometheus: read from Postgres when it is scraped, by any relay alike."""

from collections.abc import Iterator, Mapping

import structlog
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from libs.database.engine import read_only
from libs.jobs.figures import OPEN_STATUSES, QueueFigures, queue_figures
from services.worker.celery_app import QUEUES
from services.worker.readings import Readings

log = structlog.get_logger()
_KEPT_S = 2.0
"""Whoever scrapes more often gets the same figures again: the port costs Postgres no more for it."""
_ANSWER_WITHIN_S = 3.0
"""Longer than Postgres lets the statement run: where Postgres itself is frozen, nothing there ends it."""


class QueueMetrics(Collector):
    """The state of the queue. When Postgres is away `octavo_postgres_up` is 0, and the rest is left out."""

    def __init__(self, engine: Engine, lease_s: float) -> None:
        self._engine = engine
        self._lease_s = lease_s
        self._readings = Readings(self._read, _KEPT_S, _ANSWER_WITHIN_S)

    def describe(self) -> Iterator[Metric]:
        """The names, without asking Postgres."""
        return _metrics(QueueFigures())

    def collect(self) -> Iterator[Metric]:
        """The figures."""
        return _metrics(self._figures())

    def _figures(self) -> QueueFigures | None:
        try:
            return self._readings.newest()
        except TimeoutError:
            log.warning("queue_not_read", error=f"no answer within {_ANSWER_WITHIN_S:g} s")
            return None

    def _read(self) -> QueueFigures | None:
        try:
            with read_only(self._engine) as session:
                return queue_figures(session, self._lease_s, QUEUES)
        except (DBAPIError, PoolTimeoutError) as error:
            log.warning("queue_not_read", error=str(error).splitlines()[0])
            return None


def _metrics(found: QueueFigures | None) -> Iterator[Metric]:
    up = float(found is not None)
    yield GaugeMetricFamily("octavo_postgres_up", "Whether Postgres answered this relay in time.", value=up)
    if found is None:
        return
    jobs = GaugeMetricFamily(
        "octavo_jobs", "Jobs that have not ended, up to 10,000 of a queue in a state.", labels=["status", "queue"]
    )
    for status in OPEN_STATUSES:
        for queue in QUEUES:
            jobs.add_metric([status, queue], found.jobs.get((status, queue), 0))
    yield jobs
    by_queue: list[tuple[str, str, Mapping[str, float]]] = [
        (
            "octavo_jobs_oldest_queued_seconds",
            "Since when the first of a queue could be claimed.",
            found.oldest_queued_s,
        ),
        ("octavo_workers", "Workers that take jobs of a queue, heard of within a lease.", found.workers),
        ("octavo_worker_slots", "Jobs that those workers run at a time.", found.slots),
    ]
    for name, meaning, values in by_queue:
        gauge = GaugeMetricFamily(name, meaning, labels=["queue"])
        for queue in QUEUES:
            gauge.add_metric([queue], values.get(queue, 0))
        yield gauge
    for name, meaning, value in (
        ("octavo_leases_overdue", "Attempts whose lease expired and that nobody has ended.", found.overdue_leases),
        ("octavo_outbox_messages", "Jobs that wait to be published, up to 10,000.", found.outbox),
        ("octavo_outbox_oldest_seconds", "Since when the first of them waits.", found.outbox_oldest_s),
        ("octavo_workers_silent", "Workers not heard of for longer than a lease.", found.silent_workers),
        ("octavo_worker_heartbeat_oldest_seconds", "Since the last word of the most silent.", found.heartbeat_oldest_s),
        ("octavo_schedules_overdue_seconds", "How late the most overdue schedule is.", found.schedules_overdue_s),
    ):
        yield GaugeMetricFamily(name, meaning, value=float(value))
