"""The recipe, as evaluation and serving run it."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from libs.data.errors import PictureError
from libs.data.manifest import ImagesManifest
from libs.data.preprocess import apply, apply_batch, default_recipe, fit, normalise
from libs.data.recipe import Recipe


def recipe(channels: int = 3, height: int = 8, width: int = 8, **options: object) -> Recipe:
    return Recipe.model_validate(
        {"channels": channels, "height": height, "width": width, "mean": [0.5] * channels, "std": [0.25] * channels}
        | options
    )


def manifest(**changes: object) -> ImagesManifest:
    fields = {
        "storage": "arrays", "classes": ["a"], "splits": {}, "channels": 1, "height": 28, "width": 20,
        "uniform_size": True, "mean": [0.1], "std": [0.3], "digest": "", "size_bytes": 0,
    }  # fmt: skip
    return ImagesManifest.model_validate(fields | changes)


pictures = st.tuples(st.integers(1, 24), st.integers(1, 24), st.sampled_from([1, 3])).flatmap(
    lambda shape: arrays(np.uint8, shape)
)


@settings(max_examples=80)
@given(pictures, st.integers(1, 16), st.integers(1, 16), st.sampled_from(["stretch", "cover"]))
def test_any_picture_becomes_the_recipes_size_within_its_range(
    picture: np.ndarray, height: int, width: int, resize: str
) -> None:
    wanted = recipe(picture.shape[2], height, width, resize=resize)
    x = apply(wanted, picture)
    assert x.shape == (picture.shape[2], height, width)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    back = (x * 0.25 + 0.5) * 255
    for channel in range(picture.shape[2]):
        assert picture[..., channel].min() - 0.01 <= back[channel].min()
        assert back[channel].max() <= picture[..., channel].max() + 0.01


@settings(max_examples=40)
@given(pictures)
def test_the_own_size_changes_no_pixel(picture: np.ndarray) -> None:
    height, width, channels = picture.shape
    for resize in ("stretch", "cover", "none"):
        x = apply(recipe(channels, height, width, resize=resize), picture)
        expected = (picture.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.25)
        np.testing.assert_array_equal(x, expected.transpose(2, 0, 1))


@settings(max_examples=30)
@given(st.lists(pictures.filter(lambda picture: picture.shape[2] == 3), min_size=1, max_size=4))
def test_a_batch_is_its_pictures(batch: list[np.ndarray]) -> None:
    expected = np.stack([apply(recipe(), picture) for picture in batch])
    np.testing.assert_array_equal(apply_batch(recipe(), batch), expected)


def test_cover_crops_the_centre() -> None:
    picture = np.zeros((10, 30, 1), np.uint8)
    picture[:, 8:22] = 200  # the centre and what its edge pixels blend in
    assert (fit(recipe(1, 5, 5), picture) == 200).all()
    assert fit(recipe(1, 5, 5, resize="stretch"), picture).min() < 50


def test_no_side_is_cropped_to_more_than_the_picture_has() -> None:
    """224 * (225 / 224) is above 225: such a box began left of the picture, and Pillow refused it."""
    for side in range(1, 2000):
        assert fit(recipe(1, 1, 224), np.zeros((10, side, 1), np.uint8)).shape == (1, 224, 1)
        assert fit(recipe(1, 224, 1), np.zeros((side, 10, 1), np.uint8)).shape == (224, 1, 1)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_a_flat_picture_stays_flat(interpolation: str) -> None:
    picture = np.full((13, 7, 3), 99, np.uint8)
    assert (fit(recipe(3, 8, 5, interpolation=interpolation), picture) == 99).all()


def test_nothing_is_resized_where_the_recipe_says_none() -> None:
    with pytest.raises(PictureError, match="is 7 x 9 px, must be 8 x 8"):
        apply(recipe(resize="none"), np.zeros((9, 7, 3), np.uint8))


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8, 4), (8, 8)])
def test_other_channels_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(PictureError, match=r"wants \[H, W, 3\]"):
        apply(recipe(), np.zeros(shape, np.uint8))


def test_normalise_uses_each_channels_own_mean_and_deviation() -> None:
    own = Recipe(channels=3, height=1, width=1, mean=[0.0, 0.2, 1.0], std=[1.0, 0.5, 2.0])
    np.testing.assert_allclose(normalise(own, np.full((1, 1, 3), 255, np.uint8)).ravel(), [1.0, 1.6, 0.0], rtol=1e-6)


def test_the_default_recipe_follows_the_manifest() -> None:
    own = default_recipe(manifest())
    assert (own.channels, own.height, own.width, own.mean, own.std) == (1, 28, 20, [0.1], [0.3])
    assert (default_recipe(manifest(), 32).height, default_recipe(manifest(), 32).width) == (32, 32)
    assert default_recipe(manifest(std=[0.0])).std == [1.0]


def test_serving_needs_no_torch() -> None:
    program = "import sys, libs.data.preprocess, libs.data.images; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
