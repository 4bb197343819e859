"""What both kinds of upload become before they are checked: one entry a picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from libs.data.images.inspect import Inspection
from libs.data.manifest import Split


@dataclass(slots=True)
class Entry:
    """A readable picture.

    Attributes:
        name: of the file in the upload, or `x_train[7]`.
        stored: path below `pictures/` or below the place; empty for arrays.
        label: position in the classes, -1 for none.
        split: as given; None: not yet decided.
        look: what was seen in it.
        file: on disk; None for arrays.
    """

    name: str
    stored: str
    label: int
    split: Split | None
    look: Inspection
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where pictures that are used in place lie.

    Attributes:
        folder: on this machine.
        url: file:// or s3://, for everybody.
    """

    folder: Path
    url: str


@dataclass(slots=True)
class Collected:
    """An upload, read.

    Attributes:
        format: what it turned out to be.
        storage: how the data set keeps the pictures.
        classes: label names; empty when unlabelled.
        entries: in the order of ids.
        broken: how many pictures could not be read.
        ignored: files left out, by reason.
        notes: how the upload was understood.
        place: where the pictures stay; None: they are scratch copies and are moved.
    """

    format: Literal["class-folders", "npz", "pictures"]
    storage: Literal["pictures", "arrays"]
    classes: list[str]
    entries: list[Entry]
    broken: int
    ignored: dict[str, int]
    notes: list[str]
    place: Place | None = None
