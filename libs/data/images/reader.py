"""Reading a validated image data set. No torch: the model server, evaluation and prediction use it."""

import hashlib
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from libs.data.errors import DataError, PictureError
from libs.data.images.arrays import map_pictures
from libs.data.images.decode import decode
from libs.data.images.index import SPLITS, Index
from libs.data.manifest import ImagesManifest, Split, read_images_manifest


class ImageData:
    """A validated data set, opened.

    Attributes:
        folder: where it lies.
        manifest: what it is.
        index: one entry a picture.
        pictures: folder that the paths in the index begin at (storage `pictures`).
    """

    def __init__(self, folder: Path, manifest: ImagesManifest, index: Index, pictures: Path) -> None:
        self.folder = folder
        self.pictures = pictures
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
    def manifest(self) -> ImagesManifest:
        """The manifest of the data set."""
        return self.data.manifest

    def __len__(self) -> int:
        return len(self.ids)

    def picture(self, position: int) -> NDArray[np.uint8]:
        """The picture at a position of this split, uint8 [H, W, C] with the manifest's channels.

        Raises:
            PictureError: the file is gone or, in place, no longer what was validated.
        """
        row = int(self.ids[position])
        if self.manifest.storage == "arrays":
            mapped: NDArray[np.uint8] = self._mapped()[row]
            return mapped
        index = self.data.index
        limit = int(index.width[row]) * int(index.height[row])
        return decode(self._content(position), max_pixels=limit, channels=self.manifest.channels)

    def _content(self, position: int) -> bytes:
        in_place = self.manifest.in_place
        name = self.name_of(position)
        shown = name if in_place is None else f"{in_place.root}/{name}, used in place"
        try:
            with (self.data.pictures / name).open("rb") as file:
                content = file.read(-1 if in_place is None else in_place.largest_bytes + 1)
        except OSError as error:
            raise PictureError(f"picture {self.ids[position]} ({shown}) cannot be read: {error.strerror}") from error
        # Its digest, rather than size and time: 1.5 % of decoding a photograph, and no change goes unseen.
        if in_place is not None and hashlib.sha256(content).digest() != self._digest(position):
            raise PictureError(
                f"picture {self.ids[position]} ({shown}) has changed since the data set was validated. Put the old "
                "file back, or make a new version of what is there now: octavo datasets create NAME --path …"
            )
        return content

    def _digest(self, position: int) -> bytes:
        return bytes(self.data.index.sha256[self.ids[position]])

    def name_of(self, position: int) -> str:
        """The picture's path below the pictures' folder, or its row number in the arrays."""
        row = int(self.ids[position])
        name: bytes = self.data.index.path[row]
        return name.decode() or f"x[{row}]"

    def _mapped(self) -> NDArray[np.uint8]:
        if self._arrays is None:
            self._arrays = map_pictures(self.data.folder / "arrays.npz")
        return self._arrays

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_arrays": None}  # a worker process maps the file itself


def open_images(folder: Path, pictures: Path | None = None) -> ImageData:
    """Open a validated data set.

    Args:
        folder: of the data set.
        pictures: where the pictures are on this machine; None: where the manifest says (`file://`), or in
            `folder/pictures`, which is where a worker lays pictures that are used in place on S3.

    Raises:
        DataError: it holds no pictures, its files contradict each other, or the folder used in place is not here.
    """
    manifest = read_images_manifest(folder)
    index = Index.read(folder / "index.csv.gz")
    expected = sum(counts.pictures for counts in manifest.splits.values())
    if len(index) != expected:
        raise DataError(f"{folder.name}: the manifest counts {expected} pictures, the index has {len(index)} rows")
    return ImageData(folder, manifest, index, pictures or _pictures_folder(folder, manifest))


def _pictures_folder(folder: Path, manifest: ImagesManifest) -> Path:
    if manifest.in_place is None or not manifest.in_place.root.startswith("file://"):
        return folder / "pictures"
    place = Path(unquote(urlsplit(manifest.in_place.root).path))
    if not place.is_dir():
        raise DataError(f"{place} is not on this machine. Data used in place must be mounted on every worker.")
    return place
