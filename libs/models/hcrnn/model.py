"""HCRNN as a next-item model that the shared training takes."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from libs.models.hcrnn.network import HCRNN
from libs.models.sequences.step import Features


class HcrnnModel(nn.Module):
    """Causal training: an answer at every position in one pass (hcrnn section 8 g).

    Args:
        divergence_weight: lambda of the topic posterior's KL.
    """

    def __init__(self, network: HCRNN, divergence_weight: float = 1e-3) -> None:
        super().__init__()
        self.network = network
        self.penalty_weights: Mapping[str, float] = {"topic_divergence": divergence_weight}

    @property
    def item_vectors(self) -> Tensor:
        """The item table, tied."""
        return self.network.items.weight

    def encode(self, items: Tensor, lengths: Tensor, users: Tensor) -> Features:
        """Features at every position; the KL is the mean over positions that are no padding."""
        encoded = self.network.encode_causally(items, lengths)
        real = torch.arange(items.shape[1], device=items.device) < lengths.unsqueeze(1)
        return Features(encoded.features, {"topic_divergence": encoded.divergence[real].mean()})
