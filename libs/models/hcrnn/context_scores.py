"""Scores of the global contexts, whose large tensor [B, K, H] is made in blocks of rows and never kept.

The backward pass makes it again, which costs less than to write and read it whole.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_CACHED_ELEMENTS = 1 << 18
"""Of one block on a CPU: what is done to it then happens within the processor's cache."""


class _ContextScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, theta: Tensor, keys: Tensor, query: Tensor, score: Tensor) -> Tensor:
        ctx.save_for_backward(theta, keys, query, score)
        return _scores(theta, keys, query, score)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """With a the agreement, g the gradient: sums of g a (1 - a) over each of b, k and h; v outside where it can."""
        theta, keys, query, score = ctx.saved_tensors
        of_theta, of_query = torch.empty_like(theta), torch.empty_like(query)
        of_keys, of_score = torch.zeros_like(keys), torch.zeros_like(score)
        weighted_keys = keys * score
        for block in _blocks(query, len(keys)):
            agreement = _agreement(theta[block], keys, query[block])
            some = gradient[block]
            of_score += some.flatten() @ agreement.flatten(0, 1)
            slope = torch.addcmul(agreement, agreement, agreement, value=-1)
            of_query[block] = (some.unsqueeze(1) @ slope).squeeze(1)
            torch.mul(slope, (some * theta[block]).unsqueeze(-1), out=agreement)
            of_keys += agreement.sum(0)
            of_theta[block] = slope.mul_(weighted_keys).sum(-1)
        return of_theta.mul_(gradient), of_keys.mul_(score), of_query.mul_(score), of_score


def context_scores(theta: Tensor, keys: Tensor, query: Tensor, score: Tensor) -> Tensor:
    """q_k = v . sigma(theta_k keys_k + query), [B, K].

    Args:
        theta: [B, K]. keys: M Wa_topic, [K, H]. query: [B, H]. score: v [H].
    """
    if torch.compiler.is_exporting():
        return _agreement(theta, keys, query) @ score
    found: Tensor = _ContextScores.apply(theta, keys, query, score)
    return found


def _scores(theta: Tensor, keys: Tensor, query: Tensor, score: Tensor) -> Tensor:
    blocks = _blocks(query, len(keys))
    return torch.cat([_agreement(theta[block], keys, query[block]) @ score for block in blocks])


def _agreement(theta: Tensor, keys: Tensor, query: Tensor) -> Tensor:
    return torch.addcmul(query.unsqueeze(1), theta.unsqueeze(-1), keys).sigmoid_()


def _blocks(query: Tensor, contexts: int) -> list[slice]:
    """Blocks of rows; on a GPU, all of them."""
    rows = len(query) if query.is_cuda else max(1, _CACHED_ELEMENTS // (contexts * query.shape[1]))
    return [slice(begin, begin + rows) for begin in range(0, len(query), rows)]
