"""How far the latent logits are from independent ones of a given spread: a divergence for every row, at little cost.

KL( row t of the skew-normal || N(xi_t, s^2 I) ) over the keys 1..t, the prior being at the row's own location. It is
`libs.models.rksa.skew_normal.divergence` with equal locations and a Gaussian second, where all that is left is

    sum_j [ ln(s / omega_tj) + (omega_tj^2 / s^2 - 1) / 2 ] - 1/2 ln |K_1..t| + negentropy(alpha_t' K alpha_t)

Determinants of all prefixes come from the diagonal of one Cholesky factor a sequence, in time order: n^3 / 3
operations, also in the low-rank form, where a determinant lemma would take R^2 for each of the n rows and be no
cheaper up to n = 3 R. Of the two integrals of the general form one is 0 and the other depends on one number a row.
"""

import math

import numpy as np
import torch
from torch import Tensor

from libs.models.rksa.attention import safe_sqrt, stable_cholesky
from libs.training.objective import at_least_float32

OWN_SHARE = 1e-3
"""Of a key's variance that no other key shares, at least: a key that came before would have no density else."""

_LOG_2 = math.log(2)
_GAUSS_LEGENDRE = np.polynomial.legendre.leggauss(32)
_REACH = 9.0


def row_divergence(scale: Tensor, shape: Tensor, correlation: Tensor, prior_scale: float) -> Tensor:
    """The divergence of each row, in nats, [..., n].

    Args:
        scale: omega [..., n, n]; keys after the row are not read.
        shape: alpha [..., n, n], 0 for keys after the row.
        correlation: K [..., n, n], unit diagonal. Read as (1 - e) K + e I, e = `OWN_SHARE`.
        prior_scale: s, above 0.
    """
    scale, shape = at_least_float32(scale), at_least_float32(shape)
    own = OWN_SHARE * torch.eye(correlation.shape[-1], dtype=correlation.dtype, device=correlation.device)
    correlation = (1 - OWN_SHARE) * correlation + own
    relative = scale / prior_scale
    of_scales = (0.5 * (relative.square() - 1) - relative.log()).tril().sum(-1)
    log_pivots = stable_cholesky(correlation).diagonal(dim1=-2, dim2=-1).log()
    steepness = ((shape @ correlation) * shape).sum(-1)
    return of_scales - log_pivots.cumsum(-1) + negentropy(steepness)


def negentropy(steepness: Tensor) -> Tensor:
    """E[ln 2 Phi(t U)] of a skew-normal U with shape t, by t^2 [...]: 0 without skew, below ln 2, in nats.

    With v = u sqrt(1 + t^2) it is ln 2 less the integral over v > 0 of the density times the entropy of a coin with
    chance Phi(t u), and the integrand is smooth for every t: 32 nodes reach 1e-13.
    """
    nodes, weights = (torch.from_numpy(values).to(steepness) for values in _GAUSS_LEGENDRE)
    v = 0.5 * _REACH * (nodes + 1)
    stretch = 1 + steepness.clamp_min(0)
    slope = safe_sqrt(steepness.clamp_min(0) / stretch).unsqueeze(-1)
    narrowed = torch.exp(-0.5 * v.square() / stretch.unsqueeze(-1)) / stretch.sqrt().unsqueeze(-1)
    density = math.sqrt(2 / math.pi) * narrowed
    chance, other = (torch.special.log_ndtr(side * slope * v) for side in (1, -1))
    coin = -(chance.exp() * chance + other.exp() * other)
    found: Tensor = _LOG_2 - 0.5 * _REACH * (density * coin * weights).sum(-1)
    return found
