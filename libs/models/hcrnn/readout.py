"""From the states of a sequence to what the next item is scored by: attention over temporary and local contexts."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from libs.models.sequences.additive import AdditiveAttention, causal_softmax, take

Attention = Literal["single", "bi"]


class ReadOut(nn.Module):
    """Attention read-out, at the last position or at every one.

    Temporary channel: w_i = softmax_i(v . sigma(A_key h_i + A_query h_t)), p_T = sum_i w_i h_i.
    Local channel (bi): w'_i = softmax_i((G_key c_i) . (G_query c_t) / sqrt(d)), p_L = sum_i w'_i h_i.
    Feature: [p_T; h_t], or [p_L; p_T; h_t], mapped to the width of an item.
    """

    def __init__(self, item_dim: int, hidden_dim: int, attention: Attention = "bi") -> None:
        super().__init__()
        self.attention = attention
        self.temporary = AdditiveAttention(hidden_dim)
        self.local_key = nn.Linear(item_dim, hidden_dim, bias=False) if attention == "bi" else None
        self.local_query = nn.Linear(item_dim, hidden_dim, bias=False) if attention == "bi" else None
        parts = 3 if attention == "bi" else 2
        self.to_item = nn.Linear(parts * hidden_dim, item_dim, bias=False)
        self.scale = 1 / math.sqrt(item_dim)
        for module in (self.local_key, self.local_query, self.to_item):
            if module is not None:
                nn.init.xavier_uniform_(module.weight)

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
        here = take(temporary, positions)
        temporary_weights = self.temporary(temporary, positions)
        read = temporary_weights @ temporary
        if self.local_key is None or self.local_query is None:
            return torch.cat([read, here], -1), temporary_weights, None
        query = self.local_query(take(local, positions))
        scores = (query @ self.local_key(local).transpose(1, 2)) * self.scale
        local_weights = causal_softmax(scores, positions)
        return torch.cat([local_weights @ temporary, read, here], -1), temporary_weights, local_weights
