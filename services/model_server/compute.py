"""From rows to the model's answer, and where the time went."""

import asyncio
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from libs.serving.classifier import LoadedClassifier
from libs.web.timing import record


async def compute(model: LoadedClassifier, rows: NDArray[Any], note_batch: Callable[[int], object]) -> NDArray[Any]:
    """The model's output for rows that fit its signature: [n, ...] → [n, K].

    Args:
        note_batch: told how many rows were computed together.

    Raises:
        Overloaded, DeadlineExceeded, ServingError: as `Batcher.submit`.
    """
    computed = await asyncio.wrap_future(model.submit(rows))
    note_batch(computed.batch_rows)
    record("queue", computed.queue_s)
    record("compute", computed.compute_s)
    return computed.output
