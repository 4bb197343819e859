"""What a next-item model is trained on: one positive item a position, and what it is told apart from.

All take features [T, d] of the T positions that count, the item table [I, d] with padding in row 0, and the positive
items [T]; all are means over the positions, in at least float32.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from libs.training.objective import at_least_float32

_MOST_SCORES = {"cpu": 1 << 19}
_MOST_SCORES_ELSEWHERE = 1 << 26
"""Of one block of positions: on a CPU what stays in its cache."""


def softmax_loss(features: Tensor, items: Tensor, positives: Tensor) -> Tensor:
    """Cross-entropy over all items, padding left out.

    In blocks of positions, whose gradients are made while their scores are at hand: scores of all positions would be
    the largest tensor of a training, and going over it again and again most of a step.
    """
    loss: Tensor = _SoftmaxLoss.apply(features, items, positives)
    return loss


class _SoftmaxLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, items: Tensor, positives: Tensor) -> Tensor:
        wanted = any(ctx.needs_input_grad)
        size = max(1, _MOST_SCORES.get(features.device.type, _MOST_SCORES_ELSEWHERE) // len(items))
        parts = zip(torch.split(features, size), torch.split(positives.unsqueeze(1), size), strict=True)
        losses, of_features, of_items = [], [], torch.zeros_like(items)
        for some, chosen in parts:
            scores = at_least_float32(some @ items.T)
            scores[:, 0] = -math.inf
            top = scores.amax(1, keepdim=True)
            target = scores.gather(1, chosen)
            total = scores.sub_(top).exp_().sum(1, keepdim=True)
            losses.append((total.log() + top - target).sum())
            if wanted:
                slope = scores.div_(total).scatter_add_(1, chosen, -torch.ones_like(target)).to(some.dtype)
                of_features.append(slope @ items)
                of_items += slope.T @ some
        if wanted:
            ctx.save_for_backward(torch.cat(of_features).to(features.dtype), of_items)
        return torch.stack(losses).sum() / len(features)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        of_features, of_items = ctx.saved_tensors
        share = gradient / len(of_features)
        return of_features * share.to(of_features.dtype), of_items * share.to(of_items.dtype), None


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
    is sampled. t = 0 is BCE that weighs the positive and each negative alike (`sampled_bce_loss` weighs it as all
    negatives together); t = 1 makes the probabilities calibrated.

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
