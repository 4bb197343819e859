"""Batches: what they hold must not depend on how they are made."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from libs.data.errors import DataError
from libs.data.images import ImageSplit, open_images
from libs.data.images.index import Row
from libs.data.loading import class_weights, evaluation_batches, plan_epoch, training_batches
from libs.data.preprocess import apply, default_recipe
from libs.data.statistics import PixelSums
from libs.data.write import write_arrays_dataset, write_manifest
from libs.training.config import ImageTrainingConfig

COUNT, SIDE, CLASSES = 37, 8, 3


def pictures(channels: int = 3, side: int = SIDE, count: int = COUNT) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, channels), np.uint8)


def labels(count: int = COUNT) -> np.ndarray:
    return np.arange(count) % CLASSES


@pytest.fixture
def arrays(tmp_path: Path) -> ImageSplit:
    names = [f"class {k}" for k in range(CLASSES)]
    write_arrays_dataset(tmp_path / "set", pictures(), labels(), names, ["train"] * COUNT)
    return open_images(tmp_path / "set").split("train")


@pytest.fixture
def files(tmp_path: Path) -> ImageSplit:
    """The same pictures as `arrays`, as PNG files."""
    folder = tmp_path / "files"
    (folder / "pictures").mkdir(parents=True)
    rows, parts = [], []
    for i, picture in enumerate(pictures()):
        Image.fromarray(picture).save(folder / "pictures" / f"{i:03d}.png")
        rows.append(Row(f"{i:03d}.png", int(labels()[i]), "train", SIDE, SIDE, "RGB", "0" * 64))
        parts.append(PixelSums.of_pictures(picture))
    write_manifest(
        folder, rows, storage="pictures", classes=["a", "b", "c"], sums=PixelSums.total(parts, 3), size=(SIDE, SIDE),
        uniform_size=True, size_bytes=1,
    )  # fmt: skip
    return open_images(folder).split("train")


def epoch(split: ImageSplit, config: ImageTrainingConfig, **where: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    recipe = default_recipe(split.manifest)
    return list(training_batches(split, recipe, config, **{"seed": 1, "epoch": 0, **where}))


def assert_same(left: list, right: list) -> None:
    assert len(left) == len(right)
    for (x, y), (other_x, other_y) in zip(left, right, strict=True):
        assert torch.equal(x, other_x)
        assert torch.equal(y, other_y)


@pytest.mark.parametrize("augment", ["none", "crop", "flip-crop", "strong"])
def test_batches_are_the_same_from_memory_files_and_loader_processes(
    arrays: ImageSplit, files: ImageSplit, monkeypatch: pytest.MonkeyPatch, augment: str
) -> None:
    config = ImageTrainingConfig(batch_size=8, augment=augment)
    resident = epoch(arrays, config)
    monkeypatch.setattr("libs.data.resident.RESIDENT_LIMIT_BYTES", 0)
    assert_same(resident, epoch(files, config))
    if augment == "strong":
        assert_same(resident, epoch(files, config.model_copy(update={"workers": 2})))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("augment", ["none", "strong", "crop"])
def test_large_pictures_are_the_same_from_memory_and_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, augment: str, channels: int
) -> None:
    write_arrays_dataset(tmp_path, pictures(channels, side=90, count=6), labels(6), ["a", "b", "c"], ["train"] * 6)
    split = open_images(tmp_path).split("train")
    recipe = default_recipe(split.manifest, 72)
    config = ImageTrainingConfig(batch_size=3, augment=augment)
    held = list(training_batches(split, recipe, config, seed=0, epoch=0))
    monkeypatch.setattr("libs.data.resident.RESIDENT_LIMIT_BYTES", 0)
    assert_same(held, list(training_batches(split, recipe, config, seed=0, epoch=0)))


def test_resuming_in_an_epoch_continues_bitwise(arrays: ImageSplit) -> None:
    config = ImageTrainingConfig(batch_size=8, augment="flip-crop")
    assert_same(epoch(arrays, config)[2:], epoch(arrays, config, start_batch=2))
    assert epoch(arrays, config, start_batch=4) == []


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("augment", ["flip-crop", "strong"])
def test_loading_leaves_the_global_random_stream_alone(
    files: ImageSplit, monkeypatch: pytest.MonkeyPatch, augment: str, workers: int
) -> None:
    monkeypatch.setattr("libs.data.resident.RESIDENT_LIMIT_BYTES", 0)
    before = torch.random.get_rng_state()
    batches = epoch(files, ImageTrainingConfig(batch_size=8, augment=augment, workers=workers))
    assert len(batches) == 4
    assert len(list(evaluation_batches(files, default_recipe(files.manifest), 8, workers=workers))) == 5
    assert torch.equal(before, torch.random.get_rng_state())


def test_ranks_together_see_the_global_batch(arrays: ImageSplit) -> None:
    config = ImageTrainingConfig(batch_size=8, augment="flip-crop")
    whole = epoch(arrays, config)
    ranks = [epoch(arrays, config, rank=rank, world=2) for rank in (0, 1)]
    for (x, y), *parts in zip(whole, *ranks, strict=True):
        assert [len(part[1]) for part in parts] == [4, 4]
        order = torch.arange(8).view(4, 2).T.reshape(-1)
        assert torch.equal(x[order], torch.cat([part[0] for part in parts]))
        assert torch.equal(y[order], torch.cat([part[1] for part in parts]))


def test_epochs_and_seeds_differ_and_repeat(arrays: ImageSplit) -> None:
    config = ImageTrainingConfig(batch_size=8, augment="crop")
    first = epoch(arrays, config)
    assert_same(first, epoch(arrays, config))
    assert not torch.equal(first[0][0], epoch(arrays, config, epoch=1)[0][0])
    assert not torch.equal(first[0][0], epoch(arrays, config, seed=2)[0][0])


def test_an_epoch_without_augmentation_shows_each_picture_once(arrays: ImageSplit) -> None:
    recipe = default_recipe(arrays.manifest)
    config = ImageTrainingConfig(batch_size=37, augment="none")
    ((x, y),) = epoch(arrays, config)
    expected = {apply(recipe, arrays.picture(i)).tobytes(): int(arrays.labels[i]) for i in range(COUNT)}
    assert {picture.numpy().tobytes(): int(label) for picture, label in zip(x, y, strict=True)} == expected


def test_evaluation_equals_preprocess_apply(files: ImageSplit) -> None:
    recipe = default_recipe(files.manifest, 6)
    batches = list(evaluation_batches(files, recipe, 10))
    assert [len(y) for _, y in batches] == [10, 10, 10, 7]
    expected = np.stack([apply(recipe, files.picture(i)) for i in range(COUNT)])
    np.testing.assert_array_equal(torch.cat([x for x, _ in batches]).numpy(), expected)
    np.testing.assert_array_equal(torch.cat([y for _, y in batches]).numpy(), files.labels)


def test_a_small_split_makes_one_batch(arrays: ImageSplit) -> None:
    plan = plan_epoch(arrays, ImageTrainingConfig(batch_size=64), seed=0, world=2)
    assert (plan.batch_size, plan.batches) == (36, 1)


def test_a_stratified_sample_is_trained_on(arrays: ImageSplit) -> None:
    config = ImageTrainingConfig(batch_size=12, train_pictures=12, augment="none")
    ((_, y),) = epoch(arrays, config)
    assert torch.bincount(y).tolist() == [4, 4, 4]


@pytest.mark.parametrize(
    ("changes", "world", "message"),
    [
        ({"train_pictures": 38}, 1, "sample of 38 pictures"),
        ({"batch_size": 9}, 2, "cannot be shared evenly by 2"),
        ({"train_pictures": 2, "batch_size": 4}, 4, "too few for 4 processes"),
    ],
)
def test_a_plan_that_cannot_be_made_says_why(arrays: ImageSplit, changes: dict, world: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        plan_epoch(arrays, ImageTrainingConfig(**{"batch_size": 8, **changes}), seed=0, world=world)


def test_unlabelled_pictures_are_not_trained_on(tmp_path: Path) -> None:
    write_arrays_dataset(tmp_path / "set", pictures(), None, [], ["train"] * COUNT)
    with pytest.raises(DataError, match="without labels"):
        epoch(open_images(tmp_path / "set").split("train"), ImageTrainingConfig())


def test_balanced_class_weights_weigh_every_class_alike(arrays: ImageSplit) -> None:
    assert class_weights(arrays, ImageTrainingConfig()) is None
    weights = class_weights(arrays, ImageTrainingConfig(class_weights="balanced"))
    assert weights is not None
    totals = weights.double() * torch.from_numpy(np.bincount(arrays.labels))
    torch.testing.assert_close(totals, torch.full((CLASSES,), COUNT / CLASSES, dtype=torch.float64))
