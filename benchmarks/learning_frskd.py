"""What FRSKD learns, on real data: the mechanism on digits, figures on Fashion-MNIST and CIFAR-10.

    python -m benchmarks.learning_frskd digits
    python -m benchmarks.learning_frskd fashion --data FOLDER
    python -m benchmarks.learning_frskd cifar --data FOLDER --cpu-minutes 30

FOLDER holds `vision/fashion_mnist.npz` (train_x train_y test_x test_y) and `vision/cifar10_jpeg.tar.xz`
(train/<class>/*.jpg, test/<class>/*.jpg). Digits come with scikit-learn. One thread; times are CPU times of
this process. Only the digits part has gates: accuracy on this scale is within seed noise and is printed as it is.
"""

import argparse
import io
import math
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.result_file import write_result
from libs.data.loading import training_batches
from libs.data.write import write_arrays_dataset
from libs.models.backbones.build import build_classifier
from libs.models.frskd.config import FrskdConfig
from libs.models.frskd.train import build_method
from libs.models.supervised.config import SupervisedConfig
from libs.training.classification import fit_classifier
from libs.training.classification_data import ClassificationData, open_classification_data
from libs.training.config import ImageTrainingConfig
from libs.training.estimate import measure_step
from libs.training.local_run import LocalRun
from libs.training.metrics import classification_figures
from libs.training.objective import CrossEntropy, PlainStep
from libs.training.randomness import prepare_randomness

NETWORK = "wrn-16-2"
Pictures = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Row:
    """One training run."""

    part: str
    variant: str
    seed: int
    steps: int
    epochs: float
    cpu_s: float
    accuracy: float
    nll: float
    ece: float
    kd: float
    feature: float


def train(part: str, variant: str, config: ImageTrainingConfig, data_folder: Path, seed: int) -> Row:
    """One run from the seed, measured on the test split."""
    prepare_randomness(seed, config.deterministic)
    data = open_classification_data(data_folder, config)
    classifier = build_classifier(NETWORK, len(data.classes), data.recipe.channels)
    module = build_method(config, data, classifier) if isinstance(config, FrskdConfig) else plain(classifier)
    with tempfile.TemporaryDirectory() as folder:
        run = LocalRun(Path(folder), seed)
        started = time.process_time()
        with run:
            fitted = fit_classifier(module, data, config, run)
        cpu_s = time.process_time() - started
    assert fitted.test is not None
    figures = classification_figures(fitted.test.logits, fitted.test.labels)
    pictures = min(config.train_pictures or len(data.train), len(data.train))
    row = Row(
        part=part,
        variant=variant,
        seed=seed,
        steps=fitted.steps,
        epochs=round(fitted.steps * config.batch_size / pictures, 2),
        cpu_s=cpu_s,
        accuracy=figures["accuracy"],
        nll=figures["nll"],
        ece=figures["ece"],
        kd=fitted.test.losses.get("kd", math.nan),
        feature=fitted.test.losses.get("feature", math.nan),
    )
    print_row(row)
    return row


def plain(classifier: torch.nn.Module) -> PlainStep:
    return PlainStep(classifier, CrossEntropy())


def print_row(row: Row) -> None:
    mechanism = "" if math.isnan(row.kd) else f"  T2*KL {row.kd:.3f}  L_F {row.feature:.4f}"
    print(
        f"{row.part:8} {row.variant:24} seed {row.seed}  {row.epochs:6.1f} epochs  {row.cpu_s:7.1f} CPU s  "
        f"accuracy {row.accuracy:.2%}  NLL {row.nll:.3f}  ECE {row.ece:.3f}{mechanism}",
        flush=True,
    )


def digits(folder: Path, seeds: Sequence[int]) -> tuple[list[Row], bool]:
    """Mechanism gates: with distillation, L_F and T^2 KL on the test split at least halve, for every seed."""
    x, y = load_digits(return_X_y=True)
    pictures = np.round(x.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(y))
    splits = np.where(np.arange(len(y)) < 800, "train", "test").tolist()
    write_arrays_dataset(folder, pictures[order], y[order].astype(np.int64), [str(k) for k in range(10)], splits)
    settings = {"epochs": 1000, "max_steps": 160, "lr": 0.1, "checkpoint": "last", "evaluate_every_epochs": 1000}
    rows: list[Row] = []
    passed = True
    for seed in seeds:
        without = train("digits", "without distillation", FrskdConfig(alpha=0, beta=0, **settings), folder, seed)
        with_it = train("digits", "FRSKD", FrskdConfig(alpha=1, beta=5, **settings), folder, seed)
        rows += [without, with_it]
        ratios = [with_it.feature / without.feature, with_it.kd / without.kd]
        held = max(ratios) <= 0.5
        passed &= held
        print(f"  L_F x {ratios[0]:.2f}, T2*KL x {ratios[1]:.2f}: {'both at least halve' if held else 'GATE FAILED'}")
    return rows, passed


def fashion(folder: Path, source: Path, seeds: Sequence[int], epochs: int) -> list[Row]:
    """1,000 training pictures at 16x16, all 10,000 test pictures."""
    with np.load(source / "vision" / "fashion_mnist.npz") as arrays:
        write_split(folder, arrays["train_x"], arrays["train_y"], arrays["test_x"], arrays["test_y"])
    settings = {
        "epochs": epochs,
        "train_pictures": 1000,
        "image_size": 16,
        "checkpoint": "last",
        "evaluate_every_epochs": 1000,
    }
    rows: list[Row] = []
    for seed in seeds:
        rows.append(train("fashion", "supervised", SupervisedConfig(**settings), folder, seed))
        rows.append(train("fashion", "FRSKD", FrskdConfig(alpha=1, beta=50, **settings), folder, seed))
    return rows


