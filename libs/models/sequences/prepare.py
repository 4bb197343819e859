"""What the training of a next-item model starts from: its data set, and the model whose weights it goes on with."""

from pathlib import Path
from typing import TypeVar

from torch import nn

from libs.data.errors import DataError
from libs.data.events.dataset import EventData, open_event_data
from libs.data.events.ids import IdMap
from libs.training.bundles import BundleError, read_bundle, read_bundle_weights
from libs.training.run import Inputs

ModelT = TypeVar("ModelT", bound=nn.Module)


def open_training_events(inputs: Inputs) -> EventData:
    """The data set `train`.

    Raises:
        DataError: it holds no events, or a single item, which leaves nothing to rank.
    """
    events = open_event_data(inputs.datasets["train"])
    if events.manifest.items < 2:
        raise DataError("The data set has a single item, so there is nothing to rank; add events of other items.")
    return events


def warm_started(model: ModelT, architecture: str, events: EventData, inputs: Inputs) -> ModelT:
    """The model with the weights of `inputs.models["init"]`, if there is one.

    Raises:
        BundleError: that is a model of another task or architecture, of other items, or of another shape.
    """
    if "init" not in inputs.models:
        return model
    folder = inputs.models["init"]
    bundle = read_bundle(folder)
    if bundle.task != "next-item" or bundle.architecture != architecture:
        raise BundleError(
            f"the model to start from is a {bundle.architecture} for {bundle.task}; this job trains a {architecture}"
        )
    _check_items(folder, events)
    state = read_bundle_weights(folder)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if wanted != found:
        name = min(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
        raise BundleError(
            f"the weights to start from do not fit the config: {name} is {found.get(name)}, "
            f"expected {wanted.get(name)}; use the hyper-parameters of that model"
        )
    model.load_state_dict(state)
    return model


def _check_items(folder: Path, events: EventData) -> None:
    known = IdMap(folder / "items.parquet", 1)
    if not known.features(["id"]).equals(events.items.features(["id"])):
        raise BundleError(
            "the model to start from knows other items than the data set, or numbers them otherwise; "
            "train on a data set with the same items, or without `init`"
        )
