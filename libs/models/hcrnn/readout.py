"""From the states of a sequence to what the next item is scored by: attention over temporary and local contexts."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from libs.models.hcrnn.topics import glorot_

Attention = Literal["single", "bi"]
_MOST_ELEMENTS = 1 << 24
"""Of one block of additive scores, [B, queries, n, H]."""


class ReadOut(nn.Module):
    """Attention read-out, at the last position or at every one.

    Temporary channel: w_i = softmax_i(v . sigma(A_key h_i + A_query h_t)), p_T = sum_i w_i h_i.
    Local channel (bi): w'_i = softmax_i((G_key c_i) . (G_query c_t) / sqrt(d)), p_L = sum_i w'_i h_i.
    Feature: [p_T; h_t], or [p_L; p_T; h_t], mapped to the width of an item.
    """

    def __init__(self, item_dim: int, hidden_dim: int, attention: Attention = "bi") -> None:
        super().__init__()
        self.attention = attention
        self.temporary_key = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.temporary_query = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.temporary_score = nn.Parameter(torch.empty(hidden_dim))
        self.local_key = nn.Linear(item_dim, hidden_dim, bias=False) if attention == "bi" else None
        self.local_query = nn.Linear(item_dim, hidden_dim, bias=False) if attention == "bi" else None
        parts = 3 if attention == "bi" else 2
        self.to_item = nn.Linear(parts * hidden_dim, item_dim, bias=False)
        self.scale = 1 / math.sqrt(item_dim)
        with torch.no_grad():
            for module in self.children():
                assert isinstance(module, nn.Linear)
                glorot_(module.weight)
            glorot_(self.temporary_score.unsqueeze(0))

    def forward(self, temporary: Tensor, local: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Read at `positions`, each seeing itself and what came before.

        Args:
            temporary: h [B, n, H].
            local: c [B, n, d].
            positions: 0-based places of the queries, [B, q].

        Returns:
            feature before `to_item` [B, q, 2H or 3H]; weights of the temporary channel [B, q, n]; of the local
            channel, if there is one.
        """
        visible = torch.arange(temporary.shape[1], device=positions.device) <= positions.unsqueeze(-1)
        here = _take(temporary, positions)
        temporary_weights = self._temporary_weights(self.temporary_key(temporary), self.temporary_query(here), visible)
        read = temporary_weights @ temporary
        if self.local_key is None or self.local_query is None:
            return torch.cat([read, here], -1), temporary_weights, None
        query = self.local_query(_take(local, positions))
        scores = (query @ self.local_key(local).transpose(1, 2)) * self.scale
        local_weights = torch.softmax(scores.masked_fill(~visible, -math.inf), -1)
        return torch.cat([local_weights @ temporary, read, here], -1), temporary_weights, local_weights

    def _temporary_weights(self, keys: Tensor, queries: Tensor, visible: Tensor) -> Tensor:
        """Additive scores in blocks of queries: [B, q, n, H] at once would be the largest tensor of the model."""
        block = max(1, _MOST_ELEMENTS // keys.numel())
        scores = [
            torch.sigmoid(keys.unsqueeze(1) + some.unsqueeze(2)) @ self.temporary_score
            for some in torch.split(queries, block, 1)
        ]
        return torch.softmax(torch.cat(scores, 1).masked_fill(~visible, -math.inf), -1)


def _take(states: Tensor, positions: Tensor) -> Tensor:
    """Rows [B, q, *] of states [B, n, *]."""
    return states.gather(1, positions.unsqueeze(-1).expand(-1, -1, states.shape[-1]))
