"""A validated data set on disk: pictures or events, told apart by `kind`.

Of the kind `images`:

    manifest.json      `ImagesManifest`
    index.csv.gz       one row a picture: id,path,label,split,width,height,mode,sha256  (label -1: none)
    pictures/…         picture files as uploaded, or
    arrays.npz         `x` uint8 [N,H,W,C], row = id, or
    neither            the pictures lie where `in_place.root` says; every reading checks them against the index

`digest` is the SHA-256 over the index and the picture digests, so equal content has an equal digest.

Of the kind `events`:

    manifest.json      `EventsManifest`
    *.npy              who met which item when, see `libs.data.events.store`
    users.parquet      index, id, training_count; index from 0, in the order of ids
    items.parquet      index, id, training_count and the item features; index from 1, most events in training first
    new_items.parquet  id and the item features of items that have no number, where some are described: items without
                       events, or of whose events the filters left none

`digest` is the SHA-256 over the arrays, the ids and the features.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from libs.data.errors import DataError

NEW_ITEMS_FILE = "new_items.parquet"
MOST_NEW_ITEMS = 100_000

DataKind = Literal["images", "events"]
Split = Literal["train", "val", "test"]


class SplitCounts(BaseModel):
    """How many pictures a split holds, in all and by class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pictures: int
    by_class: list[int]


class InPlace(BaseModel):
    """Pictures that stay where their owner keeps them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: str = Field(description="file:// or s3:// URL of the folder that the paths in the index begin at.")
    largest_bytes: int = Field(description="No picture file had more when it was validated.")


class ImagesManifest(BaseModel):
    """What a validated data set of pictures is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["images"] = "images"
    storage: Literal["pictures", "arrays"]
    in_place: InPlace | None = Field(default=None, description="Pictures outside the data set; None: it holds them.")
    classes: list[str] = Field(description="Label names; a label is its position. Empty: unlabelled.")
    splits: dict[Split, SplitCounts]
    channels: Literal[1, 3]
    height: int = Field(description="Height in px when all pictures agree, else the median.")
    width: int
    uniform_size: bool
    mean: list[float] = Field(description="Per channel over the training split, values scaled to [0, 1].")
    std: list[float]
    digest: str
    size_bytes: int


class EventCounts(BaseModel):
    """What a split of events holds.

    Under leave-last-out and by-time the users of the splits overlap.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    events: int
    users: int


class EventSplit(BaseModel):
    """How events were split; what does not belong to the protocol is None."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: Literal["leave-last-out", "by-user", "by-time"]
    val_fraction: float | None = None
    test_fraction: float | None = None
    seed: int | None = None
    validate_from: datetime | None = None
    test_from: datetime | None = None


class ItemFeature(BaseModel):
    """A column of `items.parquet` that describes items."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: Literal["number", "category", "text"]


class EventsManifest(BaseModel):
    """What a validated data set of events is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["events"] = "events"
    users: int
    items: int = Field(description="The vocabulary, without padding: ids run from 1 to this.")
    events: int
    types: dict[str, int] = Field(description="Events read by type, before the filters; empty without types.")
    first_time: datetime
    last_time: datetime
    split: EventSplit
    splits: dict[Split, EventCounts]
    item_features: list[ItemFeature]
    digest: str
    size_bytes: int


Manifest = Annotated[ImagesManifest | EventsManifest, Field(discriminator="kind")]
_ANY: TypeAdapter[ImagesManifest | EventsManifest] = TypeAdapter(Manifest)


def read_manifest(folder: Path) -> ImagesManifest | EventsManifest:
    """The manifest of a validated data set.

    Raises:
        DataError: the folder holds none.
    """
    try:
        return _ANY.validate_json((folder / "manifest.json").read_bytes())
    except FileNotFoundError:
        raise DataError(f"{folder.name} is no validated data set: it has no manifest.json") from None
    except ValidationError as error:
        raise DataError(f"{folder.name} has a manifest.json that is none: {error}") from None


def read_images_manifest(folder: Path) -> ImagesManifest:
    """The manifest of a data set of pictures.

    Raises:
        DataError: the folder holds none, or one of another kind.
    """
    manifest = read_manifest(folder)
    if isinstance(manifest, ImagesManifest):
        return manifest
    raise DataError("The data set holds events, and pictures are needed here; choose a data set of pictures.")


def read_events_manifest(folder: Path) -> EventsManifest:
    """The manifest of a data set of events.

    Raises:
        DataError: the folder holds none, or one of another kind.
    """
    manifest = read_manifest(folder)
    if isinstance(manifest, EventsManifest):
        return manifest
    raise DataError("The data set holds pictures, and events are needed here; choose a data set of events.")
