"""Which public data sets Octavo can fetch. Checksums are those their publishers state."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libs.data.errors import PublicDatasetError
from libs.data.manifest import DataKind
from libs.data.public.formats import cifar10, cifar100, digits, idx_set
from libs.data.public.movielens import movielens_100k

Arrays = Mapping[str, NDArray[Any]]
"""Arrays of the npz: `x` and `y`, or `x_train`, `y_train`, `x_test`, `y_test`; and `classes`."""
Tables = Mapping[str, str]
"""CSV files of an archive: name → text."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a public data set.

    Attributes:
        name: of the file.
        url: its official address.
        checksum: `md5:…` or `sha256:…`.
        largest_bytes: more is refused while it is downloaded.
    """

    name: str
    url: str
    checksum: str
    largest_bytes: int


@dataclass(frozen=True, slots=True)
class PublicDataset:
    """A public data set.

    Attributes:
        name: for `octavo datasets pull`.
        summary: what it is.
        licence: as its publisher states it.
        files: what is fetched; empty when an installed package holds the data.
        convert: from the fetched files, in this order, to arrays, or to the text of tables by their names.
        kind: of the data set that is made of it.
    """

    name: str
    summary: str
    licence: str
    files: tuple[RemoteFile, ...]
    convert: Callable[[Sequence[Path]], Arrays | Tables]
    kind: DataKind = "images"

    @property
    def upload_name(self) -> str:
        """The file that it is converted to."""
        return f"{self.name}.npz" if self.kind == "images" else f"{self.name}.zip"


def public_dataset(name: str) -> PublicDataset:
    """Look a data set up.

    Raises:
        PublicDatasetError: there is none of that name; the nearest names are given.
    """
    if name in CATALOG:
        return CATALOG[name]
    near = difflib.get_close_matches(name, CATALOG, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(CATALOG)}."
    raise PublicDatasetError(f"There is no public data set {name!r}; {hint}")


def _idx_files(base: str, md5s: Sequence[str]) -> tuple[RemoteFile, ...]:
    names = (
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    )
    return tuple(RemoteFile(name, base + name, f"md5:{md5}", 64 << 20) for name, md5 in zip(names, md5s, strict=True))


def _idx(classes: Sequence[str]) -> Callable[[Sequence[Path]], Arrays]:
    return lambda files: {**idx_set(files), "classes": np.array(classes)}


_TORONTO = "https://www.cs.toronto.edu/~kriz/"
_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")

CATALOG: Mapping[str, PublicDataset] = {
    dataset.name: dataset
    for dataset in (
        PublicDataset(
            "mnist",
            "Handwritten digits, 28 x 28 grey, 60,000 + 10,000.",
            "CC BY-SA 3.0",
            _idx_files(
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                (
                    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                    "d53e105ee54ea40749a09fcbcd1e9432",
                    "9fb629c4189551a2d022fa330f9573f3",
                    "ec29112dd5afa0611ce80d1b7f02629c",
                ),
            ),
            _idx("0123456789"),
        ),
        PublicDataset(
            "fashion-mnist",
            "Pictures of clothes, 28 x 28 grey, 60,000 + 10,000.",
            "MIT",
            _idx_files(
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                (
                    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                    "25c81989df183df01b3e8a0aad5dffbe",
                    "bef4ecab320f06d8554ea6380940ec79",
                    "bb300cfdad3c16e7a12a480ee83cd310",
                ),
            ),
            _idx(_CLOTHES),
        ),
        PublicDataset(
            "kmnist",
            "Cursive Japanese characters, 28 x 28 grey, 60,000 + 10,000.",
            "CC BY-SA 4.0",
            _idx_files(
                "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
                (
                    "bdb82020997e1d708af4cf47b453dcf7",
                    "e144d726b3acfaa3e44228e80efcd344",
                    "5c965bf0a639b31b8f53240b1b52f4d7",
                    "7320c461ea6c1c855c0b718fb2a4b134",
                ),
            ),
            _idx(("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")),
        ),
        PublicDataset(
            "cifar10",
            "Pictures of 10 kinds of things, 32 x 32 RGB, 50,000 + 10,000.",
            "none stated",
            (
                RemoteFile(
                    "cifar-10-binary.tar.gz",
                    _TORONTO + "cifar-10-binary.tar.gz",
                    "md5:c32a1d4ab5d03f1284b67883e8d87530",
                    256 << 20,
                ),
            ),
            cifar10,
        ),
        PublicDataset(
            "cifar100",
            "Pictures of 100 kinds of things, 32 x 32 RGB, 50,000 + 10,000.",
            "none stated",
            (
                RemoteFile(
                    "cifar-100-binary.tar.gz",
                    _TORONTO + "cifar-100-binary.tar.gz",
                    "md5:03b5dce01913d631647c71ecec9e9cb8",
                    256 << 20,
                ),
            ),
            cifar100,
        ),
        PublicDataset(
            "movielens-100k",
            "Who rated which film when: 100,000 events of 943 users and 1,682 films.",
            "GroupLens: research, no commercial use, no redistribution",
            (
                RemoteFile(
                    "ml-100k.zip",
                    "https://files.grouplens.org/datasets/movielens/ml-100k.zip",
                    "md5:0e33842e24a9c977be4e0107933c0723",
                    16 << 20,
                ),
            ),
            movielens_100k,
            kind="events",
        ),
        PublicDataset("digits", "Handwritten digits of scikit-learn, 8 x 8 grey, 1,797.", "CC BY 4.0", (), digits),
    )
}
