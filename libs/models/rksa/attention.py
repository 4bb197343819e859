"""Attention logits as a latent variable: one multivariate skew-normal a row of the attention matrix.

Row t is the query of the last item seen, its keys are the items up to it. Correlations K between keys are shared by
all rows; scales omega[t, j] and shapes alpha[t, j] belong to the row (rksa sections 0 and 0.1). Every function takes
(xi, omega, alpha) and K in one of two forms, so that all parametrisations share one path:

    LowRank: K = F F' + diag(h), unit diagonal and positive semi-definite by construction, no factorisation
    Dense:   K itself; drawing from it costs one Cholesky factor a sequence
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from libs.models.rksa.skew_normal import MEAN_OF_HALF_NORMAL
from libs.training.objective import at_least_float32


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard-normal draws for one sample of the logits.

    Attributes:
        factors: [..., T, R] for LowRank; for Dense [..., T, n].
        rest: [..., T, n] for LowRank, what F does not span; None for Dense.
        switch: [..., T], of the variable whose sign skews a row.

    T is n for fresh draws a row, or 1 for draws that the rows of a sequence share.
    """

    factors: Tensor
    rest: Tensor | None
    switch: Tensor


class Correlation(Protocol):
    """Correlations between the keys of a sequence."""

    def times(self, shape: Tensor) -> Tensor:
        """K alpha_t for every row of `shape` [..., T, n]."""

    def draw(self, noise: Noise) -> Tensor:
        """X ~ N(0, K), one row for each row of the noise, [..., T, n]."""

    def noise(self, rows: int, generator: torch.Generator | None = None) -> Noise:
        """Draws for `rows` rows."""

    def matrix(self) -> Tensor:
        """K itself, [..., n, n], in at least float32."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """K = F F' + diag(h).

    Attributes:
        factors: F [..., n, R], rows of norm at most 1.
    """

    factors: Tensor

    @property
    def rest(self) -> Tensor:
        """h = 1 - |F_j|^2, [..., n]: what makes the diagonal 1, also for a key without factors (a cold item)."""
        return (1 - self.factors.square().sum(-1)).clamp_min(0)

    def times(self, shape: Tensor) -> Tensor:
        """K alpha_t, in O(n R) a row."""
        return (shape @ self.factors) @ self.factors.transpose(-1, -2) + shape * self.rest.unsqueeze(-2)

    def draw(self, noise: Noise) -> Tensor:
        """F eps + sqrt(h) e: its covariance is exactly K."""
        assert noise.rest is not None
        return noise.factors @ self.factors.transpose(-1, -2) + safe_sqrt(self.rest).unsqueeze(-2) * noise.rest

    def noise(self, rows: int, generator: torch.Generator | None = None) -> Noise:
        """Draws for `rows` rows."""
        *batch, length, rank = self.factors.shape
        return Noise(
            _normal(self.factors, [*batch, rows, rank], generator),
            _normal(self.factors, [*batch, rows, length], generator),
            _normal(self.factors, [*batch, rows], generator),
        )

    def matrix(self) -> Tensor:
        """F F' with a diagonal of 1."""
        factors = at_least_float32(self.factors)
        return _with_unit_diagonal(factors @ factors.transpose(-1, -2))


@dataclass(frozen=True, slots=True)
class Dense:
    """K [..., n, n] as it is: symmetric, unit diagonal, positive definite or nearly so."""

    correlation: Tensor

    def times(self, shape: Tensor) -> Tensor:
        """K alpha_t."""
        return shape @ self.correlation

    def draw(self, noise: Noise) -> Tensor:
        """eps L' with K = L L'. In time order, so the draw of key j depends on the noise of keys up to j alone."""
        factor = stable_cholesky(at_least_float32(self.correlation)).to(self.correlation.dtype)
        return noise.factors @ factor.transpose(-1, -2)

    def noise(self, rows: int, generator: torch.Generator | None = None) -> Noise:
        """Draws for `rows` rows."""
        *batch, length, _ = self.correlation.shape
        return Noise(
            _normal(self.correlation, [*batch, rows, length], generator),
            None,
            _normal(self.correlation, [*batch, rows], generator),
        )

    def matrix(self) -> Tensor:
        """K."""
        return at_least_float32(self.correlation)


