"""POST /v1/classify/{model}: a picture in, labels and probabilities out."""

from typing import Annotated

import anyio
import numpy as np
from fastapi import Query, Request
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from libs.data.errors import PictureError
from libs.data.preprocess import apply, decode
from libs.serving.bundle import ClassifierBundle
from libs.serving.classifier import LoadedClassifier
from libs.serving.deployments.access import MayInfer
from libs.serving.errors import ServingError
from libs.serving.probabilities import softmax
from libs.web.body import read_body
from libs.web.problems import UnprocessableError, UnsupportedMediaTypeError, problem_responses
from libs.web.routing import Router
from libs.web.timing import span
from services.model_server.compute import compute
from services.model_server.context import Srv

router = Router(tags=["classify"])


class Prediction(BaseModel):
    """One class and how probable it is."""

    label: str = Field(examples=["cat"])
    index: int = Field(description="Position of the label in the model's list.", examples=[3])
    probability: float = Field(examples=[0.93])


class Classification(BaseModel):
    """What a picture shows, best first."""

    model: str = Field(description="The model whose version answered.", examples=["cats-frskd"])
    version: int = Field(examples=[3])
    digest: str = Field(description="SHA-256 of the version's bundle.")
    predictions: list[Prediction]


_BODY = {
    "requestBody": {
        "required": True,
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post("/v1/classify/{model}", responses=problem_responses(404, 413, 415, 503, 504), openapi_extra=_BODY)
async def classify(
    model: str,
    request: Request,
    server: Srv,
    caller: MayInfer,
    top_k: Annotated[int, Query(ge=1, le=1000, description="How many classes to name.")] = 5,
) -> Classification:
    """Classify the picture in the body (PNG, JPEG, BMP, GIF, TIFF or WebP).

    Probabilities are calibrated with the model's temperature. `Server-Timing` says where the time went.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not media_type.startswith("image/") and media_type != "application/octet-stream":
        raise UnsupportedMediaTypeError(f"Send the picture itself as image/png, image/jpeg …, not {media_type!r}.")
    content = await read_body(request, server.settings.max_body_bytes)
    with server.runtime.serve(caller.project_id, model) as held:
        max_pixels = server.settings.max_pixels
        rows = await anyio.to_thread.run_sync(_to_rows, content, held.bundle, max_pixels, limiter=server.decoding)
        logits = await compute(held, rows)
        return _answer(held, logits[0], top_k)


def _to_rows(content: bytes, bundle: ClassifierBundle, max_pixels: int) -> NDArray[np.float32]:
    """Preprocess one picture file by the bundle's recipe: → float32 [1, C, H, W]."""
    try:
        with span("decode"):
            pixels = decode(content, max_pixels=max_pixels, channels=bundle.recipe.channels)
        with span("preprocess"):
            return apply(bundle.recipe, pixels)[None]
    except PictureError as error:
        raise UnprocessableError(
            f"The picture cannot be used: {str(error).rstrip('.')}.", code="bad_picture"
        ) from error


def _answer(model: LoadedClassifier, logits: NDArray[np.float32], top_k: int) -> Classification:
    probabilities = softmax(logits, model.bundle.temperature)
    if not np.isfinite(probabilities).all():
        raise ServingError("the model's output for this picture is not finite")
    best = np.argsort(-probabilities, kind="stable")[:top_k]
    labels = model.bundle.labels
    return Classification(
        model=model.identity.model_name,
        version=model.identity.version,
        digest=model.identity.digest,
        predictions=[
            Prediction(label=labels[index], index=int(index), probability=float(probabilities[index])) for index in best
        ],
    )
