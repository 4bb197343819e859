"""Mean and deviation of pixels, exactly and in one pass: sums are integers, so order and grouping do not matter."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

_LEVELS = np.arange(256, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class PixelSums:
    """Sums over the pixels of one or many pictures.

    Attributes:
        pixels: how many, per channel.
        sums: Σ v of each channel, v in 0 … 255.
        squares: Σ v² of each channel.
    """

    pixels: int
    sums: tuple[int, ...]
    squares: tuple[int, ...]

    @classmethod
    def of_histogram(cls, histogram: NDArray[np.int64]) -> "PixelSums":
        """From counts of the 256 values, int64 [C, 256]."""
        sums = tuple(int(total) for total in histogram @ _LEVELS)
        squares = tuple(int(total) for total in histogram @ _LEVELS**2)
        return cls(int(histogram[0].sum()), sums, squares)

    @classmethod
    def of_pictures(cls, pictures: NDArray[np.uint8]) -> "PixelSums":
        """From uint8 [..., C]."""
        channels = range(pictures.shape[-1])
        counts = [np.bincount(pictures[..., channel].ravel(), minlength=256) for channel in channels]
        return cls.of_histogram(np.array(counts, dtype=np.int64))

    @classmethod
    def total(cls, parts: Iterable["PixelSums"], channels: int) -> "PixelSums":
        """Sum of parts; a grey part counts in every channel."""
        pixels, sums, squares = 0, [0] * channels, [0] * channels
        for part in parts:
            pixels += part.pixels
            for channel in range(channels):
                own = channel if len(part.sums) > 1 else 0
                sums[channel] += part.sums[own]
                squares[channel] += part.squares[own]
        return cls(pixels, tuple(sums), tuple(squares))

    def mean(self) -> list[float]:
        """Mean of each channel, values scaled to [0, 1]; 0 without pixels."""
        return [total / max(self.pixels, 1) / 255 for total in self.sums]

    def std(self) -> list[float]:
        """Population deviation of each channel, values scaled to [0, 1]; 0 without pixels."""
        n = max(self.pixels, 1)
        pairs = zip(self.sums, self.squares, strict=True)
        return [sqrt(n * square - total**2) / n / 255 for total, square in pairs]
