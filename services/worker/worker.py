"""A worker process: its row in Postgres, its supervisor, and the Celery consumer that hands it rings."""

import os
import socket
import warnings
from dataclasses import asdict
from uuid import UUID, uuid4

import structlog
from celery import Celery
from celery.platforms import SecurityWarning
from celery.signals import worker_shutting_down
from sqlalchemy.exc import DBAPIError

from libs.background import Background
from libs.database.engine import make_engine, transaction
from libs.jobs import workers
from libs.metrics_port import process_registry
from libs.origin import Origin, set_origin
from libs.registry.artifacts import ArtifactStore
from libs.registry.cache import FolderCache
from libs.settings import WrongSettings
from services.worker.alive import note_alive
from services.worker.attempt_folder import remove_abandoned
from services.worker.celery_app import QUEUES, RUN_JOB, make_app
from services.worker.devices import DevicePool, find_gpus
from services.worker.gpu_metrics import GpuMetrics
from services.worker.inputs import InputStore
from services.worker.launch import Launcher, python_child
from services.worker.metrics import WorkerMetrics
from services.worker.settings import WorkerSettings, code_version
from services.worker.supervisor import Supervisor

log = structlog.get_logger()
_STOP_TIMEOUT_S = 10.0


class Worker:
    """Everything one worker process owns. `run` blocks until SIGTERM or SIGINT.

    Attributes:
        registry: its metrics.
    """

    def __init__(self, settings: WorkerSettings, launcher: Launcher = python_child) -> None:
        self.id = uuid4()
        self._settings = settings
        self._devices = DevicePool(find_gpus(), settings.home / "gpus")
        self.slots = settings.worker_slots or max(1, len(self._devices.gpus))
        self.queues = chosen_queues(settings.worker_queues, has_gpu=bool(self._devices.gpus))
        self._engine = make_engine(
            settings.database_url.get_secret_value(),
            application="octavo-worker",
            pool_size=3 * self.slots + 1,
            idle_timeout_s=settings.lease_s / 2,  # frozen within a transaction, it would keep its job from the reaper
        )
        self.registry = process_registry()
        self.registry.register(GpuMetrics(self._devices.gpus))
        self._metrics = WorkerMetrics(self.registry, self.slots)
        self.supervisor = self._make_supervisor(launcher)
        self._beating = Background("octavo-beat", self._beat)

    def _make_supervisor(self, launcher: Launcher) -> Supervisor:
        settings = self._settings
        store = ArtifactStore(settings.artifact_root)
        cache = FolderCache(settings.cache, store, settings.worker_cache_limit_bytes)
        inputs = InputStore(self._engine, store, cache)
        return Supervisor(
            self.id,
            self._engine,
            store,
            inputs,
            self._devices,
            settings,
            self._metrics,
            slots=self.slots,
            launcher=launcher,
        )

    def run(self) -> None:
        """Register, answer rings, and at the end hand every job back."""
        if removed := remove_abandoned(self._settings.attempts):
            log.info("abandoned_attempts_removed", folders=removed)
        self._beating.start()
        worker_shutting_down.connect(self._on_shutdown, weak=False)
        app = make_app(self._settings.broker_url.get_secret_value())
        define_task(app, self.supervisor)
        log.info("worker_ready", worker_id=str(self.id), queues=self.queues, slots=self.slots)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # about root and pickle; ours takes JSON only
            app.worker_main(self._arguments())
        if not self._beating.stop(_STOP_TIMEOUT_S):
            log.warning("worker_not_unregistered")
        self._engine.dispose()

    def _arguments(self) -> list[str]:
        return [
            "--quiet",
            "worker",
            "--pool=threads",
            f"--concurrency={self.slots}",
            f"--queues={','.join(self.queues)}",
            f"--hostname={self.id}@%h",
            "--disable-prefetch",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--loglevel=WARNING",
        ]

    def _on_shutdown(self, **_: object) -> None:
        self.supervisor.shutting_down.set()

    def _beat(self) -> None:
        """Keep the worker's row; it is written anew when a reaper thought us dead."""
        while True:
            try:
                self._report()
                note_alive(self._settings.alive_file)
            except DBAPIError as error:
                log.warning("database_lost", error=str(error).splitlines()[0])
            except Exception:  # the next beat may do better
                log.exception("not_reported")
            if self._beating.stopping.wait(self._settings.heartbeat_s):
                break
        try:
            with transaction(self._engine) as session:
                workers.unregister(session, self.id)
        except DBAPIError as error:
            log.warning("database_lost", error=str(error).splitlines()[0])

    def _report(self) -> None:
        with transaction(self._engine) as session:
            workers.report(
                session,
                self.id,
                host=socket.gethostname(),
                pid=os.getpid(),
                version=code_version(),
                queues=self.queues,
                devices={"gpus": [asdict(gpu) for gpu in self._devices.gpus], "cpus": os.cpu_count()},
                slots=self.slots,
            )


def chosen_queues(setting: str, *, has_gpu: bool) -> list[str]:
    """Queue names of a setting; `auto` means short, cpu, and gpu where there is one.

    Raises:
        WrongSettings: it names a queue that does not exist.
    """
    if setting == "auto":
        return ["short", "cpu", "gpu"] if has_gpu else ["short", "cpu"]
    names = [name.strip() for name in setting.split(",") if name.strip()]
    unknown = [name for name in names if name not in QUEUES]
    if unknown or not names:
        raise WrongSettings(
            f"OCTAVO_WORKER_QUEUES: {setting!r} is not understood: queues are {', '.join(QUEUES)}, or auto"
        )
    return names


def define_task(app: Celery, supervisor: Supervisor) -> None:
    """Make the app answer rings with this supervisor."""

    @app.task(name=RUN_JOB)  # type: ignore[untyped-decorator]
    def run_job(job_id: str) -> None:
        request_id = (run_job.request.headers or {}).get("request_id", "")
        set_origin(Origin(request_id))
        supervisor.run(UUID(job_id))
