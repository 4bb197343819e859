"""What this server knows of each deployment, for those who ask or wait."""

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Literal, NamedTuple
from uuid import UUID

from libs.registry.deployments import WantedModel
from libs.serving.deployments.traffic import Traffic


class Key(NamedTuple):
    """Under what a model is served."""

    project_id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class State:
    """One deployment.

    Attributes:
        state: as the v2 repository index calls it.
        version: that serves, or that is being loaded while none does.
        reason: why the last load failed; the version before may serve on.
        generation: of the row this is about.
        alias: that it follows.
    """

    state: Literal["READY", "LOADING", "UNAVAILABLE"]
    version: int
    reason: str | None
    generation: datetime
    alias: str | None


class States:
    """Written by the syncer, read by requests.

    Attributes:
        first_look: set once everything known at the start has been tried.
        database_is_up: whether the last look at Postgres succeeded.
        elsewhere: deployments that another service serves, with the task of their model.
        traffic: of deployments that share their requests.
    """

    def __init__(self) -> None:
        self.first_look = threading.Event()
        self.database_is_up = False
        self.elsewhere: Mapping[Key, str] = {}
        self.traffic: Mapping[Key, Traffic] = {}
        self._states: dict[Key, State] = {}
        self._changed = threading.Condition()

    def loading(self, key: Key, wanted: WantedModel) -> None:
        """The syncer begins to load; what serves at the key goes on."""
        with self._changed:
            if key not in self._states or self._states[key].state != "READY":
                self._states[key] = State("LOADING", wanted.version, None, wanted.generation, wanted.alias)

    def settled(self, key: Key, wanted: WantedModel, reason: str | None, serving_version: int | None) -> None:
        """The syncer has tried: `reason` says why it failed, None that it did not."""
        serves = serving_version is not None
        version = serving_version if serving_version is not None else wanted.version
        with self._changed:
            status: Literal["READY", "UNAVAILABLE"] = "READY" if serves else "UNAVAILABLE"
            self._states[key] = State(status, version, reason, wanted.generation, wanted.alias)
            self._changed.notify_all()

    def keep_only(self, keys: Collection[Key]) -> None:
        """Forget every other deployment."""
        with self._changed:
            self._states = {key: state for key, state in self._states.items() if key in keys}
            self._changed.notify_all()

    def of_project(self, project_id: UUID) -> dict[str, State]:
        """The project's deployments by name."""
        with self._changed:
            return {key.name: state for key, state in sorted(self._states.items()) if key.project_id == project_id}

    def get(self, key: Key) -> State | None:
        """What is known of one deployment."""
        with self._changed:
            return self._states.get(key)

    def wait_settled(self, key: Key, generation: datetime, timeout_s: float) -> State | None:
        """Wait until the row as of `generation` has been tried; None when it takes longer."""
        until = monotonic() + timeout_s
        with self._changed:
            while True:
                state = self._states.get(key)
                if state is not None and state.state != "LOADING" and state.generation >= generation:
                    return state
                if not self._changed.wait(until - monotonic()):
                    return None
