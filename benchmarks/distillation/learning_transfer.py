"""Transfer: a teacher of CIFAR-10, tuned on one PACS domain at 64 px, teaches a student that starts from scratch.

    python -m benchmarks.distillation.learning_transfer --data FOLDER --work FOLDER --domain photo

FOLDER holds `vision/cifar10_jpeg.tar.xz` and `vision/pacs_64px.tar` (<domain>/<class>/*.jpg). A quarter of the domain
is the test split (drawn once); of the rest, 100 pictures a class have labels (all, where there are fewer), drawn anew
for each seed. The teacher is tuned on the labelled pictures of the seed, its head new; students see the same pictures.
One thread; CPU times of this process. No gates: it is printed as it comes out. A killed run goes on where it stopped.
"""

import argparse
import io
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from benchmarks.distillation.learning import LAST_WEIGHTS, Results, kept_teacher, run_variants, summary, three_ways
from benchmarks.distillation.learning_cifar import cifar_folder, cifar_teacher
from libs.data.write import write_arrays_dataset
from libs.models.backbones.build import build_classifier
from libs.models.supervised.config import SupervisedConfig
from libs.training.classification_data import ClassificationData, open_classification_data
from libs.training.randomness import prepare_randomness

LABELLED, TEST_SHARE = 100, 0.25
SETTINGS: dict[str, Any] = {"batch_size": 64, "lr": 0.05}
TUNING: dict[str, Any] = {"batch_size": 64, "lr": 0.02}
Arrays = tuple[NDArray[np.uint8], NDArray[np.int64], list[str]]


def read_domain(archive: Path, domain: str) -> Arrays:
    """Pictures, labels and classes of a domain, in the order of their names."""
    found: list[tuple[str, str, NDArray[np.uint8]]] = []
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = Path(member.name).parts[-3:]
            if member.isfile() and len(parts) == 3 and parts[0] == domain:
                stream = tar.extractfile(member)
                assert stream is not None
                found.append((parts[1], parts[2], np.asarray(Image.open(io.BytesIO(stream.read())).convert("RGB"))))
    found.sort(key=lambda entry: entry[:2])
    classes = sorted({name for name, _, _ in found})
    labels = np.array([classes.index(name) for name, _, _ in found])
    return np.stack([picture for _, _, picture in found]), labels, classes


def domain_folder(arrays: Arrays, seed: int, work: Path) -> Path:
    """The labelled pictures of a seed and the test split."""
    folder = work / f"labelled-{seed}"
    if (folder / "manifest.json").is_file():
        return folder
    pictures, labels, classes = arrays
    shuffled = np.random.default_rng(0).permutation(len(labels))
    test, rest = np.split(shuffled, [int(TEST_SHARE * len(labels))])
    rest = np.random.default_rng([seed, 1]).permutation(rest)
    train = np.concatenate([rest[labels[rest] == k][:LABELLED] for k in range(len(classes))])
    chosen = np.concatenate([train, test])
    splits = ["train"] * len(train) + ["test"] * len(test)
    write_arrays_dataset(folder, pictures[chosen], labels[chosen], classes, splits)
    return folder


def tuned(name: str, bundle: Path, classes: int) -> nn.Module:
    """The network of a bundle with a new head."""
    network = build_classifier(name, classes)
    state = safetensors.torch.load_file(bundle / "model.safetensors")
    network.load_state_dict({key: value for key, value in state.items() if not key.startswith("fc.")}, strict=False)
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder for data sets, teachers and checkpoints")
    parser.add_argument("--domain", default="photo", choices=["art_painting", "cartoon", "photo", "sketch"])
    parser.add_argument("--teacher", default="wrn-40-2")
    parser.add_argument("--student", default="wrn-16-2")
    parser.add_argument("--teacher-minutes", type=float, default=90, help="CPU budget of the teacher on CIFAR-10")
    parser.add_argument("--tuning-steps", type=int, default=200)
    parser.add_argument("--steps", type=int, default=400, help="of each student")
    parser.add_argument("--seeds", default="10,11,12")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/afd_transfer.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    cifar = cifar_folder(options.data / "vision" / "cifar10_jpeg.tar.xz", options.work)
    first = cifar_teacher(options.teacher, options.teacher_minutes, cifar, options.work)
    arrays, work = read_domain(options.data / "vision" / "pacs_64px.tar", options.domain), options.work / options.domain

    @cache
    def data_of(seed: int, distilled: bool = False) -> ClassificationData:
        return open_classification_data(domain_folder(arrays, seed, work), SupervisedConfig(**SETTINGS))

    def teacher(seed: int) -> Path:
        data = data_of(seed)
        config = SupervisedConfig(**LAST_WEIGHTS, **TUNING, max_steps=options.tuning_steps)
        prepare_randomness(seed, deterministic=True)
        network = tuned(options.teacher, first, len(data.classes))
        return kept_teacher(work / f"teacher-{seed}", options.teacher, network, data, config, seed)

    def student(data: ClassificationData) -> nn.Module:
        return build_classifier(options.student, len(data.classes))

    results, seeds = Results(options.out), [int(seed) for seed in options.seeds.split(",")]
    variants = three_ways({**SETTINGS, "max_steps": options.steps}, {})
    run_variants(results, variants, data_of, student, teacher, seeds, work)
    summary(results)


if __name__ == "__main__":
    main()
