"""Additive attention over a history, at chosen positions, each seeing itself and what came before."""

import math

import torch
from torch import Tensor, nn

_MOST_ELEMENTS = 1 << 24
"""Of one block of scores before their reduction, [B, queries, n, H]."""


class AdditiveAttention(nn.Module):
    """w_i = softmax_i(v . sigma(A_key h_i + A_query h_t)), with a logistic inside, as NARM and HCRNN have it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.key = nn.Linear(width, width, bias=False)
        self.query = nn.Linear(width, width, bias=False)
        self.score = nn.Parameter(torch.empty(width))
        nn.init.xavier_uniform_(self.key.weight)
        nn.init.xavier_uniform_(self.query.weight)
        nn.init.xavier_uniform_(self.score.unsqueeze(0))

    def forward(self, states: Tensor, positions: Tensor) -> Tensor:
        """Weights [B, q, n] of the queries at `positions` [B, q] over states [B, n, H].

        In blocks of queries: all at once would be the largest tensor of a model.
        """
        keys, queries = self.key(states), self.query(take(states, positions))
        if positions.shape[1] == 1:
            return causal_softmax(torch.sigmoid(keys + queries).unsqueeze(1) @ self.score, positions)
        block = max(1, _MOST_ELEMENTS // max(1, keys.numel()))
        scores = [
            torch.sigmoid(keys.unsqueeze(1) + some.unsqueeze(2)) @ self.score for some in torch.split(queries, block, 1)
        ]
        return causal_softmax(torch.cat(scores, 1), positions)


def causal_softmax(scores: Tensor, positions: Tensor) -> Tensor:
    """Softmax of scores [B, q, n] over the places up to each query's own, `positions` [B, q]."""
    visible = torch.arange(scores.shape[-1], device=positions.device) <= positions.unsqueeze(-1)
    return torch.softmax(scores.masked_fill(~visible, -math.inf), -1)


def take(states: Tensor, positions: Tensor) -> Tensor:
    """Rows [B, q, *] of states [B, n, *]."""
    return states.gather(1, positions.unsqueeze(-1).expand(-1, -1, states.shape[-1]))
