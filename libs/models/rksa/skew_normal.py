"""The multivariate skew-normal, Azzalini and Dalla Valle's form: density, moments, divergence.

f(z) = 2 phi_n(z - xi; Omega) Phi(alpha . omega^-1 (z - xi)), with omega the standard deviations of Omega. Of the scaled
variable Y = omega^-1 (z - xi), with correlation R:

    c = sqrt(1 + alpha' R alpha),  delta = R alpha / c,  E[Y] = sqrt(2/pi) delta,  Cov[Y] = R - (2/pi) delta delta'
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

MEAN_OF_HALF_NORMAL = math.sqrt(2 / math.pi)
_LOG_2 = math.log(2)
_LOG_2_PI = math.log(2 * math.pi)
_GAUSS_LEGENDRE = np.polynomial.legendre.leggauss(200)
_REACH = 12.0


@dataclass(frozen=True, slots=True)
class SkewNormal:
    """One distribution, or a batch of them.

    Attributes:
        location: xi [..., n].
        covariance: Omega [..., n, n], positive definite; the covariance proper only where shape is 0.
        shape: alpha [..., n].
    """

    location: Tensor
    covariance: Tensor
    shape: Tensor

    @property
    def scale(self) -> Tensor:
        """omega [..., n]."""
        return self.covariance.diagonal(dim1=-2, dim2=-1).sqrt()

    @property
    def skewness(self) -> Tensor:
        """delta [..., n], between -1 and 1."""
        scale = self.scale
        correlation = self.covariance / (scale.unsqueeze(-1) * scale.unsqueeze(-2))
        pulled = (correlation @ self.shape.unsqueeze(-1)).squeeze(-1)
        return pulled / (1 + (self.shape * pulled).sum(-1, keepdim=True)).sqrt()

    def mean(self) -> Tensor:
        """[..., n]."""
        return self.location + MEAN_OF_HALF_NORMAL * self.scale * self.skewness

    def variance(self) -> Tensor:
        """The covariance matrix of z, [..., n, n]."""
        pull = self.scale * self.skewness
        return self.covariance - (2 / math.pi) * pull.unsqueeze(-1) * pull.unsqueeze(-2)

    def log_density(self, points: Tensor) -> Tensor:
        """Natural logarithm of the density at points [..., n], in nats."""
        factor = torch.linalg.cholesky(self.covariance)
        centred = points - self.location
        whitened = torch.linalg.solve_triangular(factor, centred.unsqueeze(-1), upper=False).squeeze(-1)
        half_log_determinant = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        gaussian = -0.5 * (whitened.square().sum(-1) + points.shape[-1] * _LOG_2_PI) - half_log_determinant
        skewed: Tensor = torch.special.log_ndtr((self.shape * centred / self.scale).sum(-1))
        density: Tensor = _LOG_2 + gaussian + skewed
        return density


def divergence(first: SkewNormal, second: SkewNormal) -> Tensor:
    """KL(first || second) [...] in nats, by two one-dimensional integrals whatever n is (rksa section 5 ii).

    Linear forms of a skew-normal are univariate skew-normals, and E[(Y - xi)(Y - xi)'] is Omega for every alpha, so
    only E[log Phi(...)] of each density is no polynomial in moments.
    """
    eta1, eta2 = first.shape / first.scale, second.shape / second.scale
    apart = first.location - second.location
    pull = MEAN_OF_HALF_NORMAL * first.scale * first.skewness
    factor1, factor2 = torch.linalg.cholesky(first.covariance), torch.linalg.cholesky(second.covariance)
    logs = [factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) for factor in (factor1, factor2)]
    ratio = torch.linalg.solve_triangular(factor2, factor1, upper=False)
    moved, pulled = (
        torch.linalg.solve_triangular(factor2, part.unsqueeze(-1), upper=False).squeeze(-1) for part in (apart, pull)
    )
    gaussian = (logs[1] - logs[0] + 0.5 * (ratio.square().sum((-2, -1)) - apart.shape[-1] + moved.square().sum(-1))) + (
        moved * pulled
    ).sum(-1)
    spread1 = _norm(eta1, first.covariance)
    spread2 = _norm(eta2, first.covariance)
    inner = (eta2.unsqueeze(-2) @ first.covariance @ eta1.unsqueeze(-1))[..., 0, 0]
    correlation = inner / (_positive(spread2) * (1 + spread1.square()).sqrt())
    slant = correlation / _positive(1 - correlation.square()).sqrt()
    own = expected_log_ndtr(torch.zeros_like(spread1), spread1, spread1)
    other = expected_log_ndtr((eta2 * apart).sum(-1), spread2, slant)
    total: Tensor = gaussian + own - other
    return total


def _norm(vector: Tensor, covariance: Tensor) -> Tensor:
    return (vector.unsqueeze(-2) @ covariance @ vector.unsqueeze(-1))[..., 0, 0].sqrt()


def _positive(values: Tensor) -> Tensor:
    return values.clamp_min(torch.finfo(values.dtype).tiny)


def expected_log_ndtr(location: Tensor, scale: Tensor, slant: Tensor) -> Tensor:
    """E[ln(2 Phi(location + scale U))], U univariate skew-normal with shape `slant`; all arguments [...].

    Gauss-Legendre by pieces: the integrand bends at 0, where a steep `slant` switches the density on, and at
    -location / scale, where Phi leaves its tail.
    """
    bend = (-location / _positive(scale)).clamp(-_REACH, _REACH)
    ends = torch.stack([torch.zeros_like(bend), bend], -1).sort(-1).values
    low, high = torch.full_like(bend, -_REACH), torch.full_like(bend, _REACH)

    def integrand(u: Tensor) -> Tensor:
        log_density = _LOG_2 - 0.5 * (u.square() + _LOG_2_PI) + torch.special.log_ndtr(slant.unsqueeze(-1) * u)
        value = _LOG_2 + torch.special.log_ndtr(location.unsqueeze(-1) + scale.unsqueeze(-1) * u)
        weighted: Tensor = log_density.exp() * value
        return weighted

    pieces = ((low, ends[..., 0]), (ends[..., 0], ends[..., 1]), (ends[..., 1], high))
    return sum((_integral(integrand, start, end) for start, end in pieces), torch.zeros_like(bend))


def _integral(integrand: Callable[[Tensor], Tensor], start: Tensor, end: Tensor) -> Tensor:
    nodes, weights = (torch.from_numpy(values).to(start) for values in _GAUSS_LEGENDRE)
    half = (end - start) / 2
    points = (start + end).unsqueeze(-1) / 2 + half.unsqueeze(-1) * nodes
    return half * (integrand(points) * weights).sum(-1)
