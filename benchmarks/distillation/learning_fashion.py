"""Few labels, many pictures: 200 labelled and 3,800 unlabelled pictures of Fashion-MNIST at 16x16.

    python -m benchmarks.distillation.learning_fashion --data FOLDER --work FOLDER

FOLDER holds `vision/fashion_mnist.npz` (train_x train_y test_x test_y). The teacher (ResNet-14, 175,000 parameters) is
trained once, on 10,000 other pictures with labels. The student has three blocks of width 8, 16 and 32 (20,000
parameters) and takes 300 steps: 32 labelled pictures each and, where it has a teacher, 64 unlabelled ones beside.
5,000 test pictures; one thread; CPU times of this process. KD weight 1, T = 4, beta 50 = 200 (16/32)^2. Gates over the
seeds: KD at least 5 points above supervised; KD+AFD agrees with the teacher more than KD does, and its accuracy is not
lower by more than 0.3 points.
"""

import argparse
import sys
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.distillation.learning import LAST_WEIGHTS, Results, kept_teacher, run_variants, summary, three_ways
from libs.data.sampling import stratified_sample
from libs.data.write import write_arrays_dataset
from libs.models.backbones.build import build_classifier
from libs.models.backbones.resnet import SmallResNet
from libs.models.supervised.config import SupervisedConfig
from libs.training.classification_data import ClassificationData, open_classification_data
from libs.training.randomness import prepare_randomness

SIDE, LABELLED, POOL, TEACHER_PICTURES, TEST = 16, 200, 4000, 10_000, 5000
CLASSES = [str(k) for k in range(10)]
TEACHER_STEPS, STEPS = 1900, 300
SETTINGS = {"image_size": SIDE, "batch_size": 32, "max_steps": STEPS, "lr": 0.1}
DISTILLED = {"kd_weight": 1.0, "temperature": 4.0, "beta": 50.0, "unlabelled_ratio": 2.0}


class Source:
    """Fashion-MNIST, its training pictures in a fixed random order: first the teacher's, then those of students."""

    def __init__(self, path: Path, work: Path) -> None:
        with np.load(path) as arrays:
            self.x, self.y = arrays["train_x"], arrays["train_y"].astype(np.int64)
            self.test = arrays["test_x"][:TEST], arrays["test_y"][:TEST].astype(np.int64)
        self.order = np.random.default_rng(0).permutation(len(self.y))
        self.work = work

    def teacher_data(self) -> Path:
        return self._write("teacher-data", self.order[:TEACHER_PICTURES])

    def labelled(self, seed: int) -> Path:
        return self._write(f"labelled-{seed}", self._pool(seed)[0])

    def unlabelled(self, seed: int) -> Path:
        folder = self.work / f"unlabelled-{seed}"
        rest = self._pool(seed)[1]
        if not folder.is_dir():
            write_arrays_dataset(folder, self.x[rest], np.full(len(rest), -1), [], ["train"] * len(rest))
        return folder

    def _pool(self, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of the labelled and the unlabelled pictures of a seed."""
        others = self.order[TEACHER_PICTURES:]
        pool = np.random.default_rng([seed, 1]).choice(others, POOL, replace=False)
        chosen = stratified_sample(self.y[pool], LABELLED, seed)
        return pool[chosen], np.delete(pool, chosen)

    def _write(self, name: str, positions: NDArray[np.int64]) -> Path:
        folder = self.work / name
        if not folder.is_dir():
            test_x, test_y = self.test
            pictures, labels = np.concatenate([self.x[positions], test_x]), np.concatenate([self.y[positions], test_y])
            write_arrays_dataset(folder, pictures, labels, CLASSES, ["train"] * len(positions) + ["test"] * len(test_y))
        return folder


def student(data: ClassificationData) -> nn.Module:
    return SmallResNet([1] * 3, [8, 16, 32], len(data.classes), data.recipe.channels)


def gates(results: Results) -> bool:
    """Print the gates; whether all hold."""
    gain = 100 * (results.mean("KD", "accuracy") - results.mean("supervised", "accuracy"))
    agreement = 100 * (results.mean("KD+AFD", "agreement") - results.mean("KD", "agreement"))
    accuracy = 100 * (results.mean("KD+AFD", "accuracy") - results.mean("KD", "accuracy"))
    judged = [
        (f"KD - supervised: {gain:+.2f} points of accuracy, at least +5", gain >= 5),
        (f"KD+AFD - KD: {agreement:+.2f} points of agreement, above 0", agreement > 0),
        (f"KD+AFD - KD: {accuracy:+.2f} points of accuracy, at least -0.3", accuracy >= -0.3),
    ]
    for words, held in judged:
        print(f"{words}: {'met' if held else 'MISSED'}")
    return all(held for _, held in judged)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder for data sets, teacher and checkpoints")
    parser.add_argument("--seeds", default="10,11,12,13,14")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/afd_fashion.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = Source(options.data / "vision" / "fashion_mnist.npz", options.work)
    variants, results = three_ways(SETTINGS, DISTILLED), Results(options.out)

    @cache
    def teacher(_: int = 0) -> Path:
        config = SupervisedConfig(**LAST_WEIGHTS, image_size=SIDE, batch_size=64, max_steps=TEACHER_STEPS, lr=0.1)
        data = open_classification_data(source.teacher_data(), config)
        prepare_randomness(0, deterministic=True)
        network = build_classifier("resnet14", 10, 1)
        return kept_teacher(options.work / "teacher", "resnet14", network, data, config, seed=0)

    def data_of(seed: int, distilled: bool) -> ClassificationData:
        data = open_classification_data(source.labelled(seed), variants["KD"])
        return data.with_unlabelled(source.unlabelled(seed), DISTILLED["unlabelled_ratio"]) if distilled else data

    run_variants(
        results,
        variants,
        data_of,
        student,
        lambda _: teacher(),
        [int(s) for s in options.seeds.split(",")],
        options.work,
    )
    summary(results)
    return 0 if gates(results) else 1


if __name__ == "__main__":
    sys.exit(main())
