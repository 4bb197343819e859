"""ONNX graphs of next-item models, with a free number of rows and of events."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from libs.models.sequences.additive import take
from libs.models.sequences.step import NextItemModel
from libs.serving.bundle import TensorSpec
from libs.training.onnx_export import OPSET

_EXAMPLE_ROWS = 3
_EXAMPLE_EVENTS = 5


Longs = NDArray[np.int64]
HISTORY = (
    TensorSpec(name="items", datatype="INT64", shape=[-1, -1]),
    TensorSpec(name="lengths", datatype="INT64", shape=[-1]),
)


@dataclass(frozen=True, slots=True)
class FurtherInputs:
    """What a graph reads besides a history, made from it and its user by tables that go with the bundle.

    Attributes:
        specs: the first dimension is that of the rows, further free ones that of the events.
        make: items [N, n] and users [N] to the inputs.
        write: puts the tables into the bundle's folder.
    """

    specs: Sequence[TensorSpec]
    make: Callable[[Longs, Longs], Mapping[str, NDArray[Any]]]
    write: Callable[[Path], object]


@dataclass(frozen=True, slots=True)
class Servable:
    """What of a trained model is served, as modules.

    Attributes:
        features: items [N, n] and lengths [N] to features [N, d] after each row's last item.
        step: the next event alone: item [N] and the tensors of `state` to features [N, d] and the same after it.
        state: what `step` carries, in its order; begins as zeros, without events where a dimension is free.
        explain: the inputs of `features` to the tensors of `explanations`.
        explanations: in the order of `explain`.
        further: what `features` and `explain` take besides items and lengths, by keyword; None: nothing.
    """

    features: nn.Module
    step: nn.Module | None = None
    state: Sequence[TensorSpec] = ()
    explain: nn.Module | None = None
    explanations: Sequence[TensorSpec] = field(default=())
    further: FurtherInputs | None = None

    @property
    def inputs(self) -> list[TensorSpec]:
        """Of `features`."""
        return [*HISTORY, *(self.further.specs if self.further is not None else ())]

    def inputs_of(self, items: Longs, lengths: Longs, users: Longs) -> dict[str, NDArray[Any]]:
        """Inputs of `features` for items [N, n], lengths [N] and users [N], counted from 1, 0 unknown."""
        made = self.further.make(items, users) if self.further is not None else {}
        return {"items": items, "lengths": lengths, **made}


class FeaturesAtTheEnd(nn.Module):
    """Any `NextItemModel` whose features depend on the items alone, read after each row's last item."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Features [N, d] of ids [N, n] and lengths [N]."""
        model: NextItemModel = self.model  # type: ignore[assignment]
        features = model.encode(items, lengths, torch.zeros_like(lengths)).features
        return take(features, (lengths - 1).unsqueeze(1)).squeeze(1)


def export_history_graph(
    module: nn.Module, path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[str], max_length: int
) -> None:
    """Write a module of items [N, n], lengths [N] and what else a `Servable` takes.

    Args:
        inputs: as of a `Servable`.
        max_length: n is at most this.
    """
    longest = max(2, max_length)
    events = min(_EXAMPLE_EVENTS, longest)
    rows, columns = Dim("N"), Dim("n", min=1, max=longest)
    example = initial_state(inputs, _EXAMPLE_ROWS, events)
    example |= {"items": example["items"] + 1, "lengths": example["lengths"] + events}
    free = {spec.name: _free_places(spec, rows, columns) for spec in inputs}
    _export(module, path, example, free, outputs)


def _free_places(spec: TensorSpec, rows: Dim, columns: Dim) -> dict[int, Dim]:
    return {place: columns if place else rows for place, size in enumerate(spec.shape) if size == -1}


def export_step_graph(module: nn.Module, path: Path, state: Sequence[TensorSpec]) -> None:
    """Write a module of the next item [N] and the tensors of a state."""
    rows, columns = Dim("N"), Dim("n", min=0)
    example = {"item": torch.ones(_EXAMPLE_ROWS, dtype=torch.int64)}
    example |= initial_state(state, _EXAMPLE_ROWS, _EXAMPLE_EVENTS)
    free = {name: dict(enumerate((rows, columns)[: _free_dimensions(name, state)])) for name in example}
    _export(module, path, example, free, ["features", *(f"next_{spec.name}" for spec in state)])


def initial_state(state: Sequence[TensorSpec], rows: int, events: int = 0) -> dict[str, Tensor]:
    """Zeros of a state, by name."""
    types = {"INT64": torch.int64, "FP32": torch.float32}
    sizes = {spec.name: [rows, *(events if size == -1 else size for size in spec.shape[1:])] for spec in state}
    return {spec.name: torch.zeros(sizes[spec.name], dtype=types[spec.datatype]) for spec in state}


def _free_dimensions(name: str, state: Sequence[TensorSpec]) -> int:
    return next((spec.shape.count(-1) for spec in state if spec.name == name), 1)


@torch.no_grad()
def _export(
    module: nn.Module,
    path: Path,
    example: Mapping[str, Tensor],
    free: Mapping[str, Mapping[int, Dim]],
    outputs: Sequence[str],
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, of its own insides and of dimensions that have one name
        program = torch.onnx.export(
            module.eval(),
            kwargs=dict(example),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=list(example),
            output_names=list(outputs),
            dynamic_shapes={name: dict(dimensions) for name, dimensions in free.items()},
        )
    assert program is not None
    program.save(path, external_data=False)
