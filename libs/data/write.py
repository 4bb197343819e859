"""Writing validated data sets: the index and manifest of any, and whole ones from arrays."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from libs.data.errors import DataError
from libs.data.images.arrays import ArraysWriter
from libs.data.images.index import SPLITS, Row, write_index
from libs.data.manifest import ImagesManifest, InPlace, Split, SplitCounts
from libs.data.splits import stratified_split
from libs.data.statistics import PixelSums

_CHUNK_PICTURES = 4096


def write_arrays_dataset(
    folder: Path,
    x: NDArray[np.uint8],
    y: NDArray[np.int64] | None,
    classes: Sequence[str],
    splits: Sequence[Split] | None = None,
    *,
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
    split_seed: int = 0,
) -> ImagesManifest:
    """Write a data set of storage `arrays`.

    Args:
        folder: made when absent.
        x: uint8 [N, H, W] or [N, H, W, C] with 1 or 3 channels; may be a memory map.
        y: labels int64 [N], positions in `classes`; None: unlabelled, then `classes` is empty.
        classes: label names.
        splits: a split name per picture; None: a seeded stratified split by the fractions.
        val_fraction: share of the split `val` where `splits` is None.
        test_fraction: share of the split `test` where `splits` is None.
        split_seed: of that split.

    Raises:
        DataError: shapes, labels or split names do not fit together.
    """
    pictures = x[..., None] if x.ndim == 3 else x
    labels = np.full(len(pictures), -1, np.int64) if y is None else np.asarray(y, np.int64)
    if splits is None:
        fractions: dict[Split, float] = {
            "train": 1 - val_fraction - test_fraction,
            "val": val_fraction,
            "test": test_fraction,
        }
        splits = stratified_split(labels, fractions, split_seed)
    _check(pictures, labels, classes, splits)
    folder.mkdir(parents=True, exist_ok=True)
    with ArraysWriter(folder / "arrays.npz", pictures.shape) as writer:
        for _, chunk in _chunks(pictures):
            writer.add(chunk)
    train = np.asarray(splits) == "train"
    sums = PixelSums.total(
        (PixelSums.of_pictures(chunk[train[start : start + len(chunk)]]) for start, chunk in _chunks(pictures)),
        pictures.shape[3],
    )
    rows = list(_array_rows(pictures, labels, splits))
    height, width = pictures.shape[1:3]
    return write_manifest(
        folder,
        rows,
        storage="arrays",
        classes=classes,
        sums=sums,
        size=(height, width),
        uniform_size=True,
        size_bytes=(folder / "arrays.npz").stat().st_size,
    )


def write_manifest(
    folder: Path,
    rows: Sequence[Row],
    *,
    storage: Literal["pictures", "arrays"],
    classes: Sequence[str],
    sums: PixelSums,
    size: tuple[int, int],
    uniform_size: bool,
    size_bytes: int,
    in_place: InPlace | None = None,
) -> ImagesManifest:
    """Write `index.csv.gz` and `manifest.json` of a data set whose pictures are written.

    Args:
        folder: of the data set.
        rows: one a picture, in the order of ids.
        storage: how the pictures are kept.
        classes: label names.
        sums: of the training pictures.
        size: height and width in px.
        uniform_size: whether every picture has that size.
        size_bytes: of the pictures; the index is added.
        in_place: where the pictures are, if the data set does not hold them.
    """
    index = folder / "index.csv.gz"
    index_digest = write_index(index, rows)
    manifest = ImagesManifest(
        storage=storage,
        in_place=in_place,
        classes=list(classes),
        splits=count_splits(rows, len(classes)),
        channels=1 if len(sums.sums) == 1 else 3,
        height=size[0],
        width=size[1],
        uniform_size=uniform_size,
        mean=sums.mean(),
        std=sums.std(),
        digest=_digest(index_digest, classes, len(sums.sums)),
        size_bytes=size_bytes + index.stat().st_size,
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return manifest


def count_splits(rows: Iterable[Row], classes: int) -> dict[Split, SplitCounts]:
    """Pictures of every split that has some, in all and by class."""
    pictures: dict[Split, int] = dict.fromkeys(SPLITS, 0)
    by_class: dict[Split, list[int]] = {split: [0] * classes for split in SPLITS}
    for row in rows:
        pictures[row.split] += 1
        if row.label >= 0:
            by_class[row.split][row.label] += 1
    return {
        split: SplitCounts(pictures=pictures[split], by_class=by_class[split]) for split in SPLITS if pictures[split]
    }


def _digest(index_digest: str, classes: Sequence[str], channels: int) -> str:
    """The data set's digest: of its index (with every picture's digest), label names and channels."""
    facts = json.dumps({"channels": channels, "classes": list(classes), "index": index_digest}, sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()


def _chunks(pictures: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    for start in range(0, len(pictures), _CHUNK_PICTURES):
        yield start, np.ascontiguousarray(pictures[start : start + _CHUNK_PICTURES])


def _array_rows(pictures: NDArray[np.uint8], labels: NDArray[np.int64], splits: Sequence[Split]) -> Iterator[Row]:
    _, height, width, channels = pictures.shape
    mode = "L" if channels == 1 else "RGB"
    for start, chunk in _chunks(pictures):
        for position, picture in enumerate(chunk, start):
            digest = hashlib.sha256(picture.data).hexdigest()
            yield Row("", int(labels[position]), splits[position], width, height, mode, digest)


def _check(
    pictures: NDArray[np.uint8], labels: NDArray[np.int64], classes: Sequence[str], splits: Sequence[str]
) -> None:
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] not in (1, 3):
        raise DataError(f"x must be uint8 [N, H, W] or [N, H, W, 1 or 3], got {pictures.dtype} {pictures.shape}")
    if len(labels) != len(pictures) or len(splits) != len(pictures):
        raise DataError(f"{len(pictures)} pictures, {len(labels)} labels and {len(splits)} split names do not match")
    if unknown := set(splits) - set(SPLITS):
        raise DataError(f"unknown split names {sorted(unknown)}; known are {', '.join(SPLITS)}")
    if len(labels) and not -1 <= labels.min() <= labels.max() < len(classes):
        raise DataError(f"labels run from {labels.min()} to {labels.max()}, there are {len(classes)} classes")
