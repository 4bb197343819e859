"""Export of a trained classifier as a bundle (`libs.serving.bundle`)."""

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn

from libs.data.images import ImageSplit
from libs.data.recipe import Recipe
from libs.serving.bundle import MODEL_FILE, WEIGHTS_FILE, ClassifierBundle, Lineage, TensorSpec, write_bundle
from libs.training.onnx_export import (
    INPUT,
    OUTPUT,
    export_onnx,
    measure_latency,
    measure_parity,
    open_session,
    sample_pictures,
)

_SAMPLE_ROWS = 2


def export_classifier(
    classifier: nn.Module,
    folder: Path,
    *,
    architecture: str,
    labels: list[str],
    recipe: Recipe,
    pictures: ImageSplit,
    lineage: Lineage,
    metrics: Mapping[str, float],
    temperature: float = 1.0,
) -> ClassifierBundle:
    """Write a bundle: ONNX model, safetensors, recipe, sample, and `bundle.json` with digests, parity and latency.

    A failed parity gate is recorded (`parity.passed`), not raised: the registry decides what becomes of the version.

    Args:
        classifier: [N, C, H, W] → logits [N, K]; left as it is.
        architecture: name `libs.models.backbones` builds it by.
        pictures: a split to take real pictures from for the parity gate.
        temperature: divides the logits before the softmax.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plain = plain_copy(classifier)
    state = {name: tensor.contiguous() for name, tensor in plain.state_dict().items()}
    safetensors.torch.save_file(state, folder / WEIGHTS_FILE)
    model = folder / MODEL_FILE
    export_onnx(plain, recipe, model)
    _write_sample(plain, recipe, folder / "sample.npz")
    parity = measure_parity(plain, open_session(model), sample_pictures(pictures, recipe))
    bundle = ClassifierBundle(
        architecture=architecture,
        labels=labels,
        recipe=recipe,
        inputs=[TensorSpec(name=INPUT, datatype="FP32", shape=[-1, recipe.channels, recipe.height, recipe.width])],
        outputs=[TensorSpec(name=OUTPUT, datatype="FP32", shape=[-1, len(labels)])],
        metrics=dict(metrics),
        temperature=temperature,
        parameters=sum(parameter.numel() for parameter in plain.parameters()),
        parity=parity,
        latency=measure_latency(model, recipe),
        lineage=lineage,
    )
    return write_bundle(folder, bundle)


@torch.inference_mode()
def _write_sample(plain: nn.Module, recipe: Recipe, path: Path) -> None:
    """Inputs and the torch model's logits, which every machine that loads the bundle must reproduce.

    The inputs are noise: a bundle is handed on, and pictures of the data set are not.
    """
    shape = (_SAMPLE_ROWS, recipe.channels, recipe.height, recipe.width)
    rows = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    np.savez(path, input=rows, logits=plain(torch.from_numpy(rows)).numpy())


def plain_copy(classifier: nn.Module) -> nn.Module:
    """A copy on the CPU, in full precision, evaluation mode and the default memory format."""
    plain = copy.deepcopy(classifier).to("cpu", torch.float32).eval()
    return plain.to(memory_format=torch.contiguous_format)
