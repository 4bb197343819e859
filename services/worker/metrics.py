"""What a relay and a worker count beside what happens to jobs (`libs.jobs.counts`)."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.worker.celery_app import QUEUES


class RelayMetrics:
    """Of one relay."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.published = Counter(
            "octavo_relay_published", "Messages handed to the broker.", ("queue",), registry=registry
        )
        self.rung_again = Counter(
            "octavo_relay_rung_again",
            "Jobs published again because the broker had lost their message.",
            ("queue",),
            registry=registry,
        )
        self.leases_expired = Counter(
            "octavo_leases_expired", "Attempts ended because their worker did not renew its lease.", registry=registry
        )
        self.lost = Counter(
            "octavo_relay_connections_lost",
            "Times that Postgres or the broker was found away.",
            ("of",),
            registry=registry,
        )
        self.reaped_at = Gauge(
            "octavo_relay_reaped_timestamp_seconds", "When it last looked for what crashed.", registry=registry
        )
        # A counter that appears with its first count has not increased, for Prometheus: all are there from the start.
        for queue in QUEUES:
            self.published.labels(queue)
            self.rung_again.labels(queue)
        for of in ("postgres", "broker"):
            self.lost.labels(of)


class WorkerMetrics:
    """Of one worker."""

    def __init__(self, registry: CollectorRegistry, slots: int) -> None:
        self.slots = Gauge("octavo_worker_slots_here", "Jobs this worker runs at a time.", registry=registry)
        self.slots.set(slots)
        self.busy = Gauge("octavo_worker_jobs_running", "Jobs it runs now.", registry=registry)
        self.abandoned = Counter(
            "octavo_attempts_abandoned",
            "Attempts it gave up because their lease was no longer its own.",
            registry=registry,
        )
        self.found_nothing = Counter(
            "octavo_worker_rings_in_vain", "Messages for which there was no job to take.", registry=registry
        )
