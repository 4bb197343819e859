"""What a trained model has to beat: popularity, and item-kNN. Neither learns anything; both are hard to beat.

They are ranked by the same code on the same windows with the same candidates as a model.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from libs.data.events.cooccurrence import training_items
from libs.data.events.store import EventStore
from libs.data.events.windows import SequenceBatch, Split
from libs.models.sequences.config import SequenceTrainingConfig
from libs.models.sequences.evaluation import Ranked, RankingMeasurer, Score, Scorer

NEIGHBOURS = 100
SHRINKAGE = 20.0
"""Both defaults of the item-kNN that GRU4Rec was measured against (Hidasi et al., ICLR 2016; its public code)."""

_MOST_PRODUCTS = 1 << 24
"""Pairs of events of one user that one block of the co-occurrence counts."""


def measure_baselines(
    events: EventStore, config: SequenceTrainingConfig, split: Split, device: str
) -> dict[str, Ranked]:
    """`popularity` and `item-knn` on a split, by name; empty when it holds no target."""
    measurer = RankingMeasurer(events, split, config, device)
    if not len(measurer.windows):
        return {}
    scorers: dict[str, Scorer] = {
        "popularity": PopularityScorer(torch.from_numpy(events.training_counts()), device),
        "item-knn": ItemKnnScorer(item_neighbours(events), device),
    }
    return {name: measurer(scorer) for name, scorer in scorers.items()}


class PopularityScorer:
    """Every item's training events, whatever the history."""

    rows = None

    def __init__(self, counts: Tensor, device: str) -> None:
        self.counts = counts.float().to(device)

    def begin(self, batch: SequenceBatch) -> Score:
        """The same row for every position."""
        return lambda rows, places: self.counts.expand(len(rows), -1)


@dataclass(frozen=True, slots=True)
class ItemNeighbours:
    """The items most similar to each.

    Attributes:
        items: [I + 1, k] int32; 0 where there are fewer.
        similarities: [I + 1, k] float32; 0 there.
    """

    items: NDArray[np.int32]
    similarities: NDArray[np.float32]


class ItemKnnScorer:
    """The sum of an item's similarities to all items of the history, as far as these have it among their neighbours."""

    rows = None

    def __init__(self, neighbours: ItemNeighbours, device: str) -> None:
        self.items = torch.from_numpy(neighbours.items).to(device)
        self.similarities = torch.from_numpy(neighbours.similarities).to(device)

    def begin(self, batch: SequenceBatch) -> Score:
        """Scores of histories up to each position."""
        inputs = torch.from_numpy(batch.inputs).to(self.items.device)
        places_of = torch.arange(inputs.shape[1], device=inputs.device)

        def score(rows: NDArray[np.int64], places: NDArray[np.int64]) -> Tensor:
            until = torch.from_numpy(places).to(inputs.device)
            scores = self.similarities.new_zeros(len(rows), len(self.items))
            for begin in range(0, inputs.shape[1], _HISTORY_AT_A_TIME):
                part = slice(begin, begin + _HISTORY_AT_A_TIME)
                history = inputs[rows, part].masked_fill(places_of[part] > until[:, None], 0)
                near = self.items[history].flatten(1).long()
                scores.scatter_add_(1, near, self.similarities[history].flatten(1))
            return scores

        return score


_HISTORY_AT_A_TIME = 8


def item_neighbours(events: EventStore, count: int = NEIGHBOURS, shrinkage: float = SHRINKAGE) -> ItemNeighbours:
    """The `count` items most similar to each by s_ij = N_ij / sqrt((N_i + shrinkage) (N_j + shrinkage)).

    N_ij is the number of users with both in training, N_i with i: a cosine that shrinks where there is little evidence.
    Items are taken in blocks, so that no table of items by items is ever whole.
    """
    users_items = _training_incidence(events)
    items_users = users_items.T.tocsr()
    supports = np.diff(items_users.indptr)
    scale = 1 / np.sqrt(supports + shrinkage) if shrinkage else 1 / np.sqrt(np.maximum(supports, 1))
    shape = (events.num_items + 1, count)
    items, similarities = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    for block in _item_blocks(users_items, items_users):
        together = items_users[block] @ users_items
        _keep_best(together, block.start, scale, items[block], similarities[block])
    return ItemNeighbours(items, similarities)


def _training_incidence(events: EventStore) -> csr_array:
    """Which user met which item in training, users by items, 1 or 0."""
    sets = training_items(events)
    shape = (events.num_users, events.num_items + 1)
    return csr_array((np.ones(len(sets.items), np.float32), sets.items, sets.offsets), shape=shape)


def _item_blocks(users_items: csr_array, items_users: csr_array) -> Iterator[slice]:
    """Consecutive items that take about `_MOST_PRODUCTS` additions together; at least one."""
    lengths = np.diff(users_items.indptr)
    work = np.concatenate([[0], np.cumsum(lengths[items_users.indices])])[items_users.indptr]
    begin, items = 0, len(work) - 1
    while begin < items:
        end = int(np.searchsorted(work, work[begin] + _MOST_PRODUCTS, side="right")) - 1
        end = min(max(end, begin + 1), items)
        yield slice(begin, end)
        begin = end


def _keep_best(
    together: csr_array,
    first: int,
    scale: NDArray[np.float64],
    items: NDArray[np.int32],
    similarities: NDArray[np.float32],
) -> None:
    """Write the most similar items of each row of counts into its rows; equal ones by the smaller number."""
    together.sort_indices()
    rows = np.repeat(np.arange(together.shape[0]), np.diff(together.indptr))
    values = (together.data * scale[rows + first] * scale[together.indices]).astype(np.float32)
    other = together.indices != rows + first
    rows, columns, values = rows[other], together.indices[other], values[other]
    # the bits of positive floats rise with them, so one integer holds row and falling similarity
    order = np.argsort((rows.astype(np.int64) << 32) - values.view(np.int32), kind="stable")
    rows, columns, values = rows[order], columns[order], values[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = place < items.shape[1]
    items[rows[kept], place[kept]] = columns[kept]
    similarities[rows[kept], place[kept]] = values[kept]
