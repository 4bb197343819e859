"""Reading a validated image data set. No torch: the model server, evaluation and prediction use it."""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from libs.data.errors import DataError, PictureError
from libs.data.images.arrays import map_pictures
from libs.data.images.decode import decode
from libs.data.images.index import SPLITS, Index
from libs.data.manifest import Manifest, Split


class ImageData:
    """A validated data set, opened.

    Attributes:
        folder: where it lies.
        manifest: what it is.
        index: one entry a picture.
    """

    def __init__(self, folder: Path, manifest: Manifest, index: Index) -> None:
        self.folder = folder
        self.manifest = manifest
        self.index = index

    def split(self, name: Split | Literal["all"]) -> "ImageSplit":
        """The pictures of one split, or of all.

        Raises:
            DataError: the data set has no such split, or it is empty.
        """
        if name == "all":
            return ImageSplit(self, name, np.arange(len(self.index)))
        rows = np.flatnonzero(self.index.split == SPLITS.index(name))
        if not len(rows):
            held = ", ".join(split for split, counts in self.manifest.splits.items() if counts.pictures)
            raise DataError(f"The data set has no pictures in the split {name!r}; it has: {held}.")
        return ImageSplit(self, name, rows)


class ImageSplit:
    """Some pictures of a data set, by position.

    Attributes:
        data: the data set they belong to.
        name: the split's name, or `all`.
        ids: int64 [N], the pictures' ids in the data set.
        labels: int64 [N], -1 where a picture has none.
    """

    def __init__(self, data: ImageData, name: str, ids: NDArray[np.int64]) -> None:
        self.data = data
        self.name = name
        self.ids = ids
        self.labels = data.index.label[ids]
        self._arrays: NDArray[np.uint8] | None = None

    @property
    def manifest(self) -> Manifest:
        """The manifest of the data set."""
        return self.data.manifest

    def __len__(self) -> int:
        return len(self.ids)

    def picture(self, position: int) -> NDArray[np.uint8]:
        """The picture at a position of this split, uint8 [H, W, C] with the manifest's channels.

        Raises:
            PictureError: the file is gone or no longer what was validated.
        """
        row = int(self.ids[position])
        if self.manifest.storage == "arrays":
            mapped: NDArray[np.uint8] = self._mapped()[row]
            return mapped
        file = self.path(position)
        index = self.data.index
        limit = int(index.width[row]) * int(index.height[row])
        try:
            content = file.read_bytes()
        except OSError as error:
            raise PictureError(f"picture {row} ({file.name}) cannot be read: {error.strerror}") from error
        return decode(content, max_pixels=limit, channels=self.manifest.channels)

    def path(self, position: int) -> Path:
        """The file of a picture (storage `pictures`)."""
        return self.data.folder / "pictures" / self.name_of(position)

    def name_of(self, position: int) -> str:
        """The picture's path below `pictures/`, or its row number in the arrays."""
        row = int(self.ids[position])
        name: bytes = self.data.index.path[row]
        return name.decode() or f"x[{row}]"

    def _mapped(self) -> NDArray[np.uint8]:
        if self._arrays is None:
            self._arrays = map_pictures(self.data.folder / "arrays.npz")
        return self._arrays

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_arrays": None}  # a worker process maps the file itself


def open_images(folder: Path) -> ImageData:
    """Open a validated data set.

    Raises:
        DataError: the folder holds none, or its files contradict each other.
    """
    try:
        manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    except FileNotFoundError:
        raise DataError(f"{folder.name} is no validated data set: it has no manifest.json") from None
    index = Index.read(folder / "index.csv.gz")
    expected = sum(counts.pictures for counts in manifest.splits.values())
    if len(index) != expected:
        raise DataError(f"{folder.name}: the manifest counts {expected} pictures, the index has {len(index)} rows")
    return ImageData(folder, manifest, index)
