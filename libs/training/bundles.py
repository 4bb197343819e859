"""Reading the torch side of a model bundle."""

from pathlib import Path

import safetensors.torch
from torch import Tensor

from libs.data.errors import DataError
from libs.serving.bundle import BUNDLE_FILE, WEIGHTS_FILE, AnyBundle, ClassifierBundle, parse_bundle


class BundleError(DataError):
    """A folder is no model bundle, or lacks what was asked of it."""


def read_bundle(folder: Path) -> AnyBundle:
    """The description of a bundle.

    Raises:
        BundleError: the folder holds none.
    """
    try:
        return parse_bundle((folder / BUNDLE_FILE).read_bytes())
    except FileNotFoundError:
        raise BundleError(f"{folder.name} is no model bundle: it has no {BUNDLE_FILE}") from None


def read_classifier_bundle(folder: Path) -> ClassifierBundle:
    """The description of a classifier's bundle.

    Raises:
        BundleError: the folder holds none, or a model of another task.
    """
    bundle = read_bundle(folder)
    if isinstance(bundle, ClassifierBundle):
        return bundle
    raise BundleError("the model recommends items; a classifier of pictures is needed here")


def read_bundle_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a bundle under the plain model's keys.

    Raises:
        BundleError: the bundle is an ONNX graph without torch weights.
    """
    weights = folder / WEIGHTS_FILE
    if read_bundle(folder).architecture == "onnx" or not weights.is_file():
        raise BundleError("the model is an ONNX graph without torch weights: it can be served, not trained on")
    return safetensors.torch.load_file(weights)
