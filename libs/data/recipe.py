"""Preprocessing for evaluation and serving, as data: one function runs it in both, without torch."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Recipe(BaseModel):
    """From picture bytes to a float32 array [C, H, W].

    Steps: decode, turn by EXIF, convert to grey or RGB, resize, scale to [0, 1], subtract mean, divide by std.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: Literal[1, 3] = Field(description="1: grey, 3: RGB.")
    height: int = Field(ge=1, le=4096, description="In px, after resizing.")
    width: int = Field(ge=1, le=4096, description="In px, after resizing.")
    resize: Literal["stretch", "cover", "none"] = Field(
        default="cover",
        description="cover: keep the aspect ratio and crop the centre; stretch: do not; none: size must match.",
    )
    interpolation: Literal["nearest", "bilinear", "bicubic"] = Field(
        default="bilinear", description="How pixels are found when resizing."
    )
    mean: list[Annotated[float, Field(ge=-1000, le=1000)]] = Field(
        max_length=3, description="Subtracted from pixels in [0, 1], a number for each channel."
    )
    std: list[Annotated[float, Field(ge=0, le=1000)]] = Field(
        max_length=3, description="What the difference is divided by, a number for each channel."
    )
