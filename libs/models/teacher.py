"""A trained classifier that others learn from: read from its bundle, frozen, and measured before it is believed."""

import copy
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval

from libs.data.errors import DataError
from libs.data.recipe import Recipe
from libs.models.classifier import load_classifier
from libs.serving.bundle import WEIGHTS_FILE, ClassifierBundle
from libs.training.bundles import read_classifier_bundle
from libs.training.classification import EVALUATION_BATCH_FACTOR
from libs.training.classification_data import ClassificationData
from libs.training.config import ImageTrainingConfig
from libs.training.evaluation import Measured, SplitMeasurer
from libs.training.objective import CrossEntropy, StepOutput
from libs.training.precision import device_of, precision_for
from libs.training.processes import join_processes
from libs.training.run import Run
from libs.training.taps import Call, ReducedT, Tap, forward_with_reduced_taps, forward_with_taps, record_calls

LUCKY_DEVIATIONS = 2.0
FOLDING_TOLERANCE = 1e-3


class TeacherError(DataError):
    """The teacher cannot teach this data set."""


@dataclass(frozen=True, slots=True)
class TeacherView:
    """From pictures prepared for the student to pictures as the teacher was trained on.

    Undoes the student's normalisation and applies the teacher's, in one multiplication and addition; grey pictures
    become three equal channels where the teacher wants three; pictures of another size are resized.

    Attributes:
        scale: [1, C, 1, 1], None where both normalise alike.
        shift: likewise.
        size: (H, W) to resize to, None where they agree.
    """

    scale: Tensor | None
    shift: Tensor | None
    size: tuple[int, int] | None

    @classmethod
    def between(cls, student: Recipe, teacher: Recipe, device: str) -> Self:
        """The view of a teacher on pictures that `student` prepared.

        Raises:
            TeacherError: the teacher reads grey pictures, the student coloured ones.
        """
        if teacher.channels < student.channels:
            raise TeacherError("The teacher reads grey pictures, the data set has coloured ones.")
        sizes = [(recipe.height, recipe.width) for recipe in (student, teacher)]
        size = None if sizes[0] == sizes[1] else sizes[1]
        if (student.mean, student.std) == (teacher.mean, teacher.std):
            return cls(None, None, size)
        mean_s, std_s, mean_t, std_t = (
            torch.tensor(values, device=device).view(1, -1, 1, 1)
            for values in (student.mean, student.std, teacher.mean, teacher.std)
        )
        return cls(std_s / std_t, (mean_s - mean_t) / std_t, size)

    def __call__(self, pictures: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C', H', W']."""
        if self.scale is not None and self.shift is not None:
            pictures = pictures * self.scale + self.shift
        if self.size is not None:
            pictures = F.interpolate(pictures, size=self.size, mode="bilinear", antialias=True)
        return pictures


class Teacher:
    """A frozen classifier. Not a module: no optimiser, average, process group or checkpoint ever holds its weights.

    Attributes:
        bundle: what it is.
        digest: SHA-256 of its weights file.
        network: in evaluation mode, without gradients, on the run's device.
        view: what it makes of the student's pictures.
    """

    def __init__(self, bundle: ClassifierBundle, network: nn.Module, view: TeacherView) -> None:
        self.bundle = bundle
        self.digest = bundle.files.get(WEIGHTS_FILE, "")
        self.network = network.eval().requires_grad_(False)
        self.view = view

    def fold(self, taps: Sequence[Tap]) -> None:
        """Fold batch norms into the convolutions before them, for speed; logits and tapped maps stay as they are."""
        self.network = folded(self.network, self.example, taps)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Teacher":
        """Itself: copies of a step module (the average, a measured copy) share the teacher."""
        return self

    @property
    def example(self) -> Tensor:
        """A blank picture of the size it reads, [1, C, H, W], where its weights are."""
        recipe, device = self.bundle.recipe, next(self.network.parameters()).device
        return torch.zeros(1, recipe.channels, recipe.height, recipe.width, device=device)

    @torch.no_grad()
    def logits(self, pictures: Tensor) -> Tensor:
        """[B, K] for pictures prepared for the student."""
        logits: Tensor = self.network(self.view(pictures))
        return logits

    @torch.no_grad()
    def with_taps(
        self, pictures: Tensor, taps: Sequence[Tap], reduce: Callable[[Tensor], ReducedT]
    ) -> tuple[Tensor, list[ReducedT]]:
        """Logits, and what `reduce` makes of each tapped map [B, C, H, W], for pictures prepared for the student."""
        return forward_with_reduced_taps(self.network, taps, self.view(pictures), reduce)


@torch.no_grad()
def folded(network: nn.Module, example: Tensor, taps: Sequence[Tap]) -> nn.Module:
    """A frozen network whose batch norms are part of the convolutions they follow: the same function up to rounding.

    Which convolution a norm follows is seen by running the network once. A pair stays as it is where folding it changes
    the logits or a tapped map: something else reads that convolution too.

    Args:
        example: a picture like those it reads, [1, C, H, W], on its device.
    """
    example = torch.randn(example.shape, generator=torch.Generator().manual_seed(0)).to(example)
    expected = forward_with_taps(network, taps, example)

    def unchanged(twin: nn.Module) -> bool:
        found = forward_with_taps(twin, taps, example)
        return all(map(_close, (expected[0], *expected[1]), (found[0], *found[1])))

    pairs = _foldable(record_calls(network, example))
    twin = _with_folded(network, pairs)
    if not unchanged(twin):
        twin = _with_folded(network, [pair for pair in pairs if unchanged(_with_folded(network, [pair]))])
    return twin if unchanged(twin) else network


def _foldable(calls: Sequence[Call]) -> list[tuple[str, str]]:
    """Paths of convolutions and of batch norms that read what they return, each run once."""
    runs = Counter(call.path for call in calls)
    made_by = {id(call.output): call.path for call in calls if type(call.module) is nn.Conv2d}
    norms = [call for call in calls if type(call.module) is nn.BatchNorm2d and id(call.inputs[0]) in made_by]
    pairs = [(made_by[id(call.inputs[0])], call.path) for call in norms]
    return [(convolution, norm) for convolution, norm in pairs if runs[convolution] == runs[norm] == 1]


def _with_folded(network: nn.Module, pairs: Sequence[tuple[str, str]]) -> nn.Module:
    twin = copy.deepcopy(network)
    for path, norm_path in pairs:
        convolution, norm = twin.get_submodule(path), twin.get_submodule(norm_path)
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        twin.set_submodule(path, fuse_conv_bn_eval(convolution, norm))
        twin.set_submodule(norm_path, nn.Identity())
    return twin.eval().requires_grad_(False)


def _close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= FOLDING_TOLERANCE * one.abs().max())


