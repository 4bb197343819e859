"""Data sets on disk: what is written is what is read, and damage is named."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from libs.data.errors import DataError, PictureError
from libs.data.images import open_images
from libs.data.images.arrays import map_pictures
from libs.data.images.index import Index, Row, write_index
from libs.data.statistics import PixelSums
from libs.data.write import write_arrays_dataset, write_manifest

X = np.random.default_rng(0).integers(0, 256, (30, 5, 7, 3), np.uint8)
Y = np.arange(30) % 3
CLASSES = ["a", "b", "ü"]


def test_arrays_come_back(tmp_path: Path) -> None:
    splits = (["train"] * 20) + (["val"] * 4) + (["test"] * 6)
    manifest = write_arrays_dataset(tmp_path, X, Y, CLASSES, splits)
    data = open_images(tmp_path)
    assert data.manifest == manifest
    test = data.split("test")
    assert (test.ids == np.arange(24, 30)).all()
    for position in range(len(test)):
        np.testing.assert_array_equal(test.picture(position), X[24 + position])
    assert manifest.splits["train"].by_class == [7, 7, 6]
    np.testing.assert_allclose(manifest.mean, (X[:20] / 255).mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(manifest.std, (X[:20] / 255).std(axis=(0, 1, 2)), rtol=1e-12)


def test_without_splits_they_are_made_by_the_seed(tmp_path: Path) -> None:
    first = write_arrays_dataset(tmp_path / "1", X, Y, CLASSES)
    assert {name: counts.by_class for name, counts in first.splits.items()} == {
        "train": [7] * 3,
        "val": [1] * 3,
        "test": [2] * 3,
    }
    assert write_arrays_dataset(tmp_path / "2", X, Y, CLASSES).digest == first.digest
    assert write_arrays_dataset(tmp_path / "3", X, Y, CLASSES, split_seed=1).digest != first.digest


def test_the_digest_covers_pixels_labels_and_names(tmp_path: Path) -> None:
    splits = ["train"] * 30
    changed = X.copy()
    changed[0, 0, 0, 0] ^= 1
    variants = [(X, Y, CLASSES), (changed, Y, CLASSES), (X, Y[::-1], CLASSES), (X, Y, ["a", "b", "c"])]
    digests = {
        write_arrays_dataset(tmp_path / str(number), x, y, names, splits).digest
        for number, (x, y, names) in enumerate(variants)
    }
    assert len(digests) == 4


def test_equal_data_sets_are_equal_files(tmp_path: Path) -> None:
    for name in "ab":
        write_arrays_dataset(tmp_path / name, X, Y, CLASSES)
    for file in ("arrays.npz", "index.csv.gz", "manifest.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_split_travels_to_another_process_without_its_arrays(tmp_path: Path) -> None:
    write_arrays_dataset(tmp_path, X, Y, CLASSES, ["train"] * 30)
    split = open_images(tmp_path).split("train")
    split.picture(0)
    content = pickle.dumps(split)
    assert len(content) < X.nbytes + 4096
    np.testing.assert_array_equal(pickle.loads(content).picture(3), X[3])


@pytest.mark.parametrize(
    ("x", "y", "splits", "message"),
    [
        (X.astype(float), Y, ["train"] * 30, "x must be uint8"),
        (X[..., :2], Y, ["train"] * 30, "x must be uint8"),
        (X, Y[:-1], ["train"] * 30, "30 pictures, 29 labels"),
        (X, Y, ["train"] * 29, "29 split names"),
        (X, Y, ["train"] * 29 + ["dev"], r"unknown split names \['dev'\]"),
        (X, Y + 1, ["train"] * 30, "labels run from 1 to 3, there are 3 classes"),
    ],
)
def test_what_does_not_fit_together_is_not_written(
    tmp_path: Path, x: np.ndarray, y: np.ndarray, splits: list, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        write_arrays_dataset(tmp_path / "set", x, y, CLASSES, splits)
    assert not (tmp_path / "set").exists()


def test_a_missing_split_names_those_that_exist(tmp_path: Path) -> None:
    write_arrays_dataset(tmp_path, X, Y, CLASSES, ["train"] * 30)
    with pytest.raises(DataError, match="no pictures in the split 'val'; it has: train"):
        open_images(tmp_path).split("val")


def test_a_folder_without_a_manifest_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no validated data set"):
        open_images(tmp_path)


def test_an_index_that_lost_rows_is_noticed(tmp_path: Path) -> None:
    write_arrays_dataset(tmp_path, X, Y, CLASSES, ["train"] * 30)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["splits"]["train"]["pictures"] = 31
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="the manifest counts 31 pictures, the index has 30 rows"):
        open_images(tmp_path)


def test_index_names_survive_commas_quotes_and_unicode(tmp_path: Path) -> None:
    names = ["a,b.png", 'say "hi".png', "犬/ü 1.png", " leading.png"]
    rows = [Row(name, -1, "test", 3, 2, "RGB", "0" * 64) for name in names]
    write_index(tmp_path / "index.csv.gz", rows)
    index = Index.read(tmp_path / "index.csv.gz")
    assert [name.decode() for name in index.path] == names
    assert (index.split == 2).all()


def test_an_index_of_many_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libs.data.images.index._CHUNK_ROWS", 7)
    rows = [Row("x" * number, number % 3, "train", number, 1, "L", "0" * 64) for number in range(50)]
    write_index(tmp_path / "index.csv.gz", rows)
    index = Index.read(tmp_path / "index.csv.gz")
    assert index.width.tolist() == list(range(50))
    assert [len(name) for name in index.path] == list(range(50))


def test_an_empty_index(tmp_path: Path) -> None:
    write_index(tmp_path / "index.csv.gz", [])
    assert len(Index.read(tmp_path / "index.csv.gz")) == 0


@pytest.mark.parametrize(
    ("save", "message"),
    [
        (lambda file: np.savez_compressed(file, x=X), "is compressed"),
        (lambda file: np.savez(file, y=X), "no array named x"),
        (lambda file: np.savez(file, x=X.astype(int)), "must be uint8"),
        (lambda file: np.savez(file, x=X[0]), "must be uint8"),
    ],
)
def test_arrays_that_cannot_be_mapped_are_named(tmp_path: Path, save, message: str) -> None:
    save(tmp_path / "arrays.npz")
    with pytest.raises(DataError, match=message):
        map_pictures(tmp_path / "arrays.npz")


def test_arrays_saved_by_numpy_are_mapped(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", y=Y, x=X)
    np.testing.assert_array_equal(map_pictures(tmp_path / "arrays.npz"), X)


def test_a_picture_that_is_gone_is_named(tmp_path: Path) -> None:
    rows = [Row("a/gone.png", 0, "train", 5, 7, "RGB", "0" * 64)]
    sums = PixelSums.of_pictures(X[:1])
    write_manifest(
        tmp_path, rows, storage="pictures", classes=["a"], sums=sums, size=(7, 5), uniform_size=True, size_bytes=0
    )
    with pytest.raises(PictureError, match=r"picture 0 \(a/gone.png\) cannot be read: No such file"):
        open_images(tmp_path).split("train").picture(0)
