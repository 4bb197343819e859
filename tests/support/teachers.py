"""Teachers that need no training: a network with random features whose head takes the nearest class mean."""

from collections.abc import Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from libs.data.recipe import Recipe
from libs.models.backbones.build import build_classifier
from libs.serving.bundle import ClassifierBundle, Lineage, TensorSpec, write_bundle


@torch.no_grad()
def nearest_mean_network(name: str, pictures: Tensor, labels: Tensor) -> nn.Module:
    """A network of the `resnetD` family for pictures [N, C, H, W] with labels [N], without any training."""
    classes = int(labels.max()) + 1
    network = build_classifier(name, classes, pictures.shape[1]).eval()
    head = network.get_submodule("fc")
    assert isinstance(head, nn.Linear)
    seen: list[Tensor] = []
    with head.register_forward_pre_hook(lambda _, given: seen.append(given[0])):
        network(pictures)
    means = torch.stack([seen[0][labels == k].mean(0) for k in range(classes)])
    scale = 1 / means.var(0).sum().clamp_min(1e-6)
    head.weight.copy_(scale * means)
    head.bias.copy_(-scale * means.square().sum(1) / 2)
    return network


def write_teacher(folder: Path, network: nn.Module, name: str, labels: Sequence[str], recipe: Recipe) -> Path:
    """The bundle of a network, without its ONNX graph."""
    folder.mkdir(parents=True)
    safetensors.torch.save_file(network.state_dict(), folder / "model.safetensors")
    size = [-1, recipe.channels, recipe.height, recipe.width]
    bundle = ClassifierBundle(
        architecture=name,
        labels=list(labels),
        recipe=recipe,
        inputs=[TensorSpec(name="input", datatype="FP32", shape=size)],
        outputs=[TensorSpec(name="logits", datatype="FP32", shape=[-1, len(labels)])],
        lineage=Lineage(method="supervised"),
    )
    write_bundle(folder, bundle)
    return folder
