"""Recurrent next-item models: the baselines that HCRNN is measured against.

GRU4Rec (Hidasi et al., ICLR 2016) with full or sampled objectives, its item table tied to the output or not; NARM
(Li et al., CIKM 2017), a GRU whose states are read by additive attention. Sequences are right-padded with item 0.
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from libs.models.sequences.additive import AdditiveAttention, take
from libs.models.sequences.ends import EndReader, GruEnds
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


class OneLayerGru(nn.GRU):
    """One layer from inputs [B, n, d] to states [B, n, d]; in a graph, the one operator that ONNX has for it.

    The exporter's own translation now and then fixes the number of events.
    """

    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(width, width, batch_first=True)

    def forward(self, inputs: Tensor) -> Tensor:  # type: ignore[override]
        """States of all positions."""
        if torch.compiler.is_exporting():
            return self._as_operator(inputs)
        states: Tensor = super().forward(inputs)[0]
        return states

    def _as_operator(self, inputs: Tensor) -> Tensor:
        """ONNX orders the gates update, reset, candidate; torch reset, update, candidate."""
        width = self.hidden_size
        order = torch.cat([torch.arange(width, 2 * width), torch.arange(width), torch.arange(2 * width, 3 * width)])
        weights = (self.weight_ih_l0[order].unsqueeze(0), self.weight_hh_l0[order].unsqueeze(0))
        bias = torch.cat([self.bias_ih_l0[order], self.bias_hh_l0[order]]).unsqueeze(0)
        states = torch.onnx.ops.symbolic(
            "GRU",
            (inputs.transpose(0, 1), *weights, bias),
            {"hidden_size": width, "linear_before_reset": 1},
            dtype=inputs.dtype,
            shape=(inputs.shape[1], 1, inputs.shape[0], width),
            version=18,
        )
        return states.squeeze(1).transpose(0, 1)


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
        self.recurrent = OneLayerGru(width)

    def forward(self, items: Tensor) -> Tensor:
        """Features [B, n, d] of ids [B, n], one a position."""
        states: Tensor = self.recurrent(self.dropout(self.items(items)))
        features: Tensor = self.dropout(states)
        return features

    def ends(self) -> EndReader:
        """`GruEnds` of the weights of now."""
        gru = self.recurrent
        return GruEnds(self.items.weight, gru.weight_ih_l0, gru.weight_hh_l0, gru.bias_ih_l0, gru.bias_hh_l0)


class NARM(_Recurrent):
    """A GRU, an attention over its states, and a bilinear map to the item table."""

    def __init__(self, num_items: int, width: int = 64, *, dropout: float = 0.25, output_dropout: float = 0.5) -> None:
        super().__init__()
        self.items = item_table(num_items, width)
        self.outputs = self.items
        self.dropout = nn.Dropout(dropout)
        self.recurrent = OneLayerGru(width)
        self.attention = AdditiveAttention(width)
        self.output_dropout = nn.Dropout(output_dropout)
        self.to_item = nn.Linear(2 * width, width, bias=False)

    def forward(self, items: Tensor) -> Tensor:
        """Features [B, n, d] of ids [B, n], one a position."""
        return self.read(items, torch.arange(items.shape[1], device=items.device).expand_as(items))[0]

    def read(self, items: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, q, d] at `positions` [B, q] of ids [B, n], and the weights [B, q, n] of what they read."""
        states: Tensor = self.recurrent(self.dropout(self.items(items)))
        weights = self.attention(states, positions)
        features = self.to_item(self.output_dropout(torch.cat([take(states, positions), weights @ states], -1)))
        return features, weights


def item_table(num_items: int, width: int) -> nn.Embedding:
    """Embeddings of items, N(0, 0.1), row 0 zero."""
    table = nn.Embedding(num_items + 1, width, padding_idx=0)
    with torch.no_grad():
        table.weight.normal_(std=0.1)
        table.weight[0] = 0
    return table
