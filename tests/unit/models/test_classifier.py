from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from libs.data.write import write_arrays_dataset
from libs.models.backbones.build import build_classifier
from libs.models.classifier import WarmStartError, architecture_of, initial_classifier, load_classifier
from libs.serving.bundle import ClassifierBundle, Lineage, TensorSpec
from libs.training.bundles import BundleError
from libs.training.classification_data import ClassificationData, open_classification_data
from libs.training.config import ImageTrainingConfig
from libs.training.run import Inputs

CONFIG = ImageTrainingConfig()


@pytest.fixture
def data(tmp_path: Path) -> ClassificationData:
    return dataset(tmp_path / "data")


def dataset(folder: Path, classes: int = 3, side: int = 8, channels: int = 1) -> ClassificationData:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (30, side, side, channels), dtype=np.uint8)
    write_arrays_dataset(folder, pictures, np.arange(30) % classes, [f"class {k}" for k in range(classes)])
    return open_classification_data(folder, CONFIG)


def write_bundle(folder: Path, data: ClassificationData, architecture: str = "resnet8") -> torch.nn.Module:
    classifier = build_classifier(architecture, len(data.classes), data.recipe.channels)
    folder.mkdir()
    safetensors.torch.save_file(dict(classifier.state_dict()), folder / "model.safetensors")
    description = ClassifierBundle(
        architecture=architecture,
        labels=data.classes,
        recipe=data.recipe,
        inputs=[TensorSpec(name="input", datatype="FP32", shape=[-1])],
        outputs=[TensorSpec(name="logits", datatype="FP32", shape=[-1])],
        lineage=Lineage(method="supervised"),
    )
    (folder / "bundle.json").write_text(description.model_dump_json())
    return classifier


def test_a_bundle_gives_its_weights_and_architecture(data: ClassificationData, tmp_path: Path) -> None:
    trained = write_bundle(tmp_path / "bundle", data)
    architecture, classifier = initial_classifier(CONFIG, data, Inputs(models={"init": tmp_path / "bundle"}))
    assert architecture == "resnet8"
    state = classifier.state_dict()
    assert all(torch.equal(state[name], value) for name, value in trained.state_dict().items())


@pytest.mark.parametrize(
    "classes", [["class 2", "new", "class 0", "newer"], ["class 1", "class 2", "class 0"], ["x", "y", "z"]]
)
def test_other_classes_get_a_head_that_keeps_those_of_the_same_name(
    classes: list[str], data: ClassificationData, tmp_path: Path
) -> None:
    trained = write_bundle(tmp_path / "bundle", data).state_dict()
    pictures = np.zeros((30, 8, 8, 1), np.uint8)
    write_arrays_dataset(tmp_path / "other", pictures, np.arange(30) % len(classes), classes)
    other = open_classification_data(tmp_path / "other", CONFIG)
    _, classifier = initial_classifier(CONFIG, other, Inputs(models={"init": tmp_path / "bundle"}))
    state = classifier.state_dict()
    body = [name for name in trained if not name.startswith("fc.")]
    assert all(torch.equal(state[name], trained[name]) for name in body)
    assert classifier(torch.zeros(2, 1, 8, 8)).shape == (2, len(classes))
    for name in ("fc.weight", "fc.bias"):
        for index, label in enumerate(classes):
            if label in data.classes:
                assert torch.equal(state[name][index], trained[name][data.classes.index(label)])


def test_a_bundle_for_pictures_of_other_channels_is_refused_with_both_figures(
    data: ClassificationData, tmp_path: Path
) -> None:
    write_bundle(tmp_path / "bundle", data)
    with pytest.raises(WarmStartError, match="reads 1 channels, the data set has 3"):
        initial_classifier(
            CONFIG, dataset(tmp_path / "other", channels=3), Inputs(models={"init": tmp_path / "bundle"})
        )


def test_pictures_of_another_size_do_not_matter_to_a_convolutional_network(
    data: ClassificationData, tmp_path: Path
) -> None:
    trained = write_bundle(tmp_path / "bundle", data)
    larger = dataset(tmp_path / "larger", side=12)
    _, classifier = initial_classifier(CONFIG, larger, Inputs(models={"init": tmp_path / "bundle"}))
    torch.testing.assert_close(dict(classifier.state_dict()), dict(trained.state_dict()))


def test_a_network_bound_to_a_picture_size_is_refused_for_another(
    data: ClassificationData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As vision transformers are, by the codes of their positions."""

    def bound(name: str, classes: int, channels: int, *, image_size: int) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * image_size**2, classes))

    monkeypatch.setitem(globals(), "build_classifier", lambda *given: bound(*given, image_size=8))
    monkeypatch.setattr("libs.models.classifier.build_classifier", bound)
    write_bundle(tmp_path / "bundle", data, "bound")
    larger = dataset(tmp_path / "larger", side=12)
    with pytest.raises(WarmStartError, match=r"is a bound for pictures of 8 px.*at 12 px\. Set image_size to 8"):
        initial_classifier(CONFIG, larger, Inputs(models={"init": tmp_path / "bundle"}))


def test_a_bundle_of_another_architecture_is_refused(data: ClassificationData, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", data)
    with pytest.raises(WarmStartError, match="is a resnet8, the config asks for resnet14"):
        initial_classifier(ImageTrainingConfig(model="resnet14"), data, Inputs(models={"init": tmp_path / "bundle"}))


def test_weights_of_another_shape_are_named(data: ClassificationData, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", data)
    weights = tmp_path / "bundle" / "model.safetensors"
    state = safetensors.torch.load_file(weights)
    safetensors.torch.save_file({**state, "conv1.weight": torch.zeros(16, 3, 3, 3)}, weights)
    with pytest.raises(WarmStartError, match=r"conv1.weight is \(16, 3, 3, 3\), expected \(16, 1, 3, 3\)"):
        load_classifier(tmp_path / "bundle")


def test_an_imported_graph_cannot_be_trained_on(data: ClassificationData, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", data)
    (tmp_path / "bundle" / "model.safetensors").unlink()
    with pytest.raises(BundleError, match="without torch weights"):
        load_classifier(tmp_path / "bundle")
    with pytest.raises(BundleError, match=r"no bundle\.json"):
        load_classifier(tmp_path)


def test_auto_fits_the_picture_size(tmp_path: Path) -> None:
    assert architecture_of(CONFIG, dataset(tmp_path / "small", side=64)) == "wrn-16-2"
    assert architecture_of(CONFIG, dataset(tmp_path / "large", side=65)) == "torchvision/resnet18"
