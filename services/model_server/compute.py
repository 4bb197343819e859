"""From rows to the model's answer, and where the time went."""

import asyncio
from typing import Any

from numpy.typing import NDArray

from libs.serving.classifier import LoadedClassifier
from libs.web.timing import record


async def compute(model: LoadedClassifier, rows: NDArray[Any]) -> NDArray[Any]:
    """The model's output for rows that fit its signature: [n, ...] → [n, K].

    Raises:
        Overloaded, DeadlineExceeded, ServingError: as `Batcher.submit`.
    """
    computed = await asyncio.wrap_future(model.submit(rows))
    record("queue", computed.queue_s)
    record("compute", computed.compute_s)
    return computed.output
