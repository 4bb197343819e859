"""What the learning benchmarks of distillation share: a teacher kept as a bundle, runs kept as rows of a JSON file.

Everything is resumable: a teacher that is there is not trained again, a row that is there is not measured again, and a
run that was killed goes on from its checkpoint.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from libs.models.afd.config import AfdConfig
from libs.models.afd.train import build_method
from libs.models.supervised.config import SupervisedConfig
from libs.models.teacher import Teacher, open_teacher
from libs.serving.bundle import ClassifierBundle, Lineage, write_bundle
from libs.training.classification import FittedClassifier, classification_batches, fit_classifier
from libs.training.classification_data import ClassificationData
from libs.training.config import ImageTrainingConfig
from libs.training.estimate import measure_step
from libs.training.evaluation import SplitMeasurer
from libs.training.local_run import LocalRun
from libs.training.metrics import accuracy, classification_figures
from libs.training.objective import CrossEntropy, PlainStep, StepOutput
from libs.training.precision import Precision
from libs.training.processes import ALONE
from libs.training.randomness import prepare_randomness

FULL_PRECISION = Precision("cpu", None)
LAST_WEIGHTS: dict[str, Any] = {"checkpoint": "last", "epochs": 10_000, "evaluate_every_epochs": 10_000}
"""Settings of runs that are as many steps long as they are told, and are measured once, at their end."""


@dataclass(frozen=True)
class Row:
    """One training run, measured on the test split."""

    variant: str
    seed: int
    steps: int
    cpu_s: float
    accuracy: float
    agreement: float
    nll: float
    ece: float


class Results:
    """The rows of a benchmark, kept in a file from run to run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows = [Row(**row) for row in json.loads(path.read_text())["rows"]] if path.is_file() else []

    def has(self, variant: str, seed: int) -> bool:
        return any((row.variant, row.seed) == (variant, seed) for row in self.rows)

    def add(self, row: Row) -> None:
        print_row(row)
        self.rows.append(row)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(
            json.dumps({"torch": torch.__version__, "rows": [asdict(r) for r in self.rows]}, indent=1) + "\n"
        )

    def of(self, variant: str) -> list[Row]:
        return [row for row in self.rows if row.variant == variant]

    def mean(self, variant: str, figure: str) -> float:
        return float(np.mean([getattr(row, figure) for row in self.of(variant)]))


def print_row(row: Row) -> None:
    print(
        f"{row.variant:23} seed {row.seed}  {row.steps:6} steps  {row.cpu_s:7.1f} CPU s  accuracy {row.accuracy:.2%}  "
        f"agreement {row.agreement:.2%}  NLL {row.nll:.3f}  ECE {row.ece:.3f}",
        flush=True,
    )


def summary(results: Results) -> None:
    """Mean and standard deviation over the seeds."""
    print(f"\n{'variant':23} seeds  accuracy %        agreement %       NLL               ECE")
    for variant in dict.fromkeys(row.variant for row in results.rows):
        rows = results.of(variant)
        columns = [
            [100 * row.accuracy for row in rows],
            [100 * row.agreement for row in rows],
            [row.nll for row in rows],
            [row.ece for row in rows],
        ]
        shown = [f"{np.mean(c):.3f} +- {np.std(c, ddof=min(1, len(c) - 1)):.3f}" for c in columns]
        print(f"{variant:23} {len(rows):5}  " + "  ".join(f"{text:16}" for text in shown))


def kept_teacher(
    folder: Path, name: str, network: nn.Module, data: ClassificationData, config: ImageTrainingConfig, seed: int
) -> Path:
    """The bundle of a network trained with cross-entropy; the one in `folder`, if it is there."""
    if (folder / "bundle.json").is_file():
        return folder
    started = time.process_time()
    fitted = fit(PlainStep(network, CrossEntropy()), data, config, folder.with_name(f"{folder.name}-run"), seed)
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    safetensors.torch.save_file(state, folder / "model.safetensors")
    bundle = ClassifierBundle(
        architecture=name,
        labels=data.classes,
        recipe=data.recipe,
        inputs=[],
        outputs=[],
        lineage=Lineage(method="supervised", seed=seed),
    )
    write_bundle(folder, bundle)
    measured = fitted.test
    assert measured is not None
    reached = accuracy(measured.logits, measured.labels)
    print(
        f"teacher {name}: {reached:.2%} after {fitted.steps} steps, {time.process_time() - started:.0f} CPU s",
        flush=True,
    )
    return folder


