"""From rows to the model's answer, and where the time went."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from libs.registry.errors import nearest_names
from libs.serving.errors import ModelNotLoaded
from libs.serving.repository import LoadedModel
from libs.web.auth import Caller
from libs.web.timing import record
from services.model_server.context import Server
from services.model_server.states import Key


@contextmanager
def held_model(server: Server, caller: Caller, name: str, version: str | None = None) -> Iterator[LoadedModel]:
    """The model served as `name` in the caller's project, held until the block ends.

    Raises:
        ModelNotLoaded: there is none, it has not loaded yet, or another version than `version` serves.
    """
    key = Key(caller.project_id, name)
    if server.models.peek(key) is None:
        raise _absent(server, key)
    with server.models.hold(key) as model:
        served = model.identity.version
        if version is not None and version != str(served):
            raise ModelNotLoaded(f"{name!r} serves version {served}, not {version[:20]!r}.")
        yield model


async def compute(model: LoadedModel, rows: NDArray[Any]) -> NDArray[Any]:
    """The model's output for rows that fit its signature: [n, ...] → [n, K].

    Raises:
        Overloaded, DeadlineExceeded, ServingError: as `Batcher.submit`.
    """
    computed = await asyncio.wrap_future(model.submit(rows))
    record("queue", computed.queue_s)
    record("compute", computed.compute_s)
    return computed.output


def _absent(server: Server, key: Key) -> ModelNotLoaded:
    states = server.syncer.states
    state = states.get(key)
    if state is not None and state.reason:
        return ModelNotLoaded(f"{key.name!r} could not be loaded: {state.reason}")
    if state is not None or not states.first_look.is_set():
        return ModelNotLoaded(f"{key.name!r} is not loaded yet; ask again shortly.")
    names = list(states.of_project(key.project_id))
    return ModelNotLoaded(f"No model is served as {key.name[:80]!r}.", nearest_names(key.name, names))
