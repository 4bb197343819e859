"""Validation of arrays."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libs.data.errors import InvalidDatasetError
from libs.data.images import ImageData, open_images
from libs.training.run import Outcome

Upload = Callable[[bytes, str], Path]
Validated = Callable[..., Outcome]

COUNT = 40


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


X = pixels(COUNT, 8, 8)
Y = np.arange(COUNT) % 4


@pytest.fixture
def dataset(upload: Upload, validated: Validated) -> Callable[..., ImageData]:
    def make(options: dict[str, Any] | None = None, /, **arrays: Any) -> ImageData:
        outcome = validated(upload(npz(**arrays), "x.npz"), **(options or {}))
        assert outcome.dataset is not None
        return open_images(outcome.dataset)

    return make


@pytest.fixture
def refused(upload: Upload, validated: Validated) -> Callable[..., list[dict[str, Any]]]:
    """The problems of a refused npz."""

    def make(content: bytes) -> list[dict[str, Any]]:
        with pytest.raises(InvalidDatasetError) as caught:
            validated(upload(content, "x.npz"))
        return caught.value.problems

    return make


def test_x_and_y_become_a_data_set(dataset: Callable[..., ImageData]) -> None:
    data = dataset(x=X, y=Y)
    assert data.manifest.storage == "arrays"
    assert data.manifest.classes == ["0", "1", "2", "3"]
    assert (data.manifest.channels, data.manifest.height, data.manifest.width) == (1, 8, 8)
    every = data.split("all")
    np.testing.assert_array_equal(every.labels, Y)
    np.testing.assert_array_equal([every.picture(i)[..., 0] for i in range(COUNT)], X)
    train = X[data.split("train").ids] / 255
    np.testing.assert_allclose(data.manifest.mean, [train.mean()], rtol=1e-12)


@pytest.mark.parametrize(
    "names", [("x_train", "y_train", "x_test", "y_test"), ("train_x", "train_y", "test_x", "test_y")]
)
def test_splits_by_name(dataset: Callable[..., ImageData], names: tuple[str, ...]) -> None:
    arrays = dict(zip(names, (X, Y, pixels(8, 8, 8, seed=1), np.arange(8) % 4), strict=True))
    data = dataset(None, **arrays, classes=np.array(["null", "eins", "zwei", "drei"]))
    assert data.manifest.classes == ["null", "eins", "zwei", "drei"]
    assert {name: counts.pictures for name, counts in data.manifest.splits.items()} == {
        "train": 36,
        "val": 4,
        "test": 8,
    }
    np.testing.assert_array_equal(data.split("test").labels, np.arange(8) % 4)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (X, X),
        (X.astype(np.float64), X),
        ((X / 255).astype(np.float32), X),
        (X.astype(np.int64), X),
        (X.astype(">i4"), X),
        (X.astype(np.uint16) * 257, X),
        (X > 127, (X > 127) * np.uint8(255)),
    ],
)
def test_values_become_bytes(dataset: Callable[..., ImageData], x: np.ndarray, expected: np.ndarray) -> None:
    every = dataset(x=x, y=Y).split("all")
    np.testing.assert_array_equal([every.picture(i)[..., 0] for i in range(COUNT)], expected)


def test_axes_and_channels(dataset: Callable[..., ImageData]) -> None:
    x = pixels(COUNT, 8, 6, 3)
    every = dataset(x=np.ascontiguousarray(np.moveaxis(x, -1, 1)), y=Y).split("all")
    np.testing.assert_array_equal(every.picture(3), x[3])


def test_transparent_arrays_are_put_on_white(dataset: Callable[..., ImageData]) -> None:
    x = pixels(COUNT, 8, 6, 4)
    x[0, ..., 3], x[1, ..., 3] = 0, 255
    every = dataset(x=x, y=Y).split("all")
    np.testing.assert_array_equal(every.picture(0), np.full((8, 6, 3), 255))
    np.testing.assert_array_equal(every.picture(1), x[1, ..., :3])


def test_labels_may_be_names(dataset: Callable[..., ImageData]) -> None:
    data = dataset(x=X, y=np.array(["hund", "katze"])[np.arange(COUNT) % 2])
    assert data.manifest.classes == ["hund", "katze"]
    np.testing.assert_array_equal(data.split("all").labels, np.arange(COUNT) % 2)


def test_arrays_without_labels(dataset: Callable[..., ImageData]) -> None:
    data = dataset(x=X)
    assert data.manifest.classes == []
    assert data.manifest.splits["train"].pictures == COUNT


def test_equal_arrays_have_an_equal_digest(upload: Upload, validated: Validated, recording_run) -> None:
    digests = []
    for number, content in enumerate((npz(x=X, y=Y), npz(y=Y.astype(np.uint8), x=X.astype(float)))):
        recording_run.folder = recording_run.folder.parent / f"run{number}"
        outcome = validated(upload(content, "x.npz"))
        digests.append(outcome.details["report"]["digest"])
        assert outcome.dataset is not None
    assert digests[0] == digests[1]


def nan_at(row: int) -> np.ndarray:
    x = X / 255
    x[row, 2, 2] = np.nan
    return x


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"x": X, "y": np.where(np.arange(COUNT) == 7, -1, Y)}, ("label-range", "y", 7)),
        ({"x": X, "y": Y + 1, "classes": np.array(list("abcd"))}, ("label-range", "y", 3)),
        ({"x": X, "y": Y[:30]}, ("label-count", "y", 30)),
        ({"x": X, "y": np.eye(4)[Y]}, ("label-shape", "y", None)),
        ({"x": X, "y": Y.astype(float)}, ("label-dtype", "y", None)),
        ({"x": X, "y": Y.astype(object)}, ("object-array", "y", None)),
        ({"x": np.array([{"a": 1}] * COUNT), "y": Y}, ("object-array", "x", None)),
        ({"x": nan_at(5), "y": Y}, ("not-finite", "x", 5)),
        ({"x": X.astype(float) - 1, "y": Y}, ("pixel-range", "x", None)),
        ({"x": X.reshape(COUNT, 64), "y": Y}, ("picture-shape", "x", None)),
        ({"x": X[..., None].repeat(2, -1), "y": Y}, ("picture-shape", "x", None)),
        ({"x": X.T.copy().T, "y": Y}, ("fortran-order", "x", None)),
        ({"x": X.astype(str), "y": Y}, ("picture-dtype", "x", None)),
        ({"x": X.astype(complex), "y": Y}, ("unknown-dtype", "x", None)),
        ({"x": X, "y": np.full(COUNT, 5)}, ("empty-class", None, None)),
        ({"x": X, "y": np.zeros(COUNT, int)}, ("one-class", None, None)),
        ({"x": X[:3], "y": Y[:3]}, ("too-few-pictures", None, None)),
        ({"x": X[:0], "y": Y[:0]}, ("too-few-pictures", None, None)),
        ({"x": X, "y": Y, "classes": np.array(["a", "b", "b", ""])}, ("classes", "classes", 3)),
        ({"arr_0": X, "arr_1": Y}, ("no-arrays", None, None)),
        ({"x": X, "y": Y, "x_test": X, "y_test": Y}, ("mixed-arrays", None, None)),
        ({"x_train": X, "y_train": Y, "x_test": X}, ("labels-missing", None, None)),
        ({"x_train": X, "y_train": Y, "x_test": pixels(9, 7, 8), "y_test": Y[:9]}, ("picture-size", "x_test", None)),
        ({"x": X, "images": X, "y": Y}, ("array-twice", "images", None)),
        ({"y": Y}, ("labels-without-pictures", None, None)),
    ],
)  # fmt: skip
def test_wrong_arrays_are_named_with_column_and_row(
    refused: Callable[[bytes], list], arrays: dict[str, np.ndarray], expected: tuple
) -> None:
    code, column, row = expected
    found = [problem for problem in refused(npz(**arrays)) if problem["code"] == code]
    assert found
    assert any(problem.get("column") == column for problem in found)
    if row is not None:
        assert any(problem.get("row") == row for problem in found)


def test_all_wrong_labels_are_listed(refused: Callable[[bytes], list]) -> None:
    problems = refused(npz(x=X, y=np.where(Y == 3, 9, Y), classes=np.array(list("abcd"))))
    assert [p["row"] for p in problems if p["code"] == "label-range"] == list(range(3, COUNT, 4))


def test_pickles_are_never_loaded(refused: Callable[[bytes], list], tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "executed",))

    refused(npz(x=np.array([Evil()] * 3, dtype=object), y=np.array([Evil()] * 3, dtype=object), classes=Evil()))
    assert not (tmp_path / "executed").exists()


def raw_npz(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def header(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def test_an_npz_bomb_is_refused(refused: Callable[[bytes], list]) -> None:
    problems = refused(raw_npz(x=header((100_000, 30, 30)) + bytes(90_000_000)))
    assert problems[0]["code"] == "archive"
    assert "bomb" in problems[0]["message"]
    assert problems[0]["file"] == "x.npy"


@pytest.mark.parametrize(
    "content",
    [
        header((10**9, 100, 100)) + bytes(100),
        header((-10, -64, 1)) + bytes(640),
        b"\x93NUMPY\x01\x00\x76\x00{broken",
        b"\x93NUMPY\x09\x00\x76\x00",
        b"",
        header((40, 8, 8)),
    ],
)
def test_headers_that_lie_are_refused_before_memory_is_taken(refused: Callable[[bytes], list], content: bytes) -> None:
    assert refused(raw_npz(x=content))[0] | {"message": ""} == {
        "severity": "error",
        "code": "broken-array",
        "message": "",
        "column": "x",
    }


def test_flipped_bits_are_found(refused: Callable[[bytes], list]) -> None:
    stream = io.BytesIO()
    np.savez(stream, x=X, y=Y)
    content = bytearray(stream.getvalue())
    content[content.index(X.tobytes()[:50]) + 7] ^= 1
    (problem,) = (p for p in refused(bytes(content)) if p["code"] == "broken-array")
    assert "CRC" in problem["message"]


def test_duplicates_name_their_rows(upload: Upload, validated: Validated) -> None:
    test = pixels(8, 8, 8, seed=1)
    test[2] = X[11]
    content = npz(x_train=X, y_train=Y, x_test=test, y_test=Y[:8])
    report = validated(upload(content, "x.npz"), val_fraction=0, near_duplicates=False).details["report"]
    (problem,) = (p for p in report["problems"] if p["code"] == "duplicate-across-splits")
    assert (problem["column"], problem["row"]) == ("x_train", 11)
    assert "'x_test[2]' (test)" in problem["message"]


def test_a_format_that_does_not_fit_is_said(upload: Upload, validated: Validated) -> None:
    with pytest.raises(InvalidDatasetError, match="'class-folders', but the upload is an npz"):
        validated(upload(npz(x=X, y=Y), "x.npz"), format="class-folders")
