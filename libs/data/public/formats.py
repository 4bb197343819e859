"""The file formats public data sets are published in. None of them is a pickle."""

import gzip
import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libs.data.archives import ArchiveLimits, unpack
from libs.data.errors import PublicDatasetError

_IDX_BYTES = 0x08
_CIFAR_SIDE = 32
_DIGITS_HIGHEST = 16


def idx_set(files: Sequence[Path]) -> dict[str, NDArray[Any]]:
    """Training pictures and labels, test pictures and labels, each a gzipped idx file."""
    names = ("x_train", "y_train", "x_test", "y_test")
    return {name: read_idx(file) for name, file in zip(names, files, strict=True)}


def read_idx(file: Path) -> NDArray[np.uint8]:
    """A gzipped idx file of bytes: two zeros, the type, the number of axes, the sizes (big endian), the data.

    Raises:
        PublicDatasetError: it is not that.
    """
    try:
        with gzip.open(file) as stream:
            zeros, kind, axes = struct.unpack(">HBB", stream.read(4))
            if zeros != 0 or kind != _IDX_BYTES or not 1 <= axes <= 4:
                raise PublicDatasetError(f"{file.name} is no idx file of bytes")
            shape = struct.unpack(f">{axes}I", stream.read(4 * axes))
            size = int(np.prod(shape, dtype=object))
            content = stream.read(size + 1)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise PublicDatasetError(f"{file.name} is broken: {error}") from error
    if len(content) != size:
        raise PublicDatasetError(f"{file.name} announces {shape}, but holds {len(content)} bytes or more")
    return np.frombuffer(content, np.uint8).reshape(shape)


def cifar10(files: Sequence[Path]) -> dict[str, NDArray[Any]]:
    """The binary version: records of a label and 3,072 pixel bytes (planes R, G, B)."""
    with _unpacked(files[0]) as found:
        train = [read_cifar(_member(found, f"data_batch_{number}.bin"), 1) for number in range(1, 6)]
        test = read_cifar(_member(found, "test_batch.bin"), 1)
        classes = _names(_member(found, "batches.meta.txt"))
    return _cifar_arrays(train, test, classes)


def cifar100(files: Sequence[Path]) -> dict[str, NDArray[Any]]:
    """The binary version: records of a coarse label, a fine label (used here) and 3,072 pixel bytes."""
    with _unpacked(files[0]) as found:
        train = [read_cifar(_member(found, "train.bin"), 2)]
        test = read_cifar(_member(found, "test.bin"), 2)
        classes = _names(_member(found, "fine_label_names.txt"))
    return _cifar_arrays(train, test, classes)


def read_cifar(file: Path, label_bytes: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pictures uint8 [N, 32, 32, 3] and the last label byte of each record, uint8 [N].

    Raises:
        PublicDatasetError: the file does not hold whole records.
    """
    record = label_bytes + 3 * _CIFAR_SIDE**2
    content = np.fromfile(file, np.uint8)
    if content.size == 0 or content.size % record:
        raise PublicDatasetError(f"{file.name} has {content.size} bytes, not a multiple of {record}")
    records = content.reshape(-1, record)
    planes = records[:, label_bytes:].reshape(-1, 3, _CIFAR_SIDE, _CIFAR_SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), records[:, label_bytes - 1].copy()


def digits(files: Sequence[Path]) -> dict[str, NDArray[Any]]:
    """scikit-learn's digits, values 0 … 16 spread to 0 … 255.

    Raises:
        PublicDatasetError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise PublicDatasetError(
            "digits come with scikit-learn, which is not installed: pip install scikit-learn"
        ) from None
    bunch = load_digits()
    x = np.rint(bunch.images * (255 / _DIGITS_HIGHEST)).astype(np.uint8)
    return {"x": x, "y": bunch.target.astype(np.int64), "classes": np.array([str(k) for k in range(10)])}


@contextmanager
def _unpacked(file: Path) -> Iterator[Mapping[str, Path]]:
    """File names without folders → path, as long as the context lasts."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        sources = unpack(file, Path(folder) / "content", ArchiveLimits())
        yield {source.path.name: source.path for source in sources.files}


@contextmanager
def members(file: Path, names: Sequence[str]) -> Iterator[list[Path]]:
    """Some files of an archive by their names without folders, as long as the context lasts.

    Raises:
        PublicDatasetError: one is missing.
    """
    with _unpacked(file) as found:
        yield [_member(found, name) for name in names]


def _member(found: Mapping[str, Path], name: str) -> Path:
    if name not in found:
        raise PublicDatasetError(f"the archive has no {name}; it has {', '.join(sorted(found))}")
    return found[name]


def _names(file: Path) -> list[str]:
    return [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]


def _cifar_arrays(
    train: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
    test: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    classes: list[str],
) -> dict[str, NDArray[Any]]:
    return {
        "x_train": np.concatenate([pictures for pictures, _ in train]),
        "y_train": np.concatenate([labels for _, labels in train]),
        "x_test": test[0],
        "y_test": test[1],
        "classes": np.array(classes),
    }
