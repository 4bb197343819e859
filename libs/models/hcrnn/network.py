"""HCRNN: hierarchical context recurrent network (Song, Jang, Shin, Park, Moon: AAAI 2019, arXiv 1904.12674).

Three levels of interest: K global contexts and a mixture theta of them per sequence, a slow local context, a fast
temporary one. Item id 0 is padding everywhere.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from libs.models.hcrnn.cell import CellStates, DriftConstraint, HierarchicalCell, Version
from libs.models.hcrnn.readout import Attention, ReadOut
from libs.models.hcrnn.topics import TopicEncoder, running_bags, topic_noise
from libs.models.sequences.recurrent import item_table


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the network makes of sequences.

    Attributes:
        features: one per query, mapped to the width of an item, [B, q, d]; scores are its products with the items.
        states: of the cell, for explanations.
        theta: topic mixtures, [B, 1, K] (prefix mode) or [B, n, K] (causal).
        divergence: KL of each mixture's posterior from its prior, [B, 1] or [B, n].
        temporary_weights: [B, q, n], what each query read of the history.
        local_weights: [B, q, n] by local contexts, with bi-channel attention.
    """

    features: Tensor
    states: CellStates
    theta: Tensor
    divergence: Tensor
    temporary_weights: Tensor
    local_weights: Tensor | None


class HCRNN(nn.Module):
    """The network, in two exact forms.

    `encode_prefixes` reads each sequence once and answers at its end, with theta from its whole bag: the published
    form. `encode_causally` answers at every position in one pass, with theta from the items up to it; its answer at
    position t equals `encode_prefixes` of the first t items except that earlier steps saw earlier bags.

    Args:
        num_items: items without padding; ids are 1 to num_items.
        item_dim: d. hidden_dim: H. num_topics: K.
        input_dropout: of the bag and, with a mask of its own, of the inputs. output_dropout: of the feature.
        drift_constraint: how the drift matrix stays positive, see `HierarchicalCell`.

    Example:
        >>> network = HCRNN(1000)
        >>> read = network.encode_prefixes(torch.tensor([[3, 7, 0], [5, 1, 2]]), torch.tensor([2, 3]))
        >>> network.scores(read.features).shape  # [B, 1, num_items + 1]
        torch.Size([2, 1, 1001])
    """

    def __init__(
        self,
        num_items: int,
        item_dim: int = 100,
        hidden_dim: int = 100,
        num_topics: int = 50,
        *,
        version: Version = 3,
        attention: Attention = "bi",
        input_dropout: float = 0.25,
        output_dropout: float = 0.5,
        drift_constraint: DriftConstraint = "clip",
    ) -> None:
        super().__init__()
        self.items = item_table(num_items, item_dim)
        self.contexts = nn.Parameter(torch.empty(num_topics, item_dim))
        nn.init.xavier_uniform_(self.contexts)
        self.topics = TopicEncoder(item_dim, num_topics)
        self.cell = HierarchicalCell(item_dim, hidden_dim, version, drift_constraint)
        self.read_out = ReadOut(item_dim, hidden_dim, attention)
        self.input_dropout = nn.Dropout(input_dropout)
        self.bag_dropout = nn.Dropout(input_dropout)
        self.output_dropout = nn.Dropout(output_dropout)

    def encode_prefixes(self, items: Tensor, lengths: Tensor) -> Encoded:
        """One answer a sequence.

        Args:
            items: ids [B, n], right-padded with 0.
            lengths: [B], at least 1.
        """
        embedded = self.items(items)
        bag = running_bags(embedded, items)[:, -1:]
        return self._encode(embedded, lengths, bag, (lengths - 1).unsqueeze(1))

    def encode_causally(self, items: Tensor, lengths: Tensor, positions: Tensor | None = None) -> Encoded:
        """An answer at `positions` [B, q], else at every one; those behind a row's end mean nothing.

        Further arguments as `encode_prefixes`.
        """
        embedded = self.items(items)
        if positions is None:
            positions = torch.arange(items.shape[1], device=items.device).expand_as(items)
        return self._encode(embedded, lengths, running_bags(embedded, items), positions)

    def _encode(self, embedded: Tensor, lengths: Tensor, bag: Tensor, positions: Tensor) -> Encoded:
        noise = topic_noise(len(bag), self.contexts.shape[0], bag) if self.training else None
        theta, divergence = self.topics(self.bag_dropout(bag), noise)
        states = self.cell(self.input_dropout(embedded), lengths, theta, self.contexts)
        read, temporary_weights, local_weights = self.read_out(states.temporary, states.local, positions)
        features = self.read_out.to_item(self.output_dropout(read))
        return Encoded(features, states, theta, divergence, temporary_weights, local_weights)

    def scores(self, features: Tensor) -> Tensor:
        """Scores of all items, [..., num_items + 1]: products with the item table, padding's included."""
        return F.linear(features, self.items.weight)

    @torch.no_grad()
    def project(self) -> None:
        """Restore the constraint on the drift matrix; call after each optimiser step."""
        self.cell.project()
