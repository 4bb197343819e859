"""Publishes jobs on the broker, fires schedules, puts right what crashed: `python -m services.worker.relay`.

Woken by NOTIFY when a job is queued, and by the clock when a schedule is due or it is time to look for expired leases.
Several relays may run beside each other. When the broker is away messages wait in the outbox; when Postgres was away,
leases get time to be renewed before they are called expired.
"""

import logging
import selectors
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from types import FrameType

import psycopg
import structlog
from celery import Celery
from kombu.exceptions import ChannelError, KombuError
from kombu.messaging import Producer
from prometheus_client import CollectorRegistry
from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from libs.database import retention
from libs.database.engine import SILENCE, make_engine, transaction
from libs.database.triggers import OUTBOX_CHANNEL
from libs.jobs import firing, outbox, reaper, workers
from libs.jobs import retention as jobs_retention
from libs.logs import configure_logs
from libs.metrics_port import metrics_port, process_registry
from libs.origin import Origin, current_origin, new_request_id, set_origin
from libs.registry.datasets import mark_invalid
from libs.settings import PlatformSettings, platform_settings
from libs.starting import check_database, starting
from libs.tracing import span, tracing
from services.worker.alive import note_alive
from services.worker.celery_app import RUN_JOB, make_app
from services.worker.metrics import RelayMetrics
from services.worker.queue_metrics import QueueMetrics
from services.worker.repository import abandoned_versions
from services.worker.unfinished import unfinished_report

log = structlog.get_logger()
_BATCH = 100
_BROKER_ERRORS = (KombuError, RedisError, OSError)
_FORGET_WORKERS_S = 3600.0
_FORGET_EVERY_S = 3600.0
_FORGETTING: dict[str, Callable[[Session, float], int]] = {
    "jobs": jobs_retention.delete_ended,
    "events": retention.delete_old_events,
    "recommendations": retention.delete_old_recommendations,
    "answers": retention.delete_old_answers,
}
_LONGEST_BACKOFF_S = 5.0
_LOOK_AGAIN_S = 1.0