def fit(
    module: nn.Module, data: ClassificationData, config: ImageTrainingConfig, folder: Path, seed: int
) -> FittedClassifier:
    with LocalRun(folder, seed, quiet=True) as run:
        return fit_classifier(module, data, config, run)


def run_variants(
    results: Results,
    variants: Mapping[str, ImageTrainingConfig],
    data_of: Callable[[int, bool], ClassificationData],
    student_of: Callable[[ClassificationData], nn.Module],
    teacher_of: Callable[[int], Path],
    seeds: Sequence[int],
    work: Path,
) -> None:
    """Every variant with every seed that is not there yet.

    Args:
        variants: supervised and AFD configs by name.
        data_of: data of a seed, with unlabelled pictures for distillation if it is asked for them.
        teacher_of: bundle of the teacher for a seed.
    """
    for seed in seeds:
        for variant, config in variants.items():
            if not results.has(variant, seed):
                data = data_of(seed, isinstance(config, AfdConfig))
                folder = work / f"{variant.replace(', ', '-').replace(' ', '-')}-{seed}"
                results.add(one_run(variant, config, data, student_of, teacher_of(seed), seed, folder))


def one_run(
    variant: str,
    config: ImageTrainingConfig,
    data: ClassificationData,
    student_of: Callable[[ClassificationData], nn.Module],
    bundle: Path,
    seed: int,
    folder: Path,
) -> Row:
    teacher = open_teacher(bundle, data, config, "cpu")
    prepare_randomness(seed, config.deterministic)
    module = step_module(config, data, student_of(data), teacher)
    started = time.process_time()
    fitted = fit(module, data, config, folder, seed)
    cpu_s = time.process_time() - started
    assert fitted.test is not None
    logits, labels = fitted.test.logits, fitted.test.labels
    figures = classification_figures(logits, labels)
    agreement = float((logits.argmax(1) == teacher_logits(teacher, data).argmax(1)).double().mean())
    return Row(
        variant, seed, fitted.steps, round(cpu_s, 1), figures["accuracy"], agreement, figures["nll"], figures["ece"]
    )


def step_module(
    config: ImageTrainingConfig, data: ClassificationData, student: nn.Module, teacher: Teacher
) -> nn.Module:
    if isinstance(config, AfdConfig):
        return build_method(config, data, student, teacher, shares_classes=True)
    return PlainStep(student, CrossEntropy())


def teacher_logits(teacher: Teacher, data: ClassificationData) -> Tensor:
    """The teacher on the test split, [N, K]."""
    assert data.test is not None
    measurer = SplitMeasurer(data.test, data.recipe, 256, "cpu", ALONE)
    return measurer(_Asked(teacher), FULL_PRECISION, channels_last=True).logits


class _Asked(nn.Module):
    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.teacher = teacher

    def forward(self, pictures: Tensor, targets: Tensor) -> StepOutput:
        return StepOutput({"none": torch.zeros(())}, {"none": 1.0}, self.teacher.logits(pictures))


def affordable_steps(
    config: ImageTrainingConfig, data: ClassificationData, module: nn.Module, cpu_minutes: float
) -> int:
    """Steps within a budget, by the CPU time of four measured steps."""
    batch = next(classification_batches(data, config, seed=0, epoch=0))
    measure_step(module, batch, config, "cpu")  # warms up
    started = time.process_time()
    measure_step(module, batch, config, "cpu")
    return max(1, int(cpu_minutes * 60 / ((time.process_time() - started) / 4)))


def kept_steps(path: Path, steps: Callable[[], int]) -> int:
    """A number of steps, measured once: a resumed run must have the length it began with."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(steps()))
    return int(json.loads(path.read_text()))


def three_ways(settings: Mapping[str, Any], distilled: Mapping[str, Any]) -> dict[str, ImageTrainingConfig]:
    """Supervised, soft labels, soft labels and features, with the same settings otherwise."""
    shared = {**LAST_WEIGHTS, **settings}
    return {
        "supervised": SupervisedConfig(**shared),
        "KD": AfdConfig(**shared, **{**distilled, "beta": 0}),
        "KD+AFD": AfdConfig(**shared, **distilled),
    }