class FixedNoise(nn.Module):
    """Draws that stay the same, so that a mean over them is a function of the inputs: measured twice, or exported.

    Args:
        samples: how many. rows: `max_length`, or 1 where the rows of a sequence share them.
        width: R of the factors.
    """

    factors: Tensor
    rest: Tensor
    switch: Tensor

    def __init__(self, samples: int, rows: int, max_length: int, width: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        for name, shape in (("factors", (rows, width)), ("rest", (rows, max_length)), ("switch", (rows,))):
            values = torch.randn(samples, *shape, generator=generator)
            self.register_buffer(name, values, persistent=False)

    def draws(self, length: int) -> list[Noise]:
        """The draws, for sequences of `length`; for LowRank."""
        return [
            Noise(factors[:length], rest[:length, :length], switch[:length])
            for factors, rest, switch in zip(self.factors, self.rest, self.switch, strict=True)
        ]

    def batched(self, length: int) -> Noise:
        """All draws at once, with a dimension before that of the sequences; for LowRank."""
        parts = self.factors[:, :length], self.rest[:, :length, :length], self.switch[:, :length]
        return Noise(*(part.unsqueeze(1) for part in parts))


def skewness(correlation: Correlation, shape: Tensor) -> tuple[Tensor, Tensor]:
    """delta [..., T, n] and c [..., T] of every row of shape alpha [..., T, n]; alpha is 0 for keys after the query."""
    pulled = correlation.times(shape)
    spread = (1 + (shape * pulled).sum(-1)).sqrt()
    return pulled / spread.unsqueeze(-1), spread


def mean_logits(location: Tensor, scale: Tensor, shape: Tensor, correlation: Correlation) -> Tensor:
    """E[Z] = xi + sqrt(2/pi) omega delta, [..., T, n]. Mask keys after the query afterwards: their delta is not 0."""
    delta, _ = skewness(correlation, shape)
    return location + MEAN_OF_HALF_NORMAL * scale * delta


def sample_logits(location: Tensor, scale: Tensor, shape: Tensor, correlation: Correlation, noise: Noise) -> Tensor:
    """One reparameterised draw of Z, [..., T, n], differentiable in every argument. Mask afterwards, as with the mean.

    X0 = (alpha . X + e0) / c has variance 1 and covariance delta with X, so X + delta (|X0| - X0) is skew-normal
    (rksa section 3); the usual form sign(X0) X has no gradient to alpha through the sign.
    """
    delta, spread = skewness(correlation, shape)
    drawn = correlation.draw(noise)
    switch = ((shape * drawn).sum(-1) + noise.switch) / spread
    return location + scale * (drawn + 2 * delta * torch.relu(-switch).unsqueeze(-1))


def attend(logits: Tensor) -> Tensor:
    """Causal softmax over keys, [..., n, n]."""
    rows, keys = logits.shape[-2:]
    future = torch.ones(rows, keys, dtype=torch.bool, device=logits.device).triu(1)
    return torch.softmax(logits.masked_fill(future, -math.inf), -1)


def stable_cholesky(matrix: Tensor) -> Tensor:
    """Lower factor of [..., n, n]; where rounding made it indefinite, with the least jitter that helps.

    Raises:
        ValueError: a matrix is indefinite beyond rounding.
    """
    factor, failed = torch.linalg.cholesky_ex(matrix)
    jitter = 1e-6 * matrix.diagonal(dim1=-2, dim2=-1).mean(-1)
    for _ in range(5):
        if not bool(failed.any()):
            break
        added = torch.diag_embed(torch.where(failed > 0, jitter, 0.0).unsqueeze(-1).expand(matrix.shape[:-1]))
        factor, failed = torch.linalg.cholesky_ex(matrix + added)
        jitter = jitter * 10
    if bool(failed.any()):
        raise ValueError("A correlation matrix is indefinite: its kernels are not positive semi-definite.")
    found: Tensor = factor
    return found


def _with_unit_diagonal(matrix: Tensor) -> Tensor:
    return torch.where(torch.eye(matrix.shape[-1], dtype=torch.bool, device=matrix.device), 1.0, matrix)


def safe_sqrt(values: Tensor) -> Tensor:
    """The root, with gradient 0 instead of infinity at 0."""
    positive = values > 0
    return torch.where(positive, torch.where(positive, values, 1.0).sqrt(), 0.0)


def _normal(like: Tensor, shape: list[int], generator: torch.Generator | None) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)
