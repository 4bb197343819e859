"""The classifier a training starts from: built by name, or taken from a bundle."""

from pathlib import Path

from torch import nn

from libs.data.errors import DataError
from libs.data.recipe import Recipe
from libs.models.backbones.build import build_classifier
from libs.serving.bundle import ClassifierBundle
from libs.training.bundles import read_bundle_weights, read_classifier_bundle
from libs.training.classification_data import ClassificationData
from libs.training.config import ImageTrainingConfig
from libs.training.run import Inputs

SMALL_SIDE = 64


class WarmStartError(DataError):
    """The bundle to start from does not fit the data set or the config."""


def architecture_of(config: ImageTrainingConfig, data: ClassificationData) -> str:
    """The network's name: `auto` is wrn-16-2 for pictures up to 64 px, else torchvision/resnet18."""
    if config.model != "auto":
        return config.model
    return "wrn-16-2" if _side(data.recipe) <= SMALL_SIDE else "torchvision/resnet18"


def initial_classifier(config: ImageTrainingConfig, data: ClassificationData, inputs: Inputs) -> tuple[str, nn.Module]:
    """Architecture and network to train: the weights of `inputs.models["init"]`, or new ones.

    Where the bundle has other classes than the data set its last layer is new, but for what belongs to classes of the
    same names.

    Raises:
        WarmStartError: the bundle is of another architecture, has other channels, or is bound to another picture size.
        UnknownClassifierError: no network of that name.
        WeightsError: published weights were asked for and are not there.
    """
    if "init" in inputs.models:
        return _warm_start(inputs.models["init"], config, data)
    architecture = architecture_of(config, data)
    classifier = build_classifier(
        architecture,
        len(data.classes),
        data.recipe.channels,
        config.pretrained,
        image_size=_side(data.recipe),
    )
    return architecture, classifier


def _warm_start(folder: Path, config: ImageTrainingConfig, data: ClassificationData) -> tuple[str, nn.Module]:
    bundle = read_classifier_bundle(folder)
    if config.model not in ("auto", bundle.architecture):
        raise WarmStartError(
            f"the model to start from is a {bundle.architecture}, the config asks for {config.model}; "
            "leave `model` at auto to take the architecture of the model"
        )
    if bundle.recipe.channels != data.recipe.channels:
        raise WarmStartError(
            f"the model to start from reads {bundle.recipe.channels} channels, the data set has {data.recipe.channels}"
        )
    classifier = _for_size(load_classifier(folder), bundle, data.recipe)
    if list(bundle.labels) != list(data.classes):
        classifier = _with_classes(classifier, bundle, data)
    return bundle.architecture, classifier


def _for_size(classifier: nn.Module, bundle: ClassifierBundle, recipe: Recipe) -> nn.Module:
    """The same network for pictures of another size; most do not care, transformers are bound to one.

    Raises:
        WarmStartError: its weights are.
    """
    if _side(bundle.recipe) == _side(recipe):
        return classifier
    changed = _network(bundle, len(bundle.labels), recipe)
    try:
        changed.load_state_dict(classifier.state_dict())
    except RuntimeError:
        raise WarmStartError(
            f"the model to start from is a {bundle.architecture} for pictures of {_side(bundle.recipe)} px, and its "
            f"weights are bound to that size; the data set's are prepared at {_side(recipe)} px. Set image_size to "
            f"{_side(bundle.recipe)}."
        ) from None
    return changed.eval()


def _with_classes(classifier: nn.Module, bundle: ClassifierBundle, data: ClassificationData) -> nn.Module:
    """The same network for other classes, in evaluation mode.

    The last layer is what changes its shape with the number of classes; its first dimension is theirs.
    """
    classes = data.classes
    old = classifier.state_dict()
    more = _network(bundle, len(bundle.labels) + 1, data.recipe).state_dict()
    changed = _network(bundle, len(classes), data.recipe)
    state = changed.state_dict()
    kept = [(classes.index(label), index) for index, label in enumerate(bundle.labels) if label in classes]
    to, of = [new for new, _ in kept], [index for _, index in kept]
    for name, tensor in old.items():
        if more[name].shape == tensor.shape:
            state[name] = tensor
        else:
            state[name][to] = tensor[of]
    changed.load_state_dict(state)
    return changed.eval()


def _network(bundle: ClassifierBundle, classes: int, recipe: Recipe) -> nn.Module:
    """A new network of a bundle's architecture for pictures that `recipe` prepares."""
    return build_classifier(bundle.architecture, classes, recipe.channels, image_size=_side(recipe))


def _side(recipe: Recipe) -> int:
    """The longer side in px, which networks that are bound to a size are built for."""
    return max(recipe.height, recipe.width)


def load_classifier(folder: Path) -> nn.Module:
    """The torch classifier of a bundle, with its weights, on the CPU and in evaluation mode.

    Raises:
        BundleError: no bundle, or an imported ONNX graph without torch weights.
        WarmStartError: the weights do not fit the architecture.
    """
    bundle, state = read_classifier_bundle(folder), read_bundle_weights(folder)
    classifier = _network(bundle, len(bundle.labels), bundle.recipe)
    expected = {name: tuple(tensor.shape) for name, tensor in classifier.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if expected != found:
        name = min(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
        raise WarmStartError(
            f"the weights do not fit {bundle.architecture}: {name} is {found.get(name)}, expected {expected.get(name)}"
        )
    classifier.load_state_dict(state)
    return classifier.eval()
