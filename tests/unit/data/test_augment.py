"""Augmentation: the fast batch operations equal torchvision's on each picture, and nothing leaks between pictures."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from libs.data.augment import DRAWS, augmentation, padding, random_crop, random_flip, resolve_policy
from libs.data.augmentation_preview import augmentation_preview
from libs.data.images import open_images
from libs.data.recipe import Recipe
from libs.data.write import write_arrays_dataset
from libs.training.config import ImageTrainingConfig


def recipe(channels: int = 3, side: int = 16) -> Recipe:
    return Recipe(channels=channels, height=side, width=side, mean=[0.5] * channels, std=[0.5] * channels)


def batch(channels: int = 3, height: int = 16, width: int = 16, count: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    pictures = torch.from_numpy(rng.integers(0, 256, (count, channels, height, width), np.uint8))
    return pictures, torch.from_numpy(rng.random((count, DRAWS)))


@pytest.mark.parametrize(("height", "width"), [(16, 16), (8, 8), (28, 20), (5, 40)])
def test_the_batch_crop_is_pad_and_crop_of_each_picture(height: int, width: int) -> None:
    pictures, draws = batch(3, height, width)
    pad = padding(height, width)
    for picture, own, cropped in zip(pictures, draws, random_crop(pictures, draws), strict=True):
        top, left = (int(value * (2 * pad + 1)) for value in own[:2])
        expected = v2.functional.crop(v2.functional.pad(picture, [pad] * 4), top, left, height, width)
        assert torch.equal(cropped, expected)


def test_crops_reach_every_offset() -> None:
    picture = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    picture[..., 4, 4] = 255
    count = 4000
    draws = torch.rand(count, DRAWS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    seen = random_crop(picture.expand(count, -1, -1, -1), draws).sum(dim=(0, 1)) // 255
    assert (seen[3:6, 3:6] > count / 9 * 0.8).all()
    assert seen.sum() == count


def test_the_batch_flip_is_a_flip_of_each_picture() -> None:
    pictures, draws = batch()
    for picture, own, flipped in zip(pictures, draws, random_flip(pictures, draws), strict=True):
        expected = v2.functional.horizontal_flip(picture) if own[2] < 0.5 else picture
        assert torch.equal(flipped, expected)


@pytest.mark.parametrize(
    ("augment", "channels", "side", "policy"),
    [
        ("auto", 1, 28, "crop"),
        ("auto", 1, 32, "crop"),
        ("auto", 1, 33, "flip-crop"),
        ("auto", 3, 28, "flip-crop"),
        ("none", 3, 28, "none"),
        ("strong", 1, 28, "strong"),
    ],
)
def test_auto_does_not_mirror_digits(augment: str, channels: int, side: int, policy: str) -> None:
    assert resolve_policy(augment, recipe(channels, side)) == policy


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("policy", "side"), [("strong", 16), ("strong", 72), ("crop", 72), ("flip-crop", 72)])
def test_transforms_depend_on_the_draws_alone(policy: str, side: int, channels: int) -> None:
    augment = augmentation(policy, recipe(channels, side))
    assert augment.on_picture is not None
    picture = batch(channels, 90, 80)[0][0] if augment.resizes else batch(channels, side, side)[0][0]
    draws = torch.rand(2, DRAWS, dtype=torch.float64)
    torch.manual_seed(0)
    first = augment.on_picture(picture, draws[0])
    state = torch.random.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(first, augment.on_picture(picture, draws[0]))
    assert first.shape == (channels, side, side)
    assert first.dtype == torch.uint8
    torch.manual_seed(0)
    augment.on_picture(picture, draws[1])
    assert torch.equal(torch.random.get_rng_state(), state)  # the global stream is not touched


def test_large_pictures_are_not_mirrored_by_crop() -> None:
    ramp = torch.arange(96, dtype=torch.uint8).expand(3, 96, 96).contiguous()
    augment = augmentation("crop", recipe(3, 80))
    assert augment.on_picture is not None
    for draw in torch.rand(20, DRAWS, dtype=torch.float64):
        row = augment.on_picture(ramp, draw)[0, 40].int()
        assert row[0] < row[-1]


@pytest.mark.parametrize("augment", ["none", "flip-crop", "strong"])
def test_the_preview_shows_16_pictures(tmp_path, augment: str) -> None:
    x = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3), np.uint8)
    write_arrays_dataset(tmp_path, x, np.arange(10) % 2, ["a", "b"], ["train"] * 10)
    split = open_images(tmp_path).split("train")
    preview = augmentation_preview(split, recipe(), ImageTrainingConfig(augment=augment), seed=0)
    assert [label for _, label in preview] == split.labels[np.arange(16) * 10 // 16].tolist()
    assert {picture.shape for picture, _ in preview} == {(16, 16, 3)}
    whole = split.picture(0)
    assert np.array_equal(preview[0][0], whole) == (augment == "none")
    assert np.array_equal(preview[0][0], preview[1][0]) == (augment == "none")
