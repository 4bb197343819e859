"""The whole of Octavo on one machine: started in order, watched, stopped in the reverse order."""

import importlib.metadata
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from io import FileIO
from types import FrameType

from libs.settings import PlatformSettings
from services.local import process as servers
from services.local.errors import LocalStackError, StartError
from services.local.layout import Layout, Phase, StackState
from services.local.plan import Plan
from services.local.postgres import LocalPostgres
from services.local.server import LocalServer
from services.local.settings import LocalSettings
from services.local.supervisor import RestartRule, Supervisor
from services.local.valkey import LocalValkey, session_cache

_LOOK_EVERY_S = 0.5
_PREPARE_TIMEOUT_S = 300.0


class StopAsked(BaseException):
    """SIGINT or SIGTERM came while the stack was starting."""


class Stack:
    """Every process of Octavo on this machine, under one supervisor.

    Args:
        settings: `home` says where everything lies.
        tell: gets one line for people whenever something happens.
        fsync: off only for tests.

    Call it from the main thread: the processes end with the thread that started them.
    """

    def __init__(
        self,
        settings: PlatformSettings,
        tell: Callable[[str], None],
        *,
        fsync: bool = True,
        rule: RestartRule | None = None,
    ) -> None:
        self.settings = settings
        self.layout = Layout(settings.home)
        self.tell = tell
        self.supervisor = Supervisor(tell, rule or RestartRule())
        self.postgres = LocalPostgres(settings.home / "postgres", fsync=fsync)
        self.valkey = LocalValkey(settings.home / "valkey")
        self.session_cache = session_cache(settings.home / "session-cache", LocalSettings().session_cache_mb)
        self._lock: FileIO | None = None
        self._stop = threading.Event()
        self._starting = self._launching = False
        self._state: StackState | None = None

    def run(self, on_ready: Callable[[StackState], None]) -> None:
        """Start, call `on_ready`, watch until SIGINT, SIGTERM or SIGHUP, stop.

        Raises:
            LocalStackError: it already runs, something cannot start, or something ended again and again.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            on_ready(self.start())
            self.watch()
        except StopAsked:
            self.tell("Stopping before everything had started.")
        except LocalStackError as error:
            if self._state is not None:
                self._note("failed", error=str(error))
            raise
        finally:
            self.stop()

    def start(self) -> StackState:
        """Start everything; returns when it answers."""
        self._starting = True
        begun = time.monotonic()
        self.layout.make()
        self._lock = servers.hold(self.layout.lock, "Octavo")
        plan = Plan.make(self.settings, self.layout)
        self._state = _first_state(plan, self.layout)
        self._launch_servers(plan.ports)
        self.postgres.wait_ready()
        plan = plan.with_servers(database_url=self.postgres.url)
        self._prepare(plan.environment)
        self.valkey.wait_ready()
        self.session_cache.wait_ready()
        urls = {"broker_url": self.valkey.url, "recommender_sessions_url": self.session_cache.url}
        self._start_services(plan.with_servers(**urls))
        self._starting = False
        if self._stop.is_set():
            raise StopAsked
        return self._note("ready", ready_after_s=time.monotonic() - begun)

    def watch(self) -> None:
        """Restart what ends, until a signal or `ask_stop`.

        Raises:
            GaveUpError: a service ended again and again.
        """
        while not self._stop.wait(_LOOK_EVERY_S):
            if self.supervisor.look():
                self._note("ready")

    def stop(self) -> None:
        """Stop everything, last started first. Jobs that run are queued again from their checkpoints."""
        if self._lock is None:
            return
        self._starting = False
        failed = self._state is None or self._state.phase == "failed"
        if not failed:
            self._note("stopping")
        self.supervisor.stop_all()
        if not failed:
            self.layout.state_file.unlink(missing_ok=True)
        self._lock.close()
        self._lock = None

    def ask_stop(self) -> None:
        """Make `watch` return."""
        self._stop.set()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        already = self._stop.is_set()
        self._stop.set()
        if self._starting and not self._launching and not already:
            raise StopAsked
        if already:
            self.tell("Already stopping; running jobs are writing their checkpoints.")

    def _launch_servers(self, promised: set[int]) -> None:
        """Launch the servers that are not ours; both Valkeys answer long before the database is migrated."""
        named: tuple[tuple[str, LocalServer], ...] = (
            ("postgres", self.postgres),
            ("valkey", self.valkey),
            ("session-cache", self.session_cache),
        )
        for name, server in named:
            self.tell(f"starting {name}")
            # Making a cluster takes seconds, and may be broken off.
            with self._unbroken() if server is not self.postgres else nullcontext():
                server.launch(promised)
                self.supervisor.adopt(name, server)
            if server.port is not None:
                promised.add(server.port)
        self._note("starting")

    @contextmanager
    def _unbroken(self) -> Iterator[None]:
        """A signal stops the start after the block and not within: a process begun there would be nobody's."""
        self._launching = True
        try:
            yield
        finally:
            self._launching = False
        if self._stop.is_set():
            raise StopAsked

    def _start_services(self, plan: Plan) -> None:
        """Launch all, then wait for each: their imports take seconds and overlap."""
        services = plan.services()
        for service in services:
            self.tell(f"starting {service.name}")
            with self._unbroken():
                service.launch()
                self.supervisor.adopt(service.name, service)
        self._note("starting")
        for service in services:
            service.wait_ready()

    def _prepare(self, environment: Mapping[str, str]) -> None:
        self.tell("migrating the database")
        log = self.layout.logs / "migration.log"
        command = [sys.executable, "-m", "services.local.prepare", str(self.layout.key_file)]
        process = servers.spawn(command, log, environment={**os.environ, **environment})
        try:
            code = process.wait(_PREPARE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise StartError(f"Migrating took more than {_PREPARE_TIMEOUT_S:g} s; see {log}.") from None
        finally:
            servers.stop(process, ((signal.SIGTERM, 10.0),))
        if code != 0:
            raise StartError(
                "The database could not be brought to this version's schema. Your data is unchanged: each migration is "
                "one transaction. If you went back to an older version, install the newer one again. "
                f"The end of {log}:\n{servers.tail(log)}"
            )

    def _note(self, phase: Phase, **changes: object) -> StackState:
        assert self._state is not None, "the state is made first of all"
        services = [one.state() for one in self.supervisor.watched]
        self._state = self._state.model_copy(update={"phase": phase, "services": services, **changes})
        self.layout.write_state(self._state)
        return self._state


def _first_state(plan: Plan, layout: Layout) -> StackState:
    return StackState(
        pid=os.getpid(),
        version=importlib.metadata.version("octavo"),
        phase="starting",
        url=f"http://127.0.0.1:{plan.gateway_port}",
        model_server_url=f"http://127.0.0.1:{plan.model_server_port}",
        recommender_url=f"http://127.0.0.1:{plan.recommender_port}",
        key_file=layout.key_file,
        started_at=time.time(),
    )
