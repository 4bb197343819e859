"""The last look at a next-item model before it serves: does it compute what was recorded, in a batch and by steps?"""

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from libs.serving.bundle import NextItemBundle
from libs.serving.errors import LoadError
from libs.serving.probe import SAMPLE_FILE, compare
from libs.serving.recommendation.encoder import Encoder, Graph, History
from libs.serving.recommendation.ranking import Floats
from libs.serving.recommendation.session_state import SessionStates


def probe(
    folder: Path, bundle: NextItemBundle, encoder: Encoder, states: SessionStates | None, explainer: Graph | None
) -> None:
    """Run every graph of the model on `sample.npz`, which also warms it up.

    Raises:
        LoadError: a graph fails, or its numbers differ too much from what was recorded or from another graph's.
    """
    histories, recorded = _sample(folder, bundle)
    try:
        together, alone = encoder.features(histories), encoder.features(histories[:1])
        stepped = states.replay(histories[0]).features if states else None
        explained = explainer.run(encoder.inputs(histories[:1], [0])) if explainer else {}
    except Exception as error:  # onnxruntime raises a family of classes with no public base
        raise LoadError(f"the model fails on its own sample: {error}") from error
    compare("the loaded model and the recorded sample", recorded, together)
    compare("a history alone and among others", together[:1], alone)
    if stepped is not None:
        compare("model.onnx and step.onnx", alone, stepped)
    _check_explained(bundle, explained, len(histories[0]))


def _check_explained(bundle: NextItemBundle, explained: dict[str, NDArray[Any]], events: int) -> None:
    for spec in bundle.explanations:
        wanted = (1, *(events if size == -1 else size for size in spec.shape[1:]))
        if explained[spec.name].shape != wanted:
            raise LoadError(f"explain.onnx gives {spec.name!r} as {explained[spec.name].shape}, not {wanted}")


def _sample(folder: Path, bundle: NextItemBundle) -> tuple[list[History], Floats]:
    try:
        with np.load(folder / SAMPLE_FILE, allow_pickle=False) as arrays:
            items, lengths, features = arrays["items"], arrays["lengths"], arrays["features"]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise LoadError(f"{SAMPLE_FILE} cannot be read: {error}") from error
    rows = len(items)
    if items.dtype != np.int64 or items.ndim != 2 or lengths.shape != (rows,) or not rows:
        raise LoadError(f"{SAMPLE_FILE} must hold items int64 [N, n] and lengths int64 [N]")
    if features.shape != (rows, bundle.width):
        raise LoadError(f"{SAMPLE_FILE} has features {features.shape}, not [{rows}, {bundle.width}]")
    if not 1 <= lengths.min() <= lengths.max() <= min(items.shape[1], bundle.max_length):
        raise LoadError(f"{SAMPLE_FILE} has lengths that are not 1 to {bundle.max_length}")
    histories = [row[:length].tolist() for row, length in zip(items, lengths, strict=True)]
    if not all(1 <= item <= bundle.items for history in histories for item in history):
        raise LoadError(f"{SAMPLE_FILE} has items that are not 1 to {bundle.items}")
    return histories, features
