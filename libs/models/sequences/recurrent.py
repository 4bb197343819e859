"""Recurrent next-item models: the baselines that HCRNN is measured against.

GRU4Rec (Hidasi et al., ICLR 2016) with full or sampled objectives, its item table tied to the output or not; NARM
(Li et al., CIKM 2017), a GRU whose states are read by additive attention. Sequences are right-padded with item 0.
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from libs.models.sequences.additive import AdditiveAttention
from libs.models.sequences.step import Features


class _Recurrent(nn.Module):
    """A next-item model whose features depend on the items alone."""

    outputs: nn.Embedding
    penalty_weights: Mapping[str, float] = MappingProxyType({})

    @property
    def item_vectors(self) -> Tensor:
        """What features are multiplied with, [num_items + 1, d]."""
        return self.outputs.weight

    def encode(self, items: Tensor, lengths: Tensor, users: Tensor) -> Features:
        """Features of ids [B, n]; padding stands behind them, and the state at a position knows nothing of it."""
        return Features(self(items))


class GRU4Rec(_Recurrent):
    """One GRU layer; its state scores the items.

    Args:
        num_items: items without padding.
        tied: scores are products with the embeddings of the input; else with a table of their own.
    """

    def __init__(self, num_items: int, width: int = 64, *, tied: bool = True, dropout: float = 0.25) -> None:
        super().__init__()
        self.items = item_table(num_items, width)
        self.outputs = self.items if tied else item_table(num_items, width)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = nn.GRU(width, width, batch_first=True)

    def forward(self, items: Tensor) -> Tensor:
        """Features [B, n, d] of ids [B, n], one a position."""
        states: Tensor = self.recurrent(self.dropout(self.items(items)))[0]
        features: Tensor = self.dropout(states)
        return features


class NARM(_Recurrent):
    """A GRU, an attention over its states, and a bilinear map to the item table."""

    def __init__(self, num_items: int, width: int = 64, *, dropout: float = 0.25, output_dropout: float = 0.5) -> None:
        super().__init__()
        self.items = item_table(num_items, width)
        self.outputs = self.items
        self.dropout = nn.Dropout(dropout)
        self.recurrent = nn.GRU(width, width, batch_first=True)
        self.attention = AdditiveAttention(width)
        self.output_dropout = nn.Dropout(output_dropout)
        self.to_item = nn.Linear(2 * width, width, bias=False)

    def forward(self, items: Tensor) -> Tensor:
        """Features [B, n, d] of ids [B, n], one a position."""
        states: Tensor = self.recurrent(self.dropout(self.items(items)))[0]
        positions = torch.arange(items.shape[1], device=items.device).expand_as(items)
        read = self.attention(states, positions) @ states
        features: Tensor = self.to_item(self.output_dropout(torch.cat([states, read], -1)))
        return features


def item_table(num_items: int, width: int) -> nn.Embedding:
    """Embeddings of items, N(0, 0.1), row 0 zero."""
    table = nn.Embedding(num_items + 1, width, padding_idx=0)
    with torch.no_grad():
        table.weight.normal_(std=0.1)
        table.weight[0] = 0
    return table
