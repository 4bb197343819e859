"""A validated data set on disk.

    manifest.json      this schema
    index.csv.gz       one row a picture: id,path,label,split,width,height,mode,sha256  (label -1: none)
    pictures/…         picture files as uploaded, or
    arrays.npz         `x` uint8 [N,H,W,C], row = id, or
    neither            the pictures lie where `in_place.root` says; every reading checks them against the index

`digest` is the SHA-256 over the index and the picture digests, so equal content has an equal digest.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

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


class Manifest(BaseModel):
    """What a validated data set is."""

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
