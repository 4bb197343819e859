"""Measuring next-item models by their full ranking: every target of a split against every item."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from libs.data.events.store import EventStore
from libs.data.events.windows import SequenceBatch, Split, Windows, batches, read, windows_of
from libs.models.sequences.ranking import Popularity, by_group, figures_of, ranks_of, top_items
from libs.models.sequences.step import NextItemModel
from libs.training.precision import Precision

CUTOFFS = (5, 10, 20)
BUCKETS = {0: "popular", 1: "middle", 2: "tail"}
_MOST_SCORES = 1 << 25
"""Of one block, cases times items: 128 MB as float32."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A model's ranking of a split's cases, on the CPU.

    Attributes:
        ranks: of the held-out items, [N] float64, ties in the middle.
        targets: the held-out items, [N].
        cold: whether the user has no training events, [N].
        recommended: the best ten items of each case, [N, 10]; 0 where there are fewer candidates.
    """

    ranks: Tensor
    targets: Tensor
    cold: Tensor
    recommended: Tensor

    def figures(self, popularity: Popularity, cutoffs: Sequence[int] = CUTOFFS) -> dict[str, float]:
        """All figures: of the ranking, by popularity of the held-out item, for users never trained on, of the lists."""
        figures = figures_of(self.ranks, cutoffs)
        figures |= by_group(self.ranks, popularity.buckets()[self.targets], BUCKETS)
        if self.cold.any() and not self.cold.all():
            figures |= by_group(self.ranks, self.cold.long(), {0: "known_users", 1: "cold_users"})
        figures["coverage@10"] = popularity.coverage(self.recommended)
        figures["novelty_bits@10"] = popularity.novelty(self.recommended)
        return figures


class RankingMeasurer:
    """Ranks all items for every target of a split, in blocks."""

    def __init__(
        self, events: EventStore, split: Split, max_length: int, batch_size: int, *, exclude_seen: bool, device: str
    ) -> None:
        self.events, self.exclude_seen, self.device = events, exclude_seen, device
        self.windows = windows_of(events, split, max_length)
        self._batch_size = batch_size

    def __call__(self, model: nn.Module, precision: Precision) -> Ranked:
        """Measure a model in evaluation mode; its mode is restored."""
        was_training = model.training
        model.eval()
        parts = [self._ranked(model, windows, precision) for windows in batches(self.windows, self._batch_size)]
        model.train(was_training)
        return Ranked(*(torch.cat(column) for column in zip(*parts, strict=True)))

    @torch.no_grad()
    def _ranked(self, model: nn.Module, windows: Windows, precision: Precision) -> tuple[Tensor, ...]:
        batch = read(self.events, windows)
        items, lengths, users = (torch.from_numpy(part).to(self.device) for part in tensors_of(batch))
        encoder: NextItemModel = model  # type: ignore[assignment]
        with precision.autocast():
            features = encoder.encode(items, lengths, users).features
        rows, places = np.nonzero(batch.targets)
        targets = torch.from_numpy(batch.targets[rows, places])
        table = encoder.item_vectors
        ranks, best = [], []
        for block in _blocks(len(rows), len(table)):
            chosen = features[rows[block], places[block]]
            scores = (chosen.to(table.dtype) @ table.T).float()
            seen = self._seen(windows, rows[block], places[block]) if self.exclude_seen else None
            ranks.append(ranks_of(scores, targets[block].to(self.device), excluded=seen).cpu())
            best.append(top_items(scores, 10, seen).cpu())
        cold = self.events.ends[windows.users, 0] == self.events.offsets[windows.users]
        return torch.cat(ranks), targets, torch.from_numpy(cold[rows]), torch.cat(best)

    def _seen(self, windows: Windows, rows: np.ndarray, places: np.ndarray) -> Tensor:
        """Items of each case's whole history, [T, most], right-padded with 0."""
        first = np.asarray(self.events.offsets)[windows.users[rows]]
        last = windows.starts[rows] + places + 1
        longest = int((last - first).max())
        where = first[:, None] + np.arange(longest)
        seen = np.where(where < last[:, None], self.events.items[np.minimum(where, len(self.events.items) - 1)], 0)
        return torch.from_numpy(seen.astype(np.int64)).to(self.device)


def tensors_of(batch: SequenceBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, lengths, and users as models take them: counted from 1, 0 is the unknown user."""
    return batch.inputs, batch.lengths, batch.users + 1


def _blocks(cases: int, items: int) -> Iterator[slice]:
    size = max(1, _MOST_SCORES // items)
    for begin in range(0, cases, size):
        yield slice(begin, min(begin + size, cases))
