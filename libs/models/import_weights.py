"""The task `import-safetensors`: a bundle from weights of somebody's own and the name of their architecture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
from torch import Tensor, nn

from libs.data.errors import DataError
from libs.data.images import ImageSplit, open_images
from libs.data.recipe import Recipe
from libs.data.write import write_arrays_dataset
from libs.models.backbones.build import UnknownClassifierError, build_classifier
from libs.serving.bundle import Lineage
from libs.training.export import export_classifier
from libs.training.run import Inputs, Outcome, Run

_PARITY_PICTURES = 64


class WeightsRefused(DataError):
    """A safetensors file does not fit what was said about it; trying again cannot help."""


def run(config: Any, inputs: Inputs, run: Run) -> Outcome:
    """Build the architecture, load the uploaded weights, export a bundle.

    Args:
        config: `libs.registry.import_config.ImportWeightsConfig`.

    Raises:
        WeightsRefused: the architecture is unknown, or the file's tensors are not its weights.
    """
    recipe: Recipe = config.recipe
    try:
        side = max(recipe.height, recipe.width)  # as `libs.models.classifier` builds it again
        classifier = build_classifier(config.architecture, len(config.labels), recipe.channels, image_size=side)
    except UnknownClassifierError as error:
        raise WeightsRefused(str(error)) from None
    load_weights(classifier, _read(inputs))
    run.progress(0.5, "exporting")
    bundle = export_classifier(
        classifier,
        run.folder / "bundle",
        architecture=config.architecture,
        labels=config.labels,
        recipe=recipe,
        pictures=_noise(run.folder / "noise", recipe),
        lineage=Lineage(method="import", config={"file": "safetensors", "architecture": config.architecture}),
        metrics={},
        temperature=config.temperature,
    )
    return Outcome(bundle=run.folder / "bundle", details={"parameters": bundle.parameters})


def load_weights(classifier: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put `weights` into `classifier`, all of them and nothing else.

    Raises:
        WeightsRefused: names or shapes differ, the message lists some of each; or a number is NaN or infinite.
    """
    own = classifier.state_dict()
    missing, foreign = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    shapes = [
        f"{name} is {list(weights[name].shape)}, wanted {list(own[name].shape)}"
        for name in own.keys() & weights.keys()
        if own[name].shape != weights[name].shape
    ]
    said = [
        f"{len(names)} {kind}: {', '.join(sorted(names)[:3])}"
        for kind, names in (("missing", missing), ("unknown", foreign), ("of another shape", shapes))
        if names
    ]
    if said:
        raise WeightsRefused(f"The file's tensors are not the weights of this architecture: {'; '.join(said)}.")
    broken = sorted(name for name, tensor in weights.items() if not bool(tensor.isfinite().all()))
    if broken:
        raise WeightsRefused(f"{len(broken)} of the file's tensors hold NaN or infinity: {', '.join(broken[:3])}.")
    classifier.load_state_dict(dict(weights))


def _read(inputs: Inputs) -> dict[str, Tensor]:
    file = inputs.datasets["upload"] / "upload"
    try:
        return safetensors.torch.load_file(file)
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsRefused(f"The file is no safetensors file: {error}") from error


def _noise(folder: Path, recipe: Recipe) -> ImageSplit:
    """Pictures for the parity gate where there are no real ones."""
    shape = (_PARITY_PICTURES, recipe.height, recipe.width, recipe.channels)
    pictures = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    write_arrays_dataset(folder, pictures, None, [], ["test"] * _PARITY_PICTURES)
    return open_images(folder).split("test")
