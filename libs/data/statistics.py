"""Mean and deviation of pixels, exactly, without holding the pictures: by histogram."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_LEVELS = 256


@dataclass(slots=True)
class PixelHistogram:
    """Counts of the 256 values in each channel. Addition is exact, so the order of pictures does not matter.

    Attributes:
        counts: int64 [C, 256].
    """

    channels: int
    counts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros((self.channels, _LEVELS), np.int64)

    def add(self, pictures: NDArray[np.uint8]) -> None:
        """Count the pixels of uint8 [..., C]."""
        for channel in range(self.channels):
            self.counts[channel] += np.bincount(pictures[..., channel].ravel(), minlength=_LEVELS)

    def mean(self) -> list[float]:
        """Mean per channel, values scaled to [0, 1]; 0 without pixels."""
        return [float(value) for value in self._moment(np.arange(_LEVELS) / 255.0)]

    def std(self) -> list[float]:
        """Population deviation per channel, values scaled to [0, 1]."""
        levels = np.arange(_LEVELS) / 255.0
        deviations = levels[None, :] - np.asarray(self.mean())[:, None]
        return [float(value) for value in np.sqrt(self._moment(deviations**2))]

    def _moment(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.maximum(self.counts.sum(axis=1), 1)
        moment: NDArray[np.float64] = (self.counts * values).sum(axis=1) / total
        return moment
