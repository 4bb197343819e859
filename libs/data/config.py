"""Options of data-set validation. Imports no torch, no numpy."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ValidationConfig(BaseModel):
    """How an upload becomes a data set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["auto", "class-folders", "npz", "pictures"] = Field(
        default="auto",
        description="class-folders: zip, tar or folder; npz: arrays; pictures: without labels.",
    )
    val_fraction: float = Field(default=0.1, ge=0, lt=0.9, description="Used where the upload names no val split.")
    test_fraction: float = Field(default=0.2, ge=0, lt=0.9, description="Used where the upload names no test split.")
    split_seed: int = Field(
        default=0, ge=0, lt=2**31, description="Of the stratified split; the same seed, the same split."
    )
    max_pixels: int = Field(
        default=50_000_000, ge=1, le=2**31, description="A picture with more is refused before decoding."
    )
    max_files: int = Field(default=2_000_000, ge=1, le=100_000_000, description="An upload with more is refused.")
    max_unpacked_bytes: int = Field(
        default=200 * 2**30, ge=1, le=2**50, description="An archive that unpacks to more is refused."
    )
    max_broken_fraction: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="More unreadable pictures than this and the data set is invalid.",
    )
    near_duplicates: bool = Field(default=True, description="Look for near-duplicates across splits.")

    @model_validator(mode="after")
    def _leaves_training_pictures(self) -> "ValidationConfig":
        if self.val_fraction + self.test_fraction >= 0.95:
            raise ValueError("val_fraction + test_fraction leave nothing to train on")
        return self
