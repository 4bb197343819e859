"""Keeps what is loaded equal to what the deployment rows of one task want, and writes back what is.

One thread: read the rows, load, switch or unload, report, wait for NOTIFY or `poll_s`. While Postgres is away nothing
is unloaded; at a start without it the last snapshot and the local cache are used.
"""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Generic
from uuid import UUID

import psycopg
import structlog
from psycopg import sql
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from libs.background import Background
from libs.database import api_keys
from libs.database.engine import SILENCE, transaction
from libs.registry.cache import FolderCache
from libs.registry.deployments import DeploymentSettings, WantedModel, report_status, wanted_models
from libs.registry.notify import ALIASES_CHANNEL, DEPLOYMENTS_CHANNEL
from libs.serving.deployments.keys import CachedKeys
from libs.serving.deployments.metrics import DeploymentMetrics
from libs.serving.deployments.snapshot import Snapshot, SnapshotFile
from libs.serving.deployments.states import Key, States
from libs.serving.deployments.traffic import Traffic
from libs.serving.errors import LoadError
from libs.serving.repository import Identity, ModelRepository, ModelT, RunSettings

log = structlog.get_logger("octavo.serving")
_STOP_CHECK_S = 0.2
_STOP_TIMEOUT_S = 10.0
_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Kind(Generic[ModelT]):
    """What one service serves.

    Attributes:
        service: its name, as connections to Postgres show it.
        task: of the models it loads; deployments of other tasks are left to other services.
        load: a model of a bundle's folder, probed; raises LoadError.
    """

    service: str
    task: str
    load: Callable[[Path, Identity, RunSettings], ModelT]


@dataclass(slots=True)
class _Loaded:
    """What serves at a key; `lease` keeps its files in the local cache."""

    wanted: WantedModel
    lease: ExitStack


@dataclass(frozen=True, slots=True)
class _Failure:
    """A version that could not be loaded, and when to try again."""

    generation: datetime
    version_id: UUID | None
    reason: str
    retry_at: float


