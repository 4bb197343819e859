"""Loaded models: load → warm up → probe → switch → drain, without a failed request in between."""

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

from libs.serving.errors import ModelNotLoaded
from libs.serving.session import Provider
from libs.serving.watching import Watched


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
    """Which version of which model this is; `version_id` is its row, None for a folder that no registry knows."""

    model_name: str
    version: int
    digest: str
    version_id: UUID | None = None


class Loaded(Protocol):
    """A model that a repository can hold."""

    @property
    def identity(self) -> Identity:
        """What it is."""

    @property
    def queue(self) -> Watched:
        """Where its requests wait."""

    def close(self) -> None:
        """Answer what waits, then free it. Called once, after the last request that holds it."""


ModelT = TypeVar("ModelT", bound=Loaded)


class _Slot(Generic[ModelT]):
    """A loaded model and how many requests hold it."""

    def __init__(self, model: ModelT) -> None:
        self.model = model
        self.holders = 0
        self.retired = False


class ModelRepository(Generic[ModelT]):
    """What is loaded now, by key. A request holds the version it began with until it ends."""

    def __init__(self) -> None:
        self._slots: dict[Hashable, _Slot[ModelT]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, key: Hashable) -> Iterator[ModelT]:
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

    def switch(self, key: Hashable, model: ModelT) -> None:
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

    def _release(self, slot: _Slot[ModelT]) -> None:
        with self._lock:
            slot.holders -= 1
            done = slot.retired and slot.holders == 0
        if done:
            slot.model.close()

    def _retire(self, slot: _Slot[ModelT] | None) -> None:
        if slot is None:
            return
        with self._lock:
            slot.retired = True
            done = slot.holders == 0
        if done:
            slot.model.close()
