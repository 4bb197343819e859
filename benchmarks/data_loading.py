"""What loading costs: training batches against torchvision's transforms picture by picture, files, and validation.

One CPU thread in this process. CPU time of this process for what runs in it, wall time where loader processes help;
medians of interleaved rounds. Run:

    python -m benchmarks.data_loading --rounds 9 --out benchmarks/results/data_loading.json
"""

import argparse
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from benchmarks.quiet_run import QuietRun
from benchmarks.result_file import write_result
from libs.data.config import ValidationConfig
from libs.data.images import ImageSplit, open_images
from libs.data.loading import training_batches
from libs.data.preprocess import default_recipe
from libs.data.validate import run as validate
from libs.data.write import write_arrays_dataset
from libs.training.config import ImageTrainingConfig
from libs.training.run import Inputs

BATCH, SMALL_SIDE, LARGE_SIDE = 64, 32, 256
SMALL_PICTURES, LARGE_PICTURES = 2048, 384
Work = Callable[[], int]
"""Does one round and returns how many pictures it made."""


def small_split(folder: Path) -> ImageSplit:
    x = np.random.default_rng(0).integers(0, 256, (SMALL_PICTURES, SMALL_SIDE, SMALL_SIDE, 3), np.uint8)
    write_arrays_dataset(
        folder, x, np.arange(SMALL_PICTURES) % 10, [str(k) for k in range(10)], ["train"] * SMALL_PICTURES
    )
    return open_images(folder).split("train")


def photographs(folder: Path) -> Path:
    """Class folders of smooth 256 px JPEGs, about 10 kB each, as photographs are."""
    rng = np.random.default_rng(0)
    for number in range(LARGE_PICTURES):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8))
        target = folder / f"class {number % 4}" / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        coarse.resize((LARGE_SIDE, LARGE_SIDE), Image.Resampling.BICUBIC).save(target, quality=90)
    return folder


def validated(source: Path, folder: Path) -> ImageSplit:
    folder.mkdir()
    outcome = validate(
        ValidationConfig(val_fraction=0, test_fraction=0), Inputs(datasets={"upload": source}), QuietRun(folder)
    )
    assert outcome.dataset is not None
    return open_images(outcome.dataset).split("train")


def epochs(split: ImageSplit, config: ImageTrainingConfig, side: int) -> Work:
    """An epoch of ours a round."""
    recipe = default_recipe(split.manifest, side)
    counter = iter(range(10_000))

    def work() -> int:
        return sum(len(y) for _, y in training_batches(split, recipe, config, seed=0, epoch=next(counter)))

    return work


def one_by_one(split: ImageSplit) -> Work:
    """The same crop, flip and normalisation by torchvision, picture by picture."""
    recipe = default_recipe(split.manifest)
    transform = v2.Compose(
        [
            v2.RandomCrop(SMALL_SIDE, padding=SMALL_SIDE // 8),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(recipe.mean, recipe.std),
        ]
    )
    pictures = torch.from_numpy(np.stack([split.picture(i) for i in range(len(split))])).permute(0, 3, 1, 2)

    def batches() -> Iterator[Tensor]:
        for chosen in torch.randperm(len(pictures)).split(BATCH):
            yield torch.stack([transform(pictures[i]) for i in chosen])

    return lambda: sum(len(batch) for batch in batches())


def decode_only(split: ImageSplit) -> Work:
    def work() -> int:
        for position in range(len(split)):
            split.picture(position)
        return len(split)

    return work


def validation(source: Path, scratch: Path) -> Work:
    def work() -> int:
        folder = scratch / "validation"
        split = validated(source, folder)
        shutil.rmtree(folder)
        return len(split)

    return work


def measure(works: Mapping[str, Work], rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds a picture: CPU of this process, and wall."""
    for work in works.values():
        work()
    cpu: dict[str, list[float]] = {name: [] for name in works}
    wall: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            cpu_start, wall_start = time.process_time(), time.perf_counter()
            pictures = work()
            cpu[name].append((time.process_time() - cpu_start) / pictures * 1e6)
            wall[name].append((time.perf_counter() - wall_start) / pictures * 1e6)
    return {name: {"cpu_us": statistics.median(cpu[name]), "wall_us": statistics.median(wall[name])} for name in works}


def run_rounds(rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        small = small_split(folder / "small")
        source = photographs(folder / "photographs")
        large = validated(source, folder / "large")
        config = ImageTrainingConfig(batch_size=BATCH, augment="flip-crop")
        works = {
            "32 px, held in memory": epochs(small, config, 0),
            "32 px, torchvision one by one": one_by_one(small),
            "256 px JPEG, decode only": decode_only(large),
            **{
                f"256 px JPEG to 224, {workers} loader processes": epochs(
                    _streamed(large), config.model_copy(update={"workers": workers}), 224
                )
                for workers in (0, 1, 2)
            },
            "256 px JPEG, validation": validation(source, folder),
        }
        return {
            "machine": {"processor": platform.processor() or platform.machine(), "torch": torch.__version__},
            "rounds": rounds,
            "timings": measure(works, rounds),
        }


def _streamed(split: ImageSplit) -> ImageSplit:
    """The split as one too large to be held in memory."""
    import libs.data.resident

    libs.data.resident.RESIDENT_LIMIT_BYTES = SMALL_PICTURES * SMALL_SIDE**2 * 3
    return split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = run_rounds(arguments.rounds)
    print(f"{'':42}{'CPU µs/picture':>16}{'wall µs/picture':>17}{'pictures/s':>12}")
    for name, timing in result["timings"].items():
        rate = 1e6 / timing["wall_us"]
        print(f"{name:42}{timing['cpu_us']:16.1f}{timing['wall_us']:17.1f}{rate:12.0f}")
    ours, theirs = (result["timings"][name]["cpu_us"] for name in list(result["timings"])[:2])
    print(f"\nheld in memory: {theirs / ours:.1f} times less CPU than torchvision one by one")
    write_result(result, arguments.out)


if __name__ == "__main__":
    main()