class Syncer(Generic[ModelT]):
    """The thread; see the module's docstring."""

    def __init__(
        self,
        kind: Kind[ModelT],
        engine: Engine,
        cache: FolderCache,
        models: ModelRepository[ModelT],
        keys: CachedKeys,
        snapshot: SnapshotFile,
        metrics: DeploymentMetrics,
        *,
        poll_s: float,
        retry_s: float,
    ) -> None:
        self.states = States()
        self._kind = kind
        self._engine = engine
        self._cache = cache
        self._models = models
        self._keys = keys
        self._snapshot = snapshot
        self._metrics = metrics
        self._poll_s = poll_s
        self._retry_s = retry_s
        self._loaded: dict[Key, _Loaded] = {}
        self._failures: dict[Key, _Failure] = {}
        self._reported: dict[UUID, tuple[datetime, str, str | None, UUID | None]] = {}
        self._background = Background("syncer", self._run)
        self._stopping = self._background.stopping

    def start(self) -> None:
        """Begin; `states.first_look` is set once everything known has been tried."""
        self._background.start()

    def stop(self) -> None:
        """End the thread and unload everything. A thread that hangs in a load is left behind: the process ends."""
        if not self._background.stop(_STOP_TIMEOUT_S):
            log.warning("the syncer did not stop in time", timeout_s=_STOP_TIMEOUT_S)
            return
        self._models.close()
        for loaded in self._loaded.values():
            loaded.lease.close()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                self._follow()
                failures = 0
            except (SQLAlchemyError, psycopg.Error) as error:
                if self.states.database_is_up:
                    failures = 0
                    log.warning("lost Postgres; what is loaded serves on", error=str(error).strip()[:300])
                self.states.database_is_up = False
                if not self.states.first_look.is_set():
                    self._start_from_snapshot()
                self._stopping.wait(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
                failures += 1
            except Exception:
                log.exception("the syncer failed and tries again")
                self._stopping.wait(_BACKOFF_S[-1])

    def _follow(self) -> None:
        """Listen first, then look: nothing that changes in between is missed."""
        conninfo = self._engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(
            conninfo, autocommit=True, application_name=f"octavo-{self._kind.service}", **SILENCE
        ) as listener:
            for channel in (DEPLOYMENTS_CHANNEL, ALIASES_CHANNEL):
                listener.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            while not self._stopping.is_set():
                self._look()
                self._wait_for_news(listener)

    def _look(self) -> None:
        with transaction(self._engine) as session:
            wanted = wanted_models(session)
            keys = api_keys.valid_keys(session)
            if used := self._keys.take_used():
                api_keys.note_uses(session, used)
        self.states.database_is_up = True
        self._keys.replace(keys)
        self._snapshot.write(Snapshot(wanted=wanted, keys=keys))
        self._reconcile(wanted, report=True)
        self.states.first_look.set()

    def _wait_for_news(self, listener: "psycopg.Connection[tuple[object, ...]]") -> None:
        until = monotonic() + self._poll_s
        while not self._stopping.is_set() and monotonic() < until:
            for _ in listener.notifies(timeout=_STOP_CHECK_S, stop_after=1):
                return

    def _start_from_snapshot(self) -> None:
        snapshot = self._snapshot.read()
        if snapshot is not None:
            log.warning("Postgres is down: starting from the last snapshot", deployments=len(snapshot.wanted))
            self._keys.replace(snapshot.keys)
            self._reconcile(snapshot.wanted, report=False)
        self.states.first_look.set()

    def _reconcile(self, wanted: list[WantedModel], *, report: bool) -> None:
        ours = {_key(one): one for one in wanted if one.task == self._kind.task}
        self.states.traffic = {key: _traffic(one) for key, one in ours.items() if one.settings.traffic}
        for gone in set(self._loaded) - set(ours):
            self._unload(gone)
        self.states.elsewhere = {_key(one): one.task for one in wanted if one.task != self._kind.task}
        self.states.keep_only(ours)
        ids = {one.deployment_id for one in ours.values()}
        self._reported = {one: said for one, said in self._reported.items() if one in ids}
        for key, one in ours.items():
            if self._stopping.is_set():
                return
            self._bring_up(key, one, report=report)

    def _bring_up(self, key: Key, wanted: WantedModel, *, report: bool) -> None:
        current = self._loaded.get(key)
        if current is not None and _same(current.wanted, wanted):
            current.wanted = wanted
            self._conclude(key, wanted, None, report=report)
            return
        failure = self._failures.get(key)
        if failure is None or not _applies(failure, wanted):
            self.states.loading(key, wanted)
            failure = self._try_to_load(key, wanted)
        self._conclude(key, wanted, failure, report=report)

    def _try_to_load(self, key: Key, wanted: WantedModel) -> _Failure | None:
        try:
            lease = self._load_and_switch(key, wanted)
        except Exception as error:  # whatever is wrong with one model, the others go on
            log.warning("a model cannot be loaded", deployment=wanted.name, model=wanted.model_name, error=str(error))
            failure = _Failure(wanted.generation, wanted.version_id, str(error), monotonic() + self._retry_s)
            self._failures[key] = failure
            return failure
        if previous := self._loaded.pop(key, None):
            previous.lease.close()
        self._loaded[key] = _Loaded(wanted, lease)
        self._failures.pop(key, None)
        log.info("model loaded", deployment=wanted.name, model=wanted.model_name, version=wanted.version)
        return None

    def _load_and_switch(self, key: Key, wanted: WantedModel) -> ExitStack:
        if wanted.version_id is None:
            raise LoadError(f"the alias of model {wanted.model_name!r} that this deployment follows is gone")
        with ExitStack() as lease:
            folder = lease.enter_context(self._cache.lease(wanted.digest, wanted.uri))
            identity = Identity(wanted.model_name, wanted.version, wanted.digest, wanted.version_id)
            model = self._kind.load(folder, identity, _run_settings(wanted.settings))
            self._metrics.follow(*key, model.queue)
            self._models.switch(key, model)
            with suppress(OSError):
                self._cache.evict(keep=wanted.digest)  # loading may have derived an index, which counts
            return lease.pop_all()

    def _unload(self, key: Key) -> None:
        self._models.remove(key)
        self._loaded.pop(key).lease.close()
        self._failures.pop(key, None)
        self._metrics.forget(*key)
        log.info("model unloaded", deployment=key.name)

    def _conclude(self, key: Key, wanted: WantedModel, failure: _Failure | None, *, report: bool) -> None:
        loaded = self._loaded.get(key)
        serving = loaded.wanted.version_id if loaded else None
        reason = failure.reason if failure else None
        self.states.settled(key, wanted, reason, serving_version=loaded.wanted.version if loaded else None)
        said = (wanted.generation, "failed" if failure else "ready", reason, serving)
        if not report or self._reported.get(wanted.deployment_id) == said:
            return
        with transaction(self._engine) as session:
            report_status(session, wanted, "failed" if failure else "ready", reason, serving)
        self._reported[wanted.deployment_id] = said


def _key(wanted: WantedModel) -> Key:
    return Key(wanted.project_id, wanted.name)


def _same(loaded: WantedModel, wanted: WantedModel) -> bool:
    """Whether what is loaded is what is wanted. A digest may occur under several version numbers."""
    return _what_runs(loaded) == _what_runs(wanted)


def _what_runs(wanted: WantedModel) -> tuple[UUID | None, str, RunSettings]:
    return wanted.version_id, wanted.digest, _run_settings(wanted.settings)


def _traffic(wanted: WantedModel) -> Traffic:
    return Traffic(wanted.deployment_id, wanted.settings.traffic_salt, wanted.settings.traffic)


def _applies(failure: _Failure, wanted: WantedModel) -> bool:
    same = (failure.generation, failure.version_id) == (wanted.generation, wanted.version_id)
    return same and monotonic() < failure.retry_at


def _run_settings(settings: DeploymentSettings) -> RunSettings:
    return RunSettings(
        provider=settings.provider,
        threads=settings.threads,
        max_batch_size=settings.max_batch_size,
        max_delay_s=settings.max_delay_ms / 1e3,
        queue_limit_rows=settings.queue_limit,
        timeout_s=settings.timeout_s,
    )
