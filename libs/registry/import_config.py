"""What must be said about a model file from outside to make a served model of it. Imports no torch, no numpy."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from libs.data.recipe import Recipe

Label = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class ImportConfig(BaseModel):
    """Common to every imported file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    artifact: UUID = Field(description="The uploaded file: an artifact of kind `upload` in this project.")
    labels: list[Label] = Field(min_length=2, max_length=100_000, description="Names of the outputs, in their order.")
    recipe: Recipe = Field(description="How a picture becomes the model's input.")
    temperature: float = Field(default=1.0, gt=0, le=1000, description="Divides the logits before the softmax.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("two labels are the same")
        recipe = self.recipe
        if len(recipe.mean) != recipe.channels or len(recipe.std) != recipe.channels:
            raise ValueError(f"recipe: mean and std need one number for each of {recipe.channels} channels")
        if min(recipe.std) <= 0:
            raise ValueError("recipe: std must be above 0")
        return self


class ImportOnnxConfig(ImportConfig):
    """Make a served model of an ONNX graph."""


class ImportWeightsConfig(ImportConfig):
    """Make a served model of a safetensors file and the name of the architecture its weights belong to."""

    architecture: str = Field(max_length=200, description="A name such as resnet20, wrn-16-2, timm/NAME.")
