"""Pictures used in place: read where they lie, never copied, and every change is noticed."""

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from libs.data.errors import DataError, InvalidDatasetError, PictureError
from libs.data.images import ImageData, open_images
from libs.data.loading import training_batches
from libs.data.preprocess import default_recipe
from libs.training.config import ImageTrainingConfig
from libs.training.run import Outcome

Folders = Callable[..., Path]
Validated = Callable[..., Outcome]


@pytest.fixture
def root(class_folders: Folders) -> Path:
    return class_folders({"a": 8, "b b": 8})


@pytest.fixture
def dataset(root: Path, validated: Validated) -> Path:
    """A validated data set that uses `root` in place."""
    outcome = validated(root)
    assert outcome.dataset is not None
    return outcome.dataset


def first_file(data: ImageData) -> tuple[int, Path]:
    """Position of a picture among all, and its file."""
    return 0, data.pictures / data.split("all").name_of(0)


def test_only_the_index_is_stored_and_the_pictures_are_left_alone(class_folders: Folders, validated: Validated) -> None:
    root = class_folders({"a": 8, "b b": 8})
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*.png")}
    outcome = validated(root)
    assert outcome.dataset is not None
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*.png")} == before
    assert {path.name for path in outcome.dataset.iterdir()} == {"manifest.json", "index.csv.gz"}
    assert outcome.details["report"]["upload"]["in_place"]
    data = open_images(outcome.dataset)
    assert data.manifest.in_place is not None
    assert data.manifest.in_place.root == root.as_uri()
    assert data.manifest.in_place.largest_bytes == max(len(content) for content, _ in before.values())
    every = data.split("all")
    for position in range(len(every)):
        with Image.open(root / every.name_of(position)) as picture:
            np.testing.assert_array_equal(every.picture(position), np.asarray(picture))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_reads_from_the_place(dataset: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    monkeypatch.setattr("libs.data.resident.RESIDENT_LIMIT_BYTES", 0)  # else the loader processes have nothing to do
    split = open_images(dataset).split("train")
    config = ImageTrainingConfig(batch_size=5, augment="none", workers=workers)
    batches = list(training_batches(split, default_recipe(split.manifest), config, seed=0, epoch=0))
    assert [tuple(x.shape) for x, _ in batches] == [(5, 3, 16, 16)] * (len(split) // 5)


def test_folders_around_everything_and_names_in_another_normal_form(
    class_folders: Folders, validated: Validated, tmp_path: Path
) -> None:
    inner = class_folders({"ä": 8, "b": 8})
    place = tmp_path / "a place"
    (place / "wräpped").mkdir(parents=True)
    decomposed = place / "wräpped" / unicodedata.normalize("NFD", "ä")
    (inner / "ä").rename(decomposed)
    (inner / "b").rename(place / "wräpped" / "b")
    outcome = validated(place)
    assert outcome.dataset is not None
    data = open_images(outcome.dataset)
    assert data.pictures == place / "wräpped"
    assert data.manifest.classes == ["b", "ä"]
    every = data.split("all")
    assert len([every.picture(position) for position in range(len(every))]) == 16


def test_a_changed_file_is_named_even_with_its_old_size_and_time(dataset: Path) -> None:
    data = open_images(dataset)
    position, file = first_file(data)
    old = file.stat()
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns))
    with pytest.raises(PictureError, match=rf"{file.name}, used in place\) has changed since .* make a new version"):
        data.split("all").picture(position)


def test_a_touched_file_with_the_same_content_is_fine(dataset: Path) -> None:
    data = open_images(dataset)
    position, file = first_file(data)
    os.utime(file, (0, 0))
    assert data.split("all").picture(position).shape == (16, 16, 3)


def test_of_a_file_that_grew_no_more_is_read_than_was_validated(dataset: Path) -> None:
    data = open_images(dataset)
    position, file = first_file(data)
    with file.open("r+b") as grown:
        grown.truncate(1 << 40)  # sparse: reading it whole would take all memory
    with pytest.raises(PictureError, match=r"has changed since"):
        data.split("all").picture(position)


def test_a_link_put_in_place_of_a_file_shows_no_other_content(dataset: Path, tmp_path: Path) -> None:
    data = open_images(dataset)
    position, file = first_file(data)
    secret = tmp_path / "secret.png"
    Image.new("RGB", (16, 16), "red").save(secret)
    file.unlink()
    file.symlink_to(secret)
    with pytest.raises(PictureError, match=r"has changed since"):
        data.split("all").picture(position)


def test_a_removed_file_is_named_and_so_is_a_missing_folder(dataset: Path, root: Path) -> None:
    data = open_images(dataset)
    position, file = first_file(data)
    file.unlink()
    with pytest.raises(PictureError, match=rf"{root.as_uri()}/a/{file.name}, used in place\) cannot be read: No such"):
        data.split("all").picture(position)
    root.rename(root.with_name("elsewhere"))
    with pytest.raises(DataError, match=r"is not on this machine. Data used in place must be mounted on every worker"):
        open_images(dataset)


def test_the_place_may_be_a_bucket_and_the_pictures_a_copy(root: Path, validated: Validated, tmp_path: Path) -> None:
    given = tmp_path / "input"
    (given / "content").mkdir(parents=True)
    root.rename(given / "content" / "wrapped")
    (given / "upload.root").write_text("s3://bucket/my pets")
    outcome = validated(given)
    assert outcome.dataset is not None
    assert outcome.details["report"]["upload"] == {"name": "my pets", "in_place": True, "public": False}
    folder = outcome.dataset
    (folder / "pictures").symlink_to(given / "content" / "wrapped")
    data = open_images(folder)
    assert data.manifest.in_place is not None
    assert data.manifest.in_place.root == "s3://bucket/my pets/wrapped"
    assert data.split("all").picture(0).shape == (16, 16, 3)


def test_a_users_own_file_called_upload_is_no_upload(root: Path, validated: Validated, tmp_path: Path) -> None:
    (root / "upload").write_bytes(b"not an archive")
    given = tmp_path / "input"
    given.mkdir()
    (given / "content").symlink_to(root)
    (given / "upload.root").write_text(root.as_uri())
    assert validated(given).details["report"]["ignored"] == {"no suffix": 1}


def test_a_backslash_in_a_name_is_refused(root: Path, validated: Validated) -> None:
    (root / "a" / "0.png").rename(root / "a" / "b\\0.png")
    with pytest.raises(InvalidDatasetError, match="backslash"):
        validated(root)
