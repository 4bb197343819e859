"""A served model on disk: everything that is needed to run it, and where it came from.

bundle.json        this schema
model.onnx         input [N,C,H,W] float32, output logits [N,K] float32, N dynamic
model.safetensors  the same weights under the plain model's own keys
recipe.json        preprocessing (`libs.data.recipe`), also inside bundle.json
sample.npz         inputs and the logits a server must compute of them before it serves (`libs.serving.probe`)
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from libs.data.recipe import Recipe


class TensorSpec(BaseModel):
    """A named tensor of the signature; -1 is a free dimension."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    datatype: Literal["FP32", "FP16", "INT64", "UINT8"]
    shape: list[int]


class Parity(BaseModel):
    """How far the ONNX model is from the torch model on real pictures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int
    max_abs_diff: float
    tolerance: float
    argmax_disagreements: int = Field(description="Among samples whose top-2 margin exceeds twice the tolerance.")
    passed: bool


class Latency(BaseModel):
    """Wall time of the ONNX model on the machine that exported it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int
    threads: int
    p50_ms: float
    p90_ms: float
    rounds: int


class Lineage(BaseModel):
    """Where a version comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    job_id: str | None = None
    dataset_digests: dict[str, str] = {}
    parent_digests: dict[str, str] = {}
    seed: int | None = None
    code_version: str = ""
    config: dict[str, Any] = {}


class Bundle(BaseModel):
    """What a served model is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    task: Literal["image-classification"] = "image-classification"
    architecture: str = Field(description="Name `libs.models.backbones` builds it by; `onnx` for an imported graph.")
    labels: list[str]
    recipe: Recipe
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    metrics: dict[str, float] = {}
    temperature: float = Field(default=1.0, gt=0, description="Divides the logits before the softmax.")
    parameters: int = 0
    parity: Parity | None = None
    latency: list[Latency] = []
    lineage: Lineage
    files: dict[str, str] = Field(default={}, description="File name → SHA-256 of every other file of the bundle.")
