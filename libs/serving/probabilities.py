"""From logits to probabilities, in double precision."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray


def log_softmax(logits: NDArray[np.floating[Any]], temperature: float = 1.0) -> NDArray[np.float64]:
    """Logarithms of the probabilities along the last axis of `logits / temperature`, [..., K] → [..., K]."""
    scaled = np.asarray(logits, np.float64) / temperature
    shifted = scaled - scaled.max(axis=-1, keepdims=True)
    return cast(NDArray[np.float64], shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def softmax(logits: NDArray[np.floating[Any]], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities along the last axis of `logits / temperature`, [..., K] → [..., K]."""
    return cast(NDArray[np.float64], np.exp(log_softmax(logits, temperature)))
