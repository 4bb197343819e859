"""What computes batches tells of them, whoever wants to know."""

from collections.abc import Callable, Sequence
from typing import Protocol

BatchWatch = Callable[[int, Sequence[float], float], object]
"""Called with the rows of a batch, how long each of its requests waited (s), and how long it was computed (s)."""


class Watched(Protocol):
    """A queue of requests that are computed in batches."""

    @property
    def waiting_rows(self) -> int:
        """Rows that wait now."""

    def watch(self, watch: BatchWatch) -> None:
        """Have `watch` told of each batch from now on, in the thread that computed it."""


def watched_by_nobody(rows: int, waited_s: Sequence[float], compute_s: float) -> None:
    """Until somebody watches."""
