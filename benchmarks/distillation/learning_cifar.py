"""CIFAR-10 at 32x32: supervised, soft labels, soft labels and features, each with the same CPU time.

    python -m benchmarks.distillation.learning_cifar --data FOLDER --work FOLDER --cpu-minutes 30 --teacher-minutes 90

FOLDER holds `vision/cifar10_jpeg.tar.xz` (train/<class>/*.jpg, test/<class>/*.jpg). The steps of a run are those that a
first measurement says fit in the budget; "supervised, equal steps" has those of KD+AFD, at less CPU time. The official
test split is read once, at the end of a run. One thread. No gates: it is printed as it comes out. A killed run goes on
where it stopped; its CPU time is then only that of the process that ended it.
"""

import argparse
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.distillation.learning import (
    LAST_WEIGHTS,
    Results,
    affordable_steps,
    kept_steps,
    kept_teacher,
    run_variants,
    step_module,
    summary,
    three_ways,
)
from benchmarks.learning_frskd import read_cifar, write_split
from libs.models.backbones.build import build_classifier
from libs.models.supervised.config import SupervisedConfig
from libs.models.teacher import open_teacher
from libs.training.classification_data import ClassificationData, open_classification_data
from libs.training.config import ImageTrainingConfig
from libs.training.objective import CrossEntropy, PlainStep
from libs.training.randomness import prepare_randomness

SETTINGS: dict[str, Any] = {"batch_size": 128, "lr": 0.1}
EQUAL_STEPS = "supervised, equal steps"
"""The variant that is as many steps long as KD+AFD can afford."""
VARIANTS = ("supervised", "KD", "KD+AFD", EQUAL_STEPS)


def cifar_folder(archive: Path, work: Path) -> Path:
    """CIFAR-10 as a validated data set."""
    folder = work / "cifar10"
    if not (folder / "manifest.json").is_file():
        write_split(folder, *read_cifar(archive))
    return folder


def cifar_teacher(name: str, minutes: float, folder: Path, work: Path) -> Path:
    """A classifier of CIFAR-10, trained once within a budget."""
    config = SupervisedConfig(**LAST_WEIGHTS, **SETTINGS)
    data = open_classification_data(folder, config)
    prepare_randomness(0, deterministic=True)
    network = build_classifier(name, len(data.classes))

    def steps() -> int:
        return affordable_steps(config, data, PlainStep(network, CrossEntropy()), minutes)

    config = config.model_copy(update={"max_steps": kept_steps(work / f"steps-{name}.json", steps)})
    return kept_teacher(work / f"teacher-{name}", name, network, data, config, seed=0)


def with_budget(
    names: Sequence[str], student: str, data: ClassificationData, teacher: Path, minutes: float, work: Path
) -> dict[str, ImageTrainingConfig]:
    """Variants by name, each with the steps it can afford."""
    configs = three_ways(SETTINGS, {})

    def afforded(variant: str) -> int:
        config = configs[variant]

        def measured() -> int:
            network = build_classifier(student, len(data.classes))
            module = step_module(config, data, network, open_teacher(teacher, data, config, "cpu"))
            return affordable_steps(config, data, module, minutes)

        return kept_steps(work / f"steps-{variant}.json", measured)

    steps = {name: afforded("KD+AFD" if name == EQUAL_STEPS else name) for name in names}
    return {
        name: configs["supervised" if name == EQUAL_STEPS else name].model_copy(update={"max_steps": count})
        for name, count in steps.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder for data set, teacher and checkpoints")
    parser.add_argument("--teacher", default="wrn-40-2")
    parser.add_argument("--student", default="wrn-16-2")
    parser.add_argument("--cpu-minutes", type=float, default=30, help="budget of each run")
    parser.add_argument("--teacher-minutes", type=float, default=90)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS, help="what is run, in this order")
    parser.add_argument("--seeds", default="10,11,12")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/afd_cifar.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = cifar_folder(options.data / "vision" / "cifar10_jpeg.tar.xz", options.work)
    teacher = cifar_teacher(options.teacher, options.teacher_minutes, folder, options.work)

    @cache
    def data() -> ClassificationData:
        return open_classification_data(folder, SupervisedConfig(**SETTINGS))

    def student(of: ClassificationData) -> nn.Module:
        return build_classifier(options.student, len(of.classes))

    variants = with_budget(options.variants, options.student, data(), teacher, options.cpu_minutes, options.work)
    results = Results(options.out)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    run_variants(results, variants, lambda *_: data(), student, lambda _: teacher, seeds, options.work)
    summary(results)


if __name__ == "__main__":
    main()
