"""Uploaded model files over HTTP."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field


class UploadedFile(BaseModel):
    """A file for a job to work on; its id is what `config.artifact` of an import names."""

    id: UUID
    name: str
    kind: Literal["onnx", "safetensors"] = Field(description="By content, whatever the name says.")
    digest: str = Field(description="SHA-256.")
    size_bytes: int
