"""Which services the local stack runs, with which command, environment and sign of life."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from libs.settings import PlatformSettings
from services.local import process as servers
from services.local.layout import Layout
from services.local.service import PythonService, http_ready

GATEWAY_PORT = 8421
"""Taken when it is free, so that the address is the same on most machines."""

SHORT_WORKER = {"OCTAVO_WORKER_QUEUES": "short", "OCTAVO_WORKER_SLOTS": "2"}
"""A second worker for what must not wait behind a training. Two jobs: one may be an estimate that waits for a GPU."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Ports, and what every service gets in its environment."""

    gateway_port: int
    model_server_port: int
    recommender_port: int
    logs: Path
    stop_grace_s: float
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, settings: PlatformSettings, layout: Layout) -> "Plan":
        """Find the ports; the same as last time where they are free."""
        wanted = None if (layout.ports / "gateway").exists() else GATEWAY_PORT
        free = wanted is not None and servers.port_is_free(wanted)
        gateway_port = servers.remembered_port(layout.ports / "gateway", wanted if free else None)
        model_server_port = servers.remembered_port(layout.ports / "model-server", None, {gateway_port})
        promised = {gateway_port, model_server_port}
        recommender_port = servers.remembered_port(layout.ports / "recommender", None, promised)
        environment = {
            "OCTAVO_HOME": str(settings.home),
            "OCTAVO_GATEWAY_HOST": "127.0.0.1",
            "OCTAVO_GATEWAY_PORT": str(gateway_port),
            "OCTAVO_GATEWAY_MODEL_SERVER_URL": f"http://127.0.0.1:{model_server_port}",
            "OCTAVO_MODEL_SERVER_HOST": "127.0.0.1",
            "OCTAVO_MODEL_SERVER_PORT": str(model_server_port),
            "OCTAVO_GATEWAY_RECOMMENDER_URL": f"http://127.0.0.1:{recommender_port}",
            "OCTAVO_RECOMMENDER_HOST": "127.0.0.1",
            "OCTAVO_RECOMMENDER_PORT": str(recommender_port),
            "OCTAVO_METRICS_PORT": "0",  # relay and workers could not share the one that our own environment may name
            "PYTHONUNBUFFERED": "1",
        }
        return cls(gateway_port, model_server_port, recommender_port, layout.logs, settings.stop_grace_s, environment)

    @property
    def ports(self) -> set[int]:
        """Of our own services."""
        return {self.gateway_port, self.model_server_port, self.recommender_port}

    def with_servers(self, **urls: str) -> "Plan":
        """The same plan with `database_url`, `broker_url` or `recommender_sessions_url` in the environment."""
        added = {f"OCTAVO_{name.upper()}": url for name, url in urls.items()}
        return dataclasses.replace(self, environment={**self.environment, **added})

    def services(self) -> list[PythonService]:
        """Our own processes, in the order they start."""
        service, server_port, recommender_port = self._service, self.model_server_port, self.recommender_port
        return [
            service("gateway", "services.gateway", self.gateway_port, _answers(self.gateway_port, "/readyz")),
            service("relay", "services.worker.relay"),
            service(
                "worker", "services.worker", ready=self._worker_registered, stop_timeout_s=self.stop_grace_s + 15.0
            ),
            service(
                "short-worker",
                "services.worker",
                ready=self._worker_registered,
                stop_timeout_s=self.stop_grace_s + 15.0,
                extra=SHORT_WORKER,
            ),
            service("model-server", "services.model_server", server_port, _answers(server_port, "/readyz")),
            service("recommender", "services.recommender", recommender_port, _answers(recommender_port, "/readyz")),
        ]

    def _service(
        self,
        name: str,
        module: str,
        port: int | None = None,
        ready: Callable[[int], bool] = lambda _: True,
        stop_timeout_s: float = 15.0,
        extra: Mapping[str, str] | None = None,
    ) -> PythonService:
        return PythonService(
            name,
            (module,),
            self.logs / f"{name}.log",
            environment={**self.environment, **(extra or {})},
            ready=ready,
            port=port,
            stop_timeout_s=stop_timeout_s,
        )

    def _worker_registered(self, pid: int) -> bool:
        """Whether the worker of this process id has reported itself to Postgres."""
        from libs.database.engine import make_engine, session  # here: the other commands start faster without
        from libs.jobs.workers import alive

        engine = make_engine(self.environment["OCTAVO_DATABASE_URL"], application="octavo-local", pool_size=1)
        try:
            with session(engine) as opened:
                return any(worker.pid == pid for worker in alive(opened, within_s=60.0))
        finally:
            engine.dispose()


def _answers(port: int, path: str) -> Callable[[int], bool]:
    return lambda _: http_ready(port, path)
