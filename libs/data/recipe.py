"""Preprocessing for evaluation and serving, as data: one function runs it in both, without torch."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Recipe(BaseModel):
    """From picture bytes to a float32 array [C, H, W].

    Steps: decode, turn by EXIF, convert to grey or RGB, resize, scale to [0, 1], subtract mean, divide by std.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: Literal[1, 3]
    height: int = Field(ge=1, le=4096)
    width: int = Field(ge=1, le=4096)
    resize: Literal["stretch", "cover", "none"] = Field(
        default="cover",
        description="cover: keep the aspect ratio and crop the centre; none: size must match.",
    )
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear"
    mean: list[float]
    std: list[float]
