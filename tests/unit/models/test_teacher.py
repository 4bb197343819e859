"""Teachers: what they see of the student's pictures, and which are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from libs.data.preprocess import apply_batch
from libs.data.recipe import Recipe
from libs.data.write import write_arrays_dataset
from libs.models.backbones.build import build_classifier
from libs.models.supervised.config import SupervisedConfig
from libs.models.teacher import TeacherError, TeacherView, class_difference, folded, judge_teacher, open_teacher
from libs.training.bundles import BundleError
from libs.training.classification_data import ClassificationData, open_classification_data
from libs.training.local_run import LocalRun
from libs.training.tap_search import find_taps
from libs.training.taps import forward_with_taps
from tests.support.teachers import nearest_mean_network, write_teacher

CONFIG = SupervisedConfig(batch_size=8)
CLASSES = ["dark", "bright"]
SAME = Recipe(channels=1, height=8, width=8, mean=[0.5], std=[0.5])


@pytest.fixture
def data(tmp_path: Path) -> ClassificationData:
    """40 dark and bright pictures of 8x8, 24 of them to validate."""
    labels = np.arange(40) % 2
    noise = np.random.default_rng(0).integers(0, 60, (40, 8, 8), dtype=np.uint8)
    pictures = noise + (labels * 190).astype(np.uint8)[:, None, None]
    write_arrays_dataset(tmp_path / "data", pictures, labels, CLASSES, ["train"] * 16 + ["val"] * 24)
    return open_classification_data(tmp_path / "data", CONFIG)


def bundle(folder: Path, recipe: Recipe = SAME, labels: list[str] = CLASSES, right: bool = True) -> Path:
    blank = np.ones((recipe.height, recipe.width, recipe.channels), np.uint8)
    pair = torch.from_numpy(apply_batch(recipe, [30 * blank, 220 * blank]))
    network = nearest_mean_network("resnet8", pair, torch.arange(2) if right else torch.tensor([1, 0]))
    return write_teacher(folder, network, "resnet8", labels, recipe)


class Talking(LocalRun):
    """Keeps what was logged."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, seed=0, quiet=True)
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def log(self, message: str, level: str = "info", **fields: Any) -> None:
        self.lines.append((message, level, fields))


@pytest.mark.parametrize(
    "recipe",
    [
        SAME,
        Recipe(channels=1, height=8, width=8, mean=[0.1], std=[0.2]),
        Recipe(channels=3, height=8, width=8, mean=[0.1, 0.2, 0.3], std=[0.2, 0.3, 0.4]),
        Recipe(channels=3, height=16, width=16, mean=[0.5] * 3, std=[0.5] * 3),
    ],
    ids=["alike", "other-normalisation", "colour", "other-size"],
)
def test_a_teacher_sees_the_pictures_as_it_was_trained(data, recipe, tmp_path):
    pictures = [data.train.picture(k) for k in range(6)]
    seen = TeacherView.between(data.recipe, recipe, "cpu")(torch.from_numpy(apply_batch(data.recipe, pictures)))
    enlarged = F.interpolate(
        torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float(), (recipe.height,) * 2, mode="bilinear"
    )
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (recipe.mean, recipe.std))
    torch.testing.assert_close(seen, (enlarged / 255 - mean) / std, rtol=1e-4, atol=1e-4)
    teacher = open_teacher(bundle(tmp_path / "t", recipe), data, CONFIG, "cpu")
    judge_teacher(teacher, data, CONFIG, Talking(tmp_path))


def test_a_teacher_of_grey_pictures_cannot_teach_coloured_ones(data, tmp_path):
    coloured = Recipe(channels=3, height=8, width=8, mean=[0.5] * 3, std=[0.5] * 3)
    with pytest.raises(TeacherError, match="The teacher reads grey pictures, the data set has coloured ones"):
        TeacherView.between(coloured, SAME, "cpu")


