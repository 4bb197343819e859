"""What the training of a next-item model starts from: its data set, and the model whose weights it goes on with."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from libs.data.errors import DataError
from libs.data.events.dataset import EventData, open_event_data
from libs.data.events.ids import IdMap
from libs.data.events.relations import open_tables
from libs.models.sequences.beside import check_beside
from libs.models.sequences.config import SequenceTrainingConfig, beside_of
from libs.models.sequences.rows import ItemRows, rows_by_id
from libs.training.bundles import BundleError, read_bundle, read_bundle_weights
from libs.training.run import Inputs, Run

ModelT = TypeVar("ModelT", bound=nn.Module)

_ITEM_TABLES = ("items.weight", "outputs.weight")
_USER_TABLE = "users.weight"


def open_training_events(inputs: Inputs) -> EventData:
    """The data set `train`.

    Raises:
        DataError: it holds no events, or a single item, which leaves nothing to rank; or a model that is to be measured
            beside the trained one knows none of the items.
        BundleError: such a model is of another method than its role says.
    """
    events = open_event_data(inputs.datasets["train"])
    if events.manifest.items < 2:
        raise DataError("The data set has a single item, so there is nothing to rank; add events of other items.")
    check_beside(beside_of(inputs), events)
    return events


def warm_started(
    model: ModelT, architecture: str, data: EventData, inputs: Inputs, config: SequenceTrainingConfig, run: Run
) -> ModelT:
    """The model with the weights of `inputs.models["init"]`, if there is one.

    Rows of items and users are taken over by id, however either side numbers them. Items that model does not know start
    as `libs.models.sequences.rows` says; users it does not know, or had no training events of, as the unknown user.
    With `freeze: backbone` only new items are trained.

    Raises:
        BundleError: that is a model of another task or architecture, of other items altogether, or of another shape.
        DataError: `freeze` leaves nothing to train.
    """
    if "init" not in inputs.models:
        if config.freeze == "backbone":
            raise DataError("freeze: backbone trains what a model does not know yet; name that model as `init`.")
        return model
    folder = inputs.models["init"]
    _check_architecture(folder, architecture)
    rows = ItemRows(data, IdMap(folder / "items.parquet", 1).all_ids())
    if not (rows.rows > 0).any():
        raise BundleError(
            f"the model to start from knows none of the data set's {data.manifest.items} items by id; train without "
            "`init`, or check that both name items alike"
        )
    state = _carried(read_bundle_weights(folder), folder, data, rows, run)
    _check_shapes(model, state)
    model.load_state_dict(state)
    if config.freeze == "backbone":
        _train_only(model, rows)
    return model


def _check_architecture(folder: Path, architecture: str) -> None:
    bundle = read_bundle(folder)
    if bundle.task != "next-item" or bundle.architecture != architecture:
        raise BundleError(
            f"the model to start from is a {bundle.architecture} for {bundle.task}; this job trains a {architecture}"
        )


def _carried(state: Mapping[str, Tensor], folder: Path, data: EventData, rows: ItemRows, run: Run) -> dict[str, Tensor]:
    """The weights, their tables with a row for each item and user of the data set."""
    found = dict(state)
    for name in (key for key in state if _is_table(key, _ITEM_TABLES)):
        found[name], start = rows.carried(state[name])
        run.log(
            "item rows taken over",
            table=name,
            kept=int((rows.rows > 0).sum()),
            new_by_cooccurrence=start.by_cooccurrence,
            new_by_category=start.by_category,
            new_by_mean=start.by_mean,
            dropped=rows.lost,
        )
    for name in (key for key in state if _is_table(key, (_USER_TABLE,))):
        users = rows_by_id(data.users.all_ids(), IdMap(folder / "users.parquet", 1).all_ids())
        learnt = open_tables(folder).known(np.maximum(users, 0))  # rows that nothing taught are as they were drawn
        found[name] = state[name][torch.from_numpy(learnt)]
    return found


def _is_table(key: str, names: tuple[str, ...]) -> bool:
    return any(key == name or key.endswith(f".{name}") for name in names)


def _check_shapes(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if wanted != found:
        name = min(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
        raise BundleError(
            f"the weights to start from do not fit the config: {name} is {found.get(name)}, "
            f"expected {wanted.get(name)}; use the hyper-parameters of that model"
        )


def _train_only(model: nn.Module, rows: ItemRows) -> None:
    """Leave everything as it is but the rows of new items.

    Raises:
        DataError: there are none.
    """
    if not rows.is_new.any():
        raise DataError("The model knows every item of the data set, so freeze: backbone leaves nothing to train.")
    trained = torch.from_numpy(rows.is_new).unsqueeze(1)
    for name, parameter in model.named_parameters():
        if _is_table(name, _ITEM_TABLES):
            hook = parameter.register_hook
            hook(lambda gradient: gradient * trained.to(gradient.device))  # type: ignore[no-untyped-call]
        else:
            parameter.requires_grad_(False)
