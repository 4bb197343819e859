"""What a next-item model is trained on: one positive item a position, and what it is told apart from.

All take features [T, d] of the T positions that count, the item table [I, d] with padding in row 0, and the positive
items [T]; all are means over the positions, in at least float32.
"""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from libs.training.objective import at_least_float32

Objective = Literal["softmax", "bce", "gbce", "bpr"]


def softmax_loss(features: Tensor, items: Tensor, positives: Tensor) -> Tensor:
    """Cross-entropy over all items, padding left out."""
    scores = at_least_float32(features @ items.T)
    scores[:, 0] = -math.inf
    return F.cross_entropy(scores, positives)


def sampled_bce_loss(features: Tensor, items: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """-ln sigma(s+) - mean over negatives of ln sigma(-s-): SASRec's objective, with one negative or more.

    Args:
        negatives: [T, m].
    """
    positive, negative = _scores(features, items, positives, negatives)
    return (F.softplus(-positive) + F.softplus(negative).mean(1)).mean()


def gbce_loss(features: Tensor, items: Tensor, positives: Tensor, negatives: Tensor, calibration: float) -> Tensor:
    """Generalised BCE (Petrov and Macdonald, RecSys 2023), which takes back the overconfidence of sampling.

    The positive's probability is raised to beta = a (t (1 - 1/a) + 1/a), a = m / (items - 1) the share of items that
    is sampled: t = 0 is plain BCE, t = 1 makes the probabilities calibrated.

    Args:
        negatives: [T, m], drawn uniformly.
        calibration: t, 0 to 1.
    """
    positive, negative = _scores(features, items, positives, negatives)
    rate = min(1.0, negatives.shape[1] / max(1, len(items) - 2))
    power = rate * (calibration * (1 - 1 / rate) + 1 / rate)
    total = power * F.softplus(-positive) + F.softplus(negative).sum(1)
    return (total / (1 + negatives.shape[1])).mean()


def bpr_loss(features: Tensor, items: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """-ln sigma(s+ - s-), the mean over negatives: BPR-Opt without its prior (Rendle et al., UAI 2009, section 4.1).

    Args:
        negatives: [T, m].
    """
    positive, negative = _scores(features, items, positives, negatives)
    return F.softplus(negative - positive.unsqueeze(1)).mean()


def uniform_negatives(
    positives: Tensor, num_items: int, count: int, generator: torch.Generator | None = None
) -> Tensor:
    """`count` items for each of `positives` [T], uniform over 1 to num_items but the positive itself; [T, count]."""
    drawn = torch.randint(1, num_items, (len(positives), count), generator=generator, device=positives.device)
    return drawn + (drawn >= positives.unsqueeze(1))


def _scores(features: Tensor, items: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
    chosen = F.embedding(torch.cat([positives.unsqueeze(1), negatives], 1), items)
    scores = at_least_float32((chosen @ features.unsqueeze(-1)).squeeze(-1))
    return scores[:, 0], scores[:, 1:]
