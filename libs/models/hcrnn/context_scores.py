"""Scores of the global contexts, with a backward pass that goes over the large tensor [B, K, H] as seldom as it can."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _ContextScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, theta: Tensor, keys: Tensor, query: Tensor, score: Tensor) -> Tensor:
        agreement = _agreement(theta, keys, query)
        ctx.save_for_backward(agreement, theta, keys, score)
        return agreement @ score

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        agreement, theta, keys, score = ctx.saved_tensors
        of_score = gradient.flatten() @ agreement.flatten(0, 1)
        slope = torch.addcmul(agreement, agreement, agreement, value=-1).mul_(score).mul_(gradient.unsqueeze(-1))
        by_context = slope.transpose(0, 1)
        of_theta = (by_context @ keys.unsqueeze(-1)).squeeze(-1).T
        of_keys = (theta.T.unsqueeze(1) @ by_context).squeeze(1)
        return of_theta, of_keys, slope.sum(1), of_score


def context_scores(theta: Tensor, keys: Tensor, query: Tensor, score: Tensor) -> Tensor:
    """q_k = v . sigma(theta_k keys_k + query), [B, K].

    Args:
        theta: [B, K]. keys: M Wa_topic, [K, H]. query: [B, H]. score: v [H].
    """
    if not torch.is_grad_enabled():
        return _agreement(theta, keys, query) @ score
    found: Tensor = _ContextScores.apply(theta, keys, query, score)
    return found


def _agreement(theta: Tensor, keys: Tensor, query: Tensor) -> Tensor:
    return torch.addcmul(query.unsqueeze(1), theta.unsqueeze(-1), keys).sigmoid_()