def test_how_good_it_is_is_logged_first(data, tmp_path):
    run = Talking(tmp_path)
    judge_teacher(open_teacher(bundle(tmp_path / "t"), data, CONFIG, "cpu"), data, CONFIG, run)
    figures = {"accuracy": 1.0, "balanced_accuracy": 1.0, "pictures": 24}
    assert run.lines == [("teacher measured on the val split", "info", figures)]


def test_one_no_better_than_chance_is_refused_with_both_figures(data, tmp_path):
    teacher = open_teacher(bundle(tmp_path / "t", right=False), data, CONFIG, "cpu")
    with pytest.raises(TeacherError, match=r"balanced accuracy is 0\.0% on 24 pictures, guessing gets 50\.0%"):
        judge_teacher(teacher, data, CONFIG, Talking(tmp_path))


def test_one_that_may_just_be_lucky_is_warned_about(data, tmp_path):
    teacher = open_teacher(bundle(tmp_path / "t"), data, CONFIG, "cpu")
    right = iter([True] * 14 + [False] * 10)  # 14 of 24, where two deviations of luck reach 16.9

    def answers(pictures):
        bright = (pictures.mean((1, 2, 3)) > 0).long()
        said = [int(one) if next(right) else 1 - int(one) for one in bright]
        return F.one_hot(torch.tensor(said), 2).float()

    teacher.network.forward = answers
    run = Talking(tmp_path)
    judge_teacher(teacher, data, CONFIG, run)
    assert [(message, level) for message, level, _ in run.lines][1:] == [
        ("that is hardly better than guessing, which gets 50.0%", "warning")
    ]


@pytest.mark.parametrize(
    ("own", "wanted", "message"),
    [
        (["a", "b"], ["a", "b"], None),
        (["a", "b", "c"], ["a", "c", "b"], "the same 3 classes in another order: class 1 is 'b' there, 'c' here"),
        (
            ["a", "b"],
            ["a", "c", "d"],
            "the teacher has 2 classes, the data set 3: only the teacher has 'b'; it lacks 'c', 'd'",
        ),
        (["a", "b"], ["a"], "the teacher has 2 classes, the data set 1: only the teacher has 'b'"),
    ],
)
def test_how_classes_differ(own, wanted, message):
    found = class_difference(own, wanted)
    assert found == message if message is None else message in found


def test_a_bundle_without_torch_weights_is_refused(data, tmp_path):
    folder = bundle(tmp_path / "t")
    (folder / "model.safetensors").unlink()
    with pytest.raises(BundleError, match="an ONNX graph without torch weights"):
        open_teacher(folder, data, CONFIG, "cpu")


@pytest.mark.parametrize(("name", "fewer"), [("resnet14", 15), ("wrn-10-1", 3), ("torchvision/resnet18", 20)])
def test_batch_norms_are_folded_away_and_nothing_else_changes(name, fewer):
    torch.manual_seed(0)
    network, example = build_classifier(name, 5), torch.randn(4, 3, 64, 64)
    network(torch.randn(8, 3, 64, 64))  # running statistics of some pictures
    network.eval().requires_grad_(False)
    taps = find_taps(network, example, "block")
    twin = folded(network, example[:1], taps)
    norms = [sum(isinstance(m, torch.nn.BatchNorm2d) for m in one.modules()) for one in (network, twin)]
    assert norms[0] - norms[1] == fewer
    for one, other in zip(*(forward_with_taps(model, taps, example) for model in (network, twin)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_a_convolution_that_something_else_reads_too_keeps_its_batch_norm():
    class Forked(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            return (x * self.norm(x)).mean((2, 3))

    network = Forked()
    network(torch.randn(8, 3, 9, 9))
    network.eval().requires_grad_(False)
    assert isinstance(folded(network, torch.zeros(1, 3, 9, 9), []).get_submodule("norm"), torch.nn.BatchNorm2d)


def test_the_example_is_where_the_weights_are(data, tmp_path):
    """On a GPU the student is still on the CPU when the teacher's features are found."""
    teacher = open_teacher(bundle(tmp_path / "t"), data, CONFIG, "cpu")
    teacher.network = teacher.network.to("meta")
    assert teacher.example.device.type == "meta"