def open_teacher(folder: Path, data: ClassificationData, config: ImageTrainingConfig, device: str) -> Teacher:
    """The classifier of a bundle as a teacher for this data, on the run's device.

    Raises:
        BundleError: no classifier's bundle, or one without torch weights.
        TeacherError: it reads grey pictures and the data set's are coloured.
        WarmStartError: the weights do not fit the architecture.
    """
    bundle = read_classifier_bundle(folder)
    view = TeacherView.between(data.recipe, bundle.recipe, device)
    network: nn.Module = load_classifier(folder).to(device_of(device))
    if config.channels_last:
        network = network.to(memory_format=torch.channels_last)
    return Teacher(bundle, network, view)


def class_difference(own: list[str], wanted: list[str]) -> str | None:
    """How a teacher's classes differ from those of a data set; None: the same, in the same order."""
    if own == wanted:
        return None
    if sorted(own) == sorted(wanted):
        place = next(i for i, (a, b) in enumerate(zip(own, wanted, strict=True)) if a != b)
        return (
            f"the teacher has the same {len(own)} classes in another order: class {place} is {own[place]!r} there, "
            f"{wanted[place]!r} here"
        )
    differing = {
        "only the teacher has": [name for name in own if name not in wanted],
        "it lacks": [name for name in wanted if name not in own],
    }
    shown = [f"{words} {', '.join(map(repr, names[:3]))}" for words, names in differing.items() if names]
    return f"the teacher has {len(own)} classes, the data set {len(wanted)}: {'; '.join(shown)}"


def judge_teacher(teacher: Teacher, data: ClassificationData, config: ImageTrainingConfig, run: Run) -> None:
    """Measure a teacher that has the data's classes, on the pictures it will see, and say how good it is.

    Raises:
        TeacherError: it is not better than chance.
    """
    split = data.val or data.train
    processes = join_processes(run.device)
    batch_size = config.batch_size // config.accumulate * EVALUATION_BATCH_FACTOR
    measurer = SplitMeasurer(split, data.recipe, batch_size, run.device, processes, config.workers)
    precision = precision_for(config.amp, device_of(run.device))
    measured = measurer(_Measured(teacher), precision, channels_last=config.channels_last)
    right, balanced = _accuracies(measured)
    guessing, pictures = 1 / len(data.classes), len(measured.labels)
    if balanced <= guessing:
        raise TeacherError(
            f"The teacher is not better than chance on the {split.name} split: its balanced accuracy is "
            f"{balanced:.1%} on {pictures} pictures, guessing gets {guessing:.1%}. Is it a model of this data?"
        )
    run.log(
        f"teacher measured on the {split.name} split",
        accuracy=round(right, 4),
        balanced_accuracy=round(balanced, 4),
        pictures=pictures,
    )
    if balanced <= luck(guessing, pictures):
        run.log(f"that is hardly better than guessing, which gets {guessing:.1%}", "warning")


def _accuracies(measured: Measured) -> tuple[float, float]:
    """Accuracy, and the mean of the classes' own; `libs.training.metrics` takes seconds to import."""
    right = measured.logits.argmax(1) == measured.labels
    pictures = torch.bincount(measured.labels)
    found = torch.bincount(measured.labels[right], minlength=len(pictures))
    return float(right.double().mean()), float((found[pictures > 0] / pictures[pictures > 0]).mean())


def luck(share: float, pictures: int) -> float:
    """What guessing gets with two standard deviations of luck, when it is right in `share` of all cases."""
    return share + LUCKY_DEVIATIONS * math.sqrt(share * (1 - share) / pictures)


class _Measured(nn.Module):
    """A teacher as a step module, so that it is measured like any classifier."""

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.teacher = teacher
        self.cross_entropy = CrossEntropy()

    def forward(self, pictures: Tensor, targets: Tensor) -> StepOutput:
        logits = self.teacher.logits(pictures)
        return StepOutput({"ce_classifier": self.cross_entropy(logits, targets)}, {"ce_classifier": 1.0}, logits)
