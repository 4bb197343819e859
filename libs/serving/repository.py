"""Loaded models: load → warm up → probe → switch → drain, without a failed request in between."""

import threading
from collections.abc import Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from libs.serving.batcher import Batcher, Computed
from libs.serving.bundle import ClassifierBundle
from libs.serving.errors import LoadError, ModelNotLoaded
from libs.serving.folder import MODEL_FILE, read_classifier_bundle
from libs.serving.probe import probe
from libs.serving.session import ModelSession, Provider


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How one model is run; see `libs.registry.deployments.DeploymentSettings` for each."""

    provider: Provider = "cpu"
    threads: int = 1
    max_batch_size: int = 32
    max_delay_s: float = 0.0
    queue_limit_rows: int = 256
    timeout_s: float = 30.0


class Identity(NamedTuple):
    """Which version of which model this is."""

    model_name: str
    version: int
    digest: str


class LoadedModel:
    """One version, ready to compute.

    Attributes:
        identity: what it is.
        bundle: its bundle: labels, recipe, signature.
        settings: how it is run.
    """

    def __init__(
        self, identity: Identity, bundle: ClassifierBundle, session: ModelSession, settings: RunSettings
    ) -> None:
        self.identity = identity
        self.bundle = bundle
        self.settings = settings
        self.providers = session.providers
        self._batcher = Batcher(
            session.run,
            max_rows=settings.max_batch_size,
            max_delay_s=settings.max_delay_s,
            queue_limit_rows=settings.queue_limit_rows,
            name=f"batcher-{identity.model_name}-{identity.version}",
        )

    def submit(self, rows: NDArray[Any]) -> Future[Computed]:
        """Queue rows that fit the signature; see `Batcher.submit`."""
        return self._batcher.submit(rows, self.settings.timeout_s)

    def close(self) -> None:
        """Compute what waits, then free the session."""
        self._batcher.close()


def load(folder: Path, identity: Identity, settings: RunSettings) -> LoadedModel:
    """Load a bundle, warm it up and probe it.

    Raises:
        LoadError: the bundle is damaged, the provider is absent, or the probe shows other numbers than were recorded.
    """
    bundle = read_classifier_bundle(folder)
    session = ModelSession(folder / MODEL_FILE, settings.provider, settings.threads)
    if session.input_name != bundle.inputs[0].name or session.output_name != bundle.outputs[0].name:
        raise LoadError(
            f"the graph maps {session.input_name!r} to {session.output_name!r}, "
            f"the bundle says {bundle.inputs[0].name!r} to {bundle.outputs[0].name!r}"
        )
    probe(session, bundle, folder, settings.max_batch_size)
    return LoadedModel(identity, bundle, session, settings)


class _Slot:
    """A loaded model and how many requests hold it."""

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self.holders = 0
        self.retired = False


class ModelRepository:
    """What is loaded now, by key. A request holds the version it began with until it ends."""

    def __init__(self) -> None:
        self._slots: dict[Hashable, _Slot] = {}
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, key: Hashable) -> Iterator[LoadedModel]:
        """The model at `key`; it stays loaded while the block lasts.

        Raises:
            ModelNotLoaded: there is none.
        """
        with self._lock:
            slot = self._slots.get(key)
            if slot is None:
                raise ModelNotLoaded(f"nothing is loaded at {key!r}")
            slot.holders += 1
        try:
            yield slot.model
        finally:
            self._release(slot)

    def peek(self, key: Hashable) -> LoadedModel | None:
        """The model at `key` for a look, not to compute with."""
        slot = self._slots.get(key)
        return slot.model if slot else None

    def switch(self, key: Hashable, model: LoadedModel) -> None:
        """Serve `model` at `key` from the next request on; the one before is freed after its last request."""
        with self._lock:
            old = self._slots.get(key)
            self._slots[key] = _Slot(model)
        self._retire(old)

    def remove(self, key: Hashable) -> None:
        """Serve nothing at `key`; what was there is freed after its last request."""
        with self._lock:
            old = self._slots.pop(key, None)
        self._retire(old)

    def keys(self) -> list[Hashable]:
        """What is loaded."""
        with self._lock:
            return list(self._slots)

    def close(self) -> None:
        """Remove everything."""
        for key in self.keys():
            self.remove(key)

    def _release(self, slot: _Slot) -> None:
        with self._lock:
            slot.holders -= 1
            done = slot.retired and slot.holders == 0
        if done:
            slot.model.close()

    def _retire(self, slot: _Slot | None) -> None:
        if slot is None:
            return
        with self._lock:
            slot.retired = True
            done = slot.holders == 0
        if done:
            slot.model.close()
