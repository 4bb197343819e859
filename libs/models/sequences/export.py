"""A trained next-item model as a bundle (`libs.serving.bundle`)."""

import copy
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import safetensors.torch
import torch
from torch import nn

from libs.data.events.dataset import EventData
from libs.models.sequences.graphs import FeaturesAtTheEnd, Servable, export_history_graph, export_step_graph
from libs.models.sequences.neighbours import neighbours_of
from libs.models.sequences.parity import measure_latency, measure_parity, sample_histories
from libs.models.sequences.step import NextItemModel
from libs.serving.bundle import MODEL_FILE, WEIGHTS_FILE, Lineage, NextItemBundle, TensorSpec, write_bundle

_SAMPLE_ROWS = 4
_SAMPLE_EVENTS = 50

ServableOf = Callable[[nn.Module], Servable]
"""The graphs of a model; it gets a copy on the CPU, in evaluation mode."""


def features_alone(model: nn.Module) -> Servable:
    """The graph of a model that has neither a step nor explanations."""
    return Servable(FeaturesAtTheEnd(model))


def export_next_item(
    model: nn.Module,
    folder: Path,
    events: EventData,
    *,
    architecture: str,
    max_length: int,
    exclude_seen: bool,
    lineage: Lineage,
    metrics: Mapping[str, float],
    servable_of: ServableOf = features_alone,
) -> NextItemBundle:
    """Write a bundle; the model is left as it is.

    A failed parity gate is recorded (`parity.passed`), not raised: the registry decides what becomes of the version.

    Args:
        model: a `NextItemModel`.
        events: the data set it was trained on: its items go with it, and real histories prove the export.
        architecture: what `libs.models` builds it by.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plain = copy.deepcopy(model).to("cpu", torch.float32).eval()
    servable = servable_of(plain)
    vectors = cast(NextItemModel, plain).item_vectors.detach().clone()
    vectors[0] = 0
    _write_weights(plain, folder)
    _write_graphs(servable, folder, max_length)
    if servable.further is not None:
        servable.further.write(folder)
    np.save(folder / "item_vectors.npy", vectors.numpy())
    for file in (events.items.path, events.new_items):
        if file is not None:
            shutil.copyfile(file, folder / file.name)
    near = neighbours_of(events.events)
    np.savez_compressed(folder / "neighbours.npz", items=near["items"], users=near["users"])
    _write_sample(servable, folder / "sample.npz", len(vectors) - 1, max_length)
    items, width = len(vectors) - 1, vectors.shape[1]
    bundle = NextItemBundle(
        architecture=architecture,
        inputs=servable.inputs,
        outputs=[TensorSpec(name="features", datatype="FP32", shape=[-1, width])],
        metrics=dict(metrics),
        parameters=sum(parameter.numel() for parameter in plain.parameters()),
        parity=measure_parity(servable, folder, vectors, *sample_histories(events.events, max_length)),
        latency=measure_latency(servable, folder / MODEL_FILE, max_length),
        lineage=lineage,
        items=items,
        width=width,
        max_length=max_length,
        exclude_seen=exclude_seen,
        item_features=events.manifest.item_features,
        state=list(servable.state),
        explanations=list(servable.explanations),
    )
    return write_bundle(folder, bundle)


def _write_weights(plain: nn.Module, folder: Path) -> None:
    """Every weight under its key; one that has two names is written twice, as safetensors shares nothing."""
    state = {name: tensor.detach().clone().contiguous() for name, tensor in plain.state_dict().items()}
    safetensors.torch.save_file(state, folder / WEIGHTS_FILE)


def _write_graphs(servable: Servable, folder: Path, max_length: int) -> None:
    export_history_graph(servable.features, folder / MODEL_FILE, servable.inputs, ["features"], max_length)
    if servable.step is not None:
        export_step_graph(servable.step, folder / "step.onnx", servable.state)
    if servable.explain is not None:
        names = [spec.name for spec in servable.explanations]
        export_history_graph(servable.explain, folder / "explain.onnx", servable.inputs, names, max_length)


@torch.inference_mode()
def _write_sample(servable: Servable, path: Path, num_items: int, max_length: int) -> None:
    """Histories and the torch model's features, which every machine that loads the bundle must reproduce.

    The histories are made up: a bundle is handed on, and events of the data set are not.
    """
    random = np.random.default_rng(0)
    longest = min(max_length, _SAMPLE_EVENTS)
    lengths = np.unique(np.linspace(1, longest, _SAMPLE_ROWS).round().astype(np.int64))[::-1].copy()
    items = random.integers(1, num_items + 1, (len(lengths), longest))
    items = np.where(np.arange(longest) < lengths[:, None], items, 0)
    inputs = servable.inputs_of(items, lengths, np.zeros(len(items), np.int64))
    features = servable.features(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    arrays: dict[str, Any] = {**inputs, "features": features.numpy()}
    np.savez(path, **arrays)
