"""HCRNN as a next-item model that the shared training takes."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from libs.models.hcrnn.ends import HcrnnEnds
from libs.models.hcrnn.network import HCRNN
from libs.models.sequences.ends import EndReader
from libs.models.sequences.step import Features
from libs.training.session import Phases

TrainMode = Literal["prefix", "causal"]


class HcrnnModel(nn.Module):
    """HCRNN and how it reads histories.

    Args:
        divergence_weight: lambda of the topic posterior's KL.
        train_mode: causal answers at every position in one pass; prefix, the published form, at the last one alone, and
            its windows have their one target there.
    """

    def __init__(self, network: HCRNN, divergence_weight: float = 1e-3, train_mode: TrainMode = "causal") -> None:
        super().__init__()
        self.network = network
        self.train_mode = train_mode
        self.penalty_weights: Mapping[str, float] = {"topic_divergence": divergence_weight}

    @property
    def item_vectors(self) -> Tensor:
        """The item table, tied."""
        return self.network.items.weight

    def encode(self, items: Tensor, lengths: Tensor, users: Tensor) -> Features:
        """Features at every position (prefix: the last one's everywhere); the KL is the mean over mixtures in use."""
        if self.train_mode == "prefix":
            whole = self.network.encode_prefixes(items, lengths)
            features = whole.features.expand(-1, items.shape[1], -1)
            return Features(features, {"topic_divergence": whole.divergence.mean()})
        encoded = self.network.encode_causally(items, lengths)
        real = torch.arange(items.shape[1], device=items.device) < lengths.unsqueeze(1)
        return Features(encoded.features, {"topic_divergence": encoded.divergence[real].mean()})

    def ends(self) -> EndReader:
        """`HcrnnEnds` of the weights of now."""
        return HcrnnEnds(self.network, causal=self.train_mode == "causal")

    def two_phases(self) -> Phases:
        """The topic encoder first, then everything else, items and global contexts included, as published."""
        first = list(self.network.topics.parameters())
        return [first, [parameter for parameter in self.parameters() if parameter not in set(first)]]