class Relay:
    """One loop: publish, reap, fire what is due, sleep until something happens."""

    def __init__(
        self, engine: Engine, app: Celery, settings: PlatformSettings, metrics: RelayMetrics | None = None
    ) -> None:
        self._engine = engine
        self._app = app
        self._settings = settings
        self._metrics = metrics or RelayMetrics(CollectorRegistry())
        self._stopping = False
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_write.setblocking(False)
        self._broker_back_at = 0.0
        self._broker_failures = 0
        self._has_more = False
        self._next_reap = 0.0
        self._next_firing = 0.0
        self._next_forgetting = dict.fromkeys(_FORGETTING, 0.0)
        self._kept_days = {
            "jobs": settings.job_retention_days,
            "events": settings.event_retention_days,
            "recommendations": settings.recommendation_retention_days,
            "answers": settings.idempotency_retention_days,
        }

    def stop(self) -> None:
        """Publish what is there, then end. Safe to call from a signal handler."""
        self._stopping = True
        self._wake_write.send(b"x")

    def run(self) -> None:
        """Work until `stop`. Connections are made again for as long as it takes."""
        failures = 0
        while not self._stopping:
            try:
                with self._listen() as listening:
                    failures = 0
                    self._serve(listening)
            except (DBAPIError, psycopg.Error) as error:
                failures += 1
                self._metrics.lost.labels("postgres").inc()
                log.warning("database_lost", error=str(error).splitlines()[0], failures=failures)
                self._next_reap = time.monotonic() + self._settings.lease_s
                self._sleep(_backoff(failures))
        self._wake_read.close()
        self._wake_write.close()

    def _listen(self) -> psycopg.Connection:
        url = self._engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = psycopg.connect(url, autocommit=True, application_name="octavo-relay-listen", **SILENCE)
        connection.execute(f"LISTEN {OUTBOX_CHANNEL}".encode())
        return connection

    def _serve(self, listening: psycopg.Connection) -> None:
        log.info("relay_ready")
        while not self._stopping:
            for step in (self._publish, self._reap_when_due, self._fire_when_due):
                self._do(step)
            next_at = min(self._next_reap, self._next_firing, self._publish_due())
            self._sleep(max(0.0, next_at - time.monotonic()), listening)
        self._publish()

    def _do(self, step: Callable[[], None]) -> None:
        """Whatever goes wrong in one, the others go on; only what is said of Postgres ends the connection."""
        try:
            step()
        except (DBAPIError, psycopg.Error):
            raise
        except Exception:
            log.exception("step_failed", step=step.__name__)
            self._next_firing = max(self._next_firing, time.monotonic() + _LOOK_AGAIN_S)

    def _publish_due(self) -> float:
        if self._has_more:
            return 0.0
        return self._broker_back_at if self._broker_failures else float("inf")

    def _sleep(self, longest_s: float, listening: psycopg.Connection | None = None) -> None:
        """Until the clock says so, a job is queued, or the process is told to stop."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            if listening is not None:
                selector.register(listening.fileno(), selectors.EVENT_READ)
            selector.select(longest_s)
        if listening is not None:
            for _ in listening.notifies(timeout=0):
                pass

    def _publish(self) -> None:
        """Empty the outbox, as far as that is possible before something else is due.

        Nothing is tried when the broker was found away a moment ago.
        """
        self._has_more = False
        if time.monotonic() < self._broker_back_at:
            return
        try:
            while self._publish_batch() == _BATCH:
                if time.monotonic() >= min(self._next_reap, self._next_firing):
                    self._has_more = True
                    break
        except _BROKER_ERRORS as error:
            self._broker_failures += 1
            self._broker_back_at = time.monotonic() + _backoff(self._broker_failures)
            self._metrics.lost.labels("broker").inc()
            log.warning("broker_lost", error=str(error), failures=self._broker_failures)
        else:
            self._broker_failures = 0

    def _publish_batch(self) -> int:
        """The broker first: no transaction waits for it to answer."""
        with self._app.producer_or_acquire() as producer, transaction(self._engine) as session:

            def send(message: outbox.Message) -> None:
                self._send(message, producer)

            return outbox.publish(session, send, _BATCH)

    def _send(self, message: outbox.Message, producer: Producer) -> None:
        """Ring for a job. Where it comes from goes along in the headers, for whoever looks at messages."""
        job_id, origin = str(message.job_id), message.origin
        headers = {"request_id": origin.request_id}
        with span("publish", "producer", parent=origin.traceparent, octavo_job_id=job_id) as made:
            if made.traceparent:
                headers["traceparent"] = made.traceparent
            self._app.send_task(
                RUN_JOB, kwargs={"job_id": job_id}, queue=message.queue, headers=headers, producer=producer
            )
        self._metrics.published.labels(message.queue).inc()
        log.info("published", job_id=job_id, queue=message.queue, **origin.log_fields)

    def _reap_when_due(self) -> None:
        if time.monotonic() < self._next_reap:
            return
        self._next_reap = time.monotonic() + self._settings.reap_every_s
        with transaction(self._engine) as session:
            reaped = reaper.reap(session)
        self._metrics.leases_expired.inc(reaped.lost)
        if any(asdict(reaped).values()):
            log.info("reaped", **asdict(reaped))
        with transaction(self._engine) as session:
            close_abandoned_versions(session)
            workers.forget_silent(session, max(_FORGET_WORKERS_S, 2 * self._settings.lease_s))
        self._ring_again()
        note_alive(self._settings.alive_file)
        self._metrics.reaped_at.set_to_current_time()
        for what, days in self._kept_days.items():
            if days and time.monotonic() >= self._next_forgetting[what]:
                self._forget(what, days)

    def _fire_when_due(self) -> None:
        """Fire due schedules, each in a transaction of its own. New ones are seen with the next reaping."""
        if time.monotonic() < self._next_firing:
            return
        for _ in range(_BATCH):
            if not self._fire():
                self._next_firing = time.monotonic() + self._until_next_due()
                return

    def _fire(self) -> bool:
        """Each time of a schedule is an origin of its own, as a request is."""
        set_origin(Origin(new_request_id()))
        with span("fire schedule") as made, transaction(self._engine) as session:
            run = firing.fire_next(session, self._settings.data_roots)
            if run is None:
                made.drop()
        if run is not None:
            log.info(
                "schedule_fired",
                schedule_id=str(run.schedule_id),
                outcome=run.outcome,
                reason=run.reason,
                job_id=run.job_id and str(run.job_id),
                **current_origin().log_fields,
            )
        return run is not None

    def _until_next_due(self) -> float:
        """Seconds to the next look; one that is late now is being fired by another relay."""
        with transaction(self._engine) as session:
            wait_s = firing.seconds_to_next(session)
        if wait_s is not None and wait_s <= 0:
            return _LOOK_AGAIN_S
        return min(self._settings.reap_every_s, float("inf") if wait_s is None else wait_s)

    def _forget(self, what: str, days: float) -> None:
        """Delete what is old: once an hour, and with each reaping as long as there is more of it."""
        self._next_forgetting[what] = time.monotonic() + _FORGET_EVERY_S
        try:
            with transaction(self._engine) as session:
                deleted = _FORGETTING[what](session, days * 86_400)
        except DBAPIError as error:  # publishing and reaping go on: were it Postgres, they will notice
            log.warning("not_deleted", what=what, error=str(error).splitlines()[0])
            return
        if deleted:
            log.info("deleted", what=what, rows=deleted, older_than_days=days)
            self._next_forgetting[what] = 0.0

    def _ring_again(self) -> None:
        """Where the broker holds fewer messages than jobs are queued, messages were lost: publish them again."""
        with transaction(self._engine) as session:
            wanted = reaper.backlog(session)
        for queue, count in wanted.items():
            missing = count - self._messages_in(queue)
            if missing > 0:
                with transaction(self._engine) as session:
                    rung = reaper.ring_again(session, queue, missing, self._settings.ring_again_s)
                if rung:
                    self._metrics.rung_again.labels(queue).inc(len(rung))
                    log.info("rung_again", queue=queue, jobs=len(rung))

    def _messages_in(self, queue: str) -> int:
        """Messages the broker holds; as many as can be when it does not answer, so that nothing is rung in vain."""
        try:
            with self._app.connection_or_acquire() as connection:
                found = connection.default_channel.queue_declare(queue, passive=True)
                return int(found.message_count)
        except ChannelError:
            return 0  # the broker deletes an empty queue
        except _BROKER_ERRORS:
            return 2**31


def close_abandoned_versions(session: Session) -> None:
    """Data sets whose validation job failed or was cancelled without a verdict are invalid, and say why."""
    for version, job in abandoned_versions(session):
        reason = (job.error or {}).get("message") or job.status_reason or ""
        message = f"validation job {job.id} {job.status}: {reason}".rstrip(": ")
        mark_invalid(session, version.id, unfinished_report(f"validation_{job.status}", message))


def _backoff(failures: int) -> float:
    return min(0.25 * 2.0 ** min(failures - 1, 10), _LONGEST_BACKOFF_S)


def main() -> None:
    """Run a relay until SIGTERM or SIGINT."""
    configure_logs("relay", others=logging.WARNING)
    with ExitStack() as opened:
        with starting("relay"):
            settings = platform_settings()
            check_database(settings)
            engine = make_engine(application="octavo-relay", pool_size=2, max_overflow=1)
            opened.callback(engine.dispose)
            registry = process_registry()
            registry.register(QueueMetrics(engine, settings.lease_s))
            opened.enter_context(metrics_port(settings, registry))
            opened.enter_context(tracing("relay"))
        relay = Relay(engine, make_app(settings.broker_url.get_secret_value()), settings, RelayMetrics(registry))

        def stop(number: int, frame: FrameType | None) -> None:
            relay.stop()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        relay.run()
    log.info("relay_stopped")


if __name__ == "__main__":
    main()
