"""A served model on disk: everything that is needed to run it, and where it came from. Told apart by `task`.

Every bundle has

    bundle.json        this schema
    model.onnx         its graph; inputs and outputs are listed in bundle.json, the first dimension N is free
    model.safetensors  the same weights under the plain model's own keys; an imported graph has none
    sample.npz         inputs by name, and the outputs by name that a server must compute of them before it serves
                       (`libs.serving.probe`)

Of the task `image-classification` (`ClassifierBundle`):

    model.onnx         input [N, C, H, W] float32 to logits [N, K] float32
    recipe.json        preprocessing (`libs.data.recipe`), also inside bundle.json

Of the task `next-item` (`NextItemBundle`):

    model.onnx         items int64 [N, n], right-padded with 0, and lengths int64 [N], at least 1, to features float32
                       [N, d] after each row's last item; scores are products with the item vectors
                       Models that attend by relations take further inputs, which a server makes of items, users and the
                       three files of `libs.data.events.relations` (`open_tables(folder).inputs_of`): users int64 [N],
                       counted from 1 in the bundle's users.parquet, 0 unknown; factors float32 [N, n, R]; shape and
                       kernel float32 [N, n, n]
    cooccurrence.npz   optional, with factors.npy and users.parquet: what those inputs are made of
    step.onnx          optional: the next event alone. item int64 [N] and the tensors of `state` to features [N, d] and
                       the same tensors after it, named `next_` and their name
    explain.onnx       optional: inputs of model.onnx to the tensors of `explanations`
    item_vectors.npy   float32 [I + 1, d]; row 0 is padding
    items.parquet      index, id, training_count and the item features, as in the data set (`libs.data.manifest`)
    new_items.parquet  optional, likewise: id and the item features of items that the model does not know
    neighbours.npz     items int32 [I + 1, k] and users int32 [I + 1, k]: the items that most training users had beside
                       an item, most first, and how many users that were; 0 where there are fewer
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from libs.data.manifest import ItemFeature
from libs.data.recipe import Recipe

BUNDLE_FILE = "bundle.json"
MODEL_FILE = "model.onnx"
WEIGHTS_FILE = "model.safetensors"
RECIPE_FILE = "recipe.json"


class TensorSpec(BaseModel):
    """A named tensor of the signature; -1 is a free dimension."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    datatype: Literal["FP32", "FP16", "INT64", "UINT8"]
    shape: list[int]


class Parity(BaseModel):
    """How far the ONNX model is from the torch model on real pictures; a difference may be NaN, and then fails."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

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


class ParentComparison(BaseModel):
    """An updated model beside the one it was made from, as both would be served, on the same held-out events."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    figure: str = Field(description="What is compared, `test/ndcg@10` say.")
    cases: int = Field(description="Held-out events.")
    parent: float
    child: float
    tolerance: float = Field(ge=0, le=1, description="Share of the parent's figure that the child may lose.")
    passed: bool


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
    """What every served model is."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    format_version: Literal[1] = 1
    task: str
    architecture: str = Field(description="What `libs.models` builds it by; `onnx` for an imported graph.")
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    metrics: dict[str, float] = {}
    parameters: int = 0
    parity: Parity | None = None
    latency: list[Latency] = []
    lineage: Lineage
    files: dict[str, str] = Field(default={}, description="File name → SHA-256 of every other file of the bundle.")


class ClassifierBundle(Bundle):
    """A classifier of pictures."""

    task: Literal["image-classification"] = "image-classification"
    labels: list[str]
    recipe: Recipe
    temperature: float = Field(default=1.0, gt=0, description="Divides the logits before the softmax.")


class NextItemBundle(Bundle):
    """A model that foretells the next item of a sequence of events."""

    task: Literal["next-item"] = "next-item"
    items: int = Field(ge=1, description="I: items it knows, without padding.")
    width: int = Field(ge=1, description="d: of features and item vectors.")
    max_length: int = Field(ge=1, description="Events of a history that it reads, the newest.")
    exclude_seen: bool = Field(description="Whether items of the history are no candidates unless a request says so.")
    item_features: list[ItemFeature] = []
    state: list[TensorSpec] = Field(default=[], description="What step.onnx carries from event to event.")
    explanations: list[TensorSpec] = Field(default=[], description="What explain.onnx answers.")
    against_parent: ParentComparison | None = Field(default=None, description="Of a model that an update made.")


BundleT = TypeVar("BundleT", bound=Bundle)
AnyBundle = ClassifierBundle | NextItemBundle
_ANY: TypeAdapter[AnyBundle] = TypeAdapter(Annotated[AnyBundle, Field(discriminator="task")])


def parse_bundle(content: bytes) -> AnyBundle:
    """The bundle that a `bundle.json` describes.

    Raises:
        pydantic.ValidationError: it describes none.
    """
    return _ANY.validate_json(content)


def write_bundle(folder: Path, bundle: BundleT) -> BundleT:
    """Write `bundle.json` (and a classifier's `recipe.json`) beside the files in `folder`, and list their digests.

    Returns:
        The bundle as written, with `files` filled in.
    """
    if isinstance(bundle, ClassifierBundle):
        (folder / RECIPE_FILE).write_text(bundle.recipe.model_dump_json(indent=2) + "\n", encoding="utf-8")
    files = {path.name: _digest(path) for path in sorted(folder.iterdir()) if path.name != BUNDLE_FILE}
    complete = bundle.model_copy(update={"files": files})
    (folder / BUNDLE_FILE).write_text(complete.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return complete


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