def write_split(folder: Path, train_x: Pictures, train_y: Labels, test_x: Pictures, test_y: Labels) -> None:
    """A data set with the official split and no validation pictures."""
    splits = ["train"] * len(train_y) + ["test"] * len(test_y)
    labels = np.concatenate([train_y, test_y]).astype(np.int64)
    write_arrays_dataset(folder, np.concatenate([train_x, test_x]), labels, [str(k) for k in range(10)], splits)


CIFAR_VARIANTS = ("FRSKD", "supervised, equal CPU", "supervised, equal steps")


def cifar(folder: Path, source: Path, seeds: Sequence[int], cpu_minutes: float, variants: Sequence[str]) -> list[Row]:
    """As many steps as the CPU budget allows FRSKD; supervised with as much CPU time, and with as many steps."""
    write_split(folder, *read_cifar(source / "vision" / "cifar10_jpeg.tar.xz"))
    base = {"batch_size": 128, "checkpoint": "last", "epochs": 10_000, "evaluate_every_epochs": 10_000}
    rows: list[Row] = []
    for seed in seeds:
        frskd_steps = affordable_steps(FrskdConfig(**base), folder, seed, cpu_minutes)
        plain_steps = affordable_steps(SupervisedConfig(**base), folder, seed, cpu_minutes)
        configs: tuple[ImageTrainingConfig, ...] = (
            FrskdConfig(max_steps=frskd_steps, **base),
            SupervisedConfig(max_steps=plain_steps, **base),
            SupervisedConfig(max_steps=frskd_steps, **base),
        )
        for variant, config in zip(CIFAR_VARIANTS, configs, strict=True):
            if variant in variants:
                rows.append(train("cifar", variant, config, folder, seed))
    return rows


def affordable_steps(config: ImageTrainingConfig, folder: Path, seed: int, cpu_minutes: float) -> int:
    """Steps within the budget, from the CPU time of one measured run of steps."""
    data: ClassificationData = open_classification_data(folder, config)
    classifier = build_classifier(NETWORK, len(data.classes), data.recipe.channels)
    module = build_method(config, data, classifier) if isinstance(config, FrskdConfig) else plain(classifier)
    pictures, labels = next(training_batches(data.train, data.recipe, config, seed=seed, epoch=0))
    measure_step(module, (pictures, labels), config, "cpu")  # warms up
    started = time.process_time()
    measure_step(module, (pictures, labels), config, "cpu")
    per_step_s = (time.process_time() - started) / 4
    return max(1, int(cpu_minutes * 60 / per_step_s))


def read_cifar(archive: Path) -> tuple[Pictures, Labels, Pictures, Labels]:
    """Pictures and labels of both splits, classes in alphabetical order."""
    found: dict[str, list[tuple[str, str, Pictures]]] = {"train": [], "test": []}
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = Path(member.name).parts[-3:]
            if member.isfile() and len(parts) == 3 and parts[0] in found:
                stream = tar.extractfile(member)
                assert stream is not None
                picture = np.asarray(Image.open(io.BytesIO(stream.read())).convert("RGB"))
                found[parts[0]].append((parts[1], parts[2], picture))
    classes = sorted({name for name, _, _ in found["train"]})
    splits = [sorted(found[split], key=lambda entry: entry[:2]) for split in ("train", "test")]
    arrays = [
        (np.stack([picture for _, _, picture in split]), np.array([classes.index(name) for name, _, _ in split]))
        for split in splits
    ]
    return (*arrays[0], *arrays[1])


def summary(rows: Sequence[Row]) -> None:
    """Mean and standard deviation over the seeds."""
    print("\npart     variant                   seeds  accuracy          NLL              ECE")
    for part, variant in dict.fromkeys((row.part, row.variant) for row in rows):
        group = [row for row in rows if (row.part, row.variant) == (part, variant)]
        columns = [
            over_seeds(group, figure) for figure in (lambda r: 100 * r.accuracy, lambda r: r.nll, lambda r: r.ece)
        ]
        print(f"{part:8} {variant:24} {len(group):6}  {columns[0]:16}  {columns[1]:15}  {columns[2]}")


def over_seeds(group: Sequence[Row], figure: Callable[[Row], float]) -> str:
    values = [figure(row) for row in group]
    return f"{np.mean(values):.3f} +- {np.std(values, ddof=1 if len(values) > 1 else 0):.3f}"


def as_json(row: Row) -> dict[str, object]:
    return {name: None if value != value else value for name, value in asdict(row).items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["digits", "fashion", "cifar"])
    parser.add_argument("--data", type=Path, help="folder with vision/… (fashion, cifar)")
    parser.add_argument("--seeds", default="10,11,12")
    parser.add_argument("--epochs", type=int, default=20, help="fashion")
    parser.add_argument("--cpu-minutes", type=float, default=30, help="cifar: budget of each run")
    parser.add_argument("--variants", default=";".join(CIFAR_VARIANTS), help="cifar: some of them, split by ;")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    if options.part != "digits" and options.data is None:
        parser.error(f"{options.part} needs --data")
    torch.set_num_threads(1)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    print(f"{options.part}: {NETWORK}, seeds {seeds}, torch {torch.__version__}, one thread")
    passed = True
    with tempfile.TemporaryDirectory() as folder:
        match options.part:
            case "digits":
                rows, passed = digits(Path(folder), seeds)
            case "fashion":
                rows = fashion(Path(folder), options.data, seeds, options.epochs)
            case _:
                rows = cifar(Path(folder), options.data, seeds, options.cpu_minutes, options.variants.split(";"))
    summary(rows)
    write_result([as_json(row) for row in rows], options.out)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
