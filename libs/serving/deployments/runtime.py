"""What an inference service holds beside its routes: the models of one task, followed from the deployment rows."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Generic
from uuid import UUID

from prometheus_client import CollectorRegistry

from libs.database.engine import make_engine
from libs.registry.artifacts import ArtifactStore
from libs.registry.cache import FolderCache
from libs.registry.errors import nearest_names
from libs.serving.deployments.keys import CachedKeys
from libs.serving.deployments.metrics import DeploymentMetrics, Tally
from libs.serving.deployments.settings import ServingSettings
from libs.serving.deployments.snapshot import SnapshotFile
from libs.serving.deployments.states import Key
from libs.serving.deployments.sync import Kind, Syncer
from libs.serving.errors import ModelNotLoaded, WrongTask
from libs.serving.repository import ModelRepository, ModelT

_ASKED_BY = {
    "image-classification": "POST /v1/classify/{name}, or `octavo predict {name} PICTURE`",
    "next-item": "POST /v1/recommendations, or `octavo recommend {name} --items ITEM,ITEM`",
}


class Runtime(Generic[ModelT]):
    """Connections, keys and loaded models of one process.

    Attributes:
        models: what is loaded now.
        keys: the API keys; an application puts them at `app.state.keys`.
        states: what is known of each deployment.
        metrics: what each deployment was asked; in `registry`.
    """

    def __init__(self, settings: ServingSettings, kind: Kind[ModelT], registry: CollectorRegistry) -> None:
        platform = settings.platform
        self.engine = make_engine(
            platform.database_url.get_secret_value(),
            application=f"octavo-{kind.service}",
            pool_size=settings.pool_size,
            max_overflow=2,  # of the thread that follows the deployments
        )
        self.models: ModelRepository[ModelT] = ModelRepository()
        self.keys = CachedKeys(self.engine)
        self.metrics = DeploymentMetrics(registry)
        cache = FolderCache(settings.cache_folder, ArtifactStore(platform.artifact_root), settings.cache_limit_bytes)
        snapshot = SnapshotFile(platform.home / kind.service.replace("-", "_") / "snapshot.json")
        self._syncer = Syncer(
            kind,
            self.engine,
            cache,
            self.models,
            self.keys,
            snapshot,
            self.metrics,
            poll_s=settings.poll_s,
            retry_s=settings.retry_s,
        )
        self.states = self._syncer.states

    def start(self) -> None:
        """Begin to follow the rows; `states.first_look` is set once everything known has been tried."""
        self._syncer.start()

    def close(self) -> None:
        """Unload everything and close the connections."""
        self._syncer.stop()
        self.engine.dispose()

    @property
    def is_ready(self) -> bool:
        """Whether every deployment known at the start has been tried."""
        return self.states.first_look.is_set()

    def alias_of(self, project_id: UUID, name: str) -> str:
        """The alias that a deployment follows; empty where it stays at one version."""
        state = self.states.get(Key(project_id, name))
        return (state.alias or "") if state else ""

    def arm_of(self, project_id: UUID, name: str, who: str) -> str | None:
        """The deployment that answers for `who` in place of the one called `name`; None: that one itself."""
        traffic = self.states.traffic.get(Key(project_id, name))
        return traffic.arm_of(who) if traffic else None

    @contextmanager
    def hold(self, project_id: UUID, name: str, version: str | None = None) -> Iterator[ModelT]:
        """The model served as `name` in a project; it stays loaded while the block lasts.

        Raises:
            WrongTask: another service serves it.
            ModelNotLoaded: there is none, it has not loaded yet, or another version than `version` serves.
        """
        key = Key(project_id, name)
        with ExitStack() as held:
            try:
                model = held.enter_context(self.models.hold(key))
            except ModelNotLoaded:
                raise self._absent(key) from None
            served = model.identity.version
            if version is not None and version != str(served):
                raise ModelNotLoaded(f"{name!r} serves version {served}, not {version[:20]!r}.")
            yield model

    @contextmanager
    def serve(
        self, project_id: UUID, name: str, version: str | None = None, *, tally: Tally | None = None
    ) -> Iterator[ModelT]:
        """As `hold`, for a block that answers a request, or those of a tally: they are counted and timed."""
        with self.hold(project_id, name, version) as model, self.metrics.requests(project_id, name, tally):
            yield model

    def _absent(self, key: Key) -> ModelNotLoaded:
        state = self.states.get(key)
        if state is not None and state.reason:
            return ModelNotLoaded(f"{key.name!r} could not be loaded: {state.reason}")
        if (task := self.states.elsewhere.get(key)) is not None:
            asked_by = _ASKED_BY[task].format(name=key.name) if task in _ASKED_BY else "another service"
            return WrongTask(f"{key.name!r} serves a model of the task {task}: ask {asked_by}.")
        if state is not None or not self.is_ready:
            return ModelNotLoaded(f"{key.name!r} is not loaded yet; ask again shortly.")
        nearest = nearest_names(key.name, list(self.states.of_project(key.project_id)))
        listed = "" if nearest else " GET /v1/deployments, or `octavo deployments`, lists what is served."
        return ModelNotLoaded(f"No model is served as {key.name[:80]!r}.{listed}", nearest)
