"""How good a ranking of items is: ranks with ties, and the figures made of them.

A case is one history and one held-out item. Ranks are exact against all candidates, in blocks of cases, so that the
scores of a block are the largest thing in memory. The candidate set belongs to a figure's name: `full` or `sampled`,
since the two differ severalfold and must not be compared.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Ties = Literal["mid", "optimistic"]


def ranks_of(scores: Tensor, targets: Tensor, *, excluded: Tensor | None = None, ties: Ties = "mid") -> Tensor:
    """Rank of each case's target among its candidates, 1 for the best.

    Args:
        scores: [B, I], one column an item; column 0 is padding and never a candidate.
        targets: column of the held-out item, [B].
        excluded: columns that are no candidates, [B, S], such as items seen before; 0 fills up a row. A target among
            them stays a candidate.
        ties: `mid` puts the target in the middle of the items with its score; `optimistic` before them, as much
            published code does (a constant scorer is then perfect).

    Returns:
        [B], float64; halves occur with `mid`. NaN scores rank as infinitely bad.
    """
    wanted = scores.gather(1, targets.unsqueeze(1))
    candidate = torch.ones_like(scores, dtype=torch.bool)
    candidate[:, 0] = False
    if excluded is not None:
        candidate.scatter_(1, excluded, False)
    candidate.scatter_(1, targets.unsqueeze(1), False)
    better = ((scores > wanted) | wanted.isnan()) & candidate
    ranks = 1 + better.sum(1).double()
    if ties == "mid":
        ranks = ranks + 0.5 * ((scores == wanted) & candidate).sum(1)
    return ranks


def figures_of(ranks: Tensor, cutoffs: Sequence[int] = (5, 10, 20)) -> dict[str, float]:
    """Means over cases: `hr@k`, `ndcg@k`, `mrr@k` with one held-out item a case, so that recall@k is hr@k.

    Args:
        ranks: [B], from `ranks_of`.
    """
    figures = {}
    for k in cutoffs:
        within = ranks <= k
        figures[f"hr@{k}"] = _mean(within.double())
        figures[f"ndcg@{k}"] = _mean(torch.where(within, 1 / torch.log2(1 + ranks), 0.0))
        figures[f"mrr@{k}"] = _mean(torch.where(within, 1 / ranks, 0.0))
    return figures


def _mean(values: Tensor) -> float:
    return float(values.mean()) if len(values) else math.nan


def top_items(scores: Tensor, count: int, excluded: Tensor | None = None) -> Tensor:
    """Columns of the best `count` candidates of each row [B, I], best first; equal scores by the smaller column.

    Returns:
        [B, count]; 0 where a row has fewer candidates.
    """
    masked = scores.clone()
    masked[:, 0] = -math.inf
    if excluded is not None:
        masked.scatter_(1, excluded, -math.inf)
    values, columns = torch.sort(masked, dim=1, descending=True, stable=True)
    best = columns[:, :count]
    return torch.where(values[:, :count] == -math.inf, 0, best)


@dataclass(frozen=True, slots=True)
class Popularity:
    """Training counts of items, and what follows from them.

    Attributes:
        counts: [I], column 0 for padding.
    """

    counts: Tensor

    def buckets(self, shares: Sequence[float] = (0.2, 0.5)) -> Tensor:
        """Bucket of each item, [I]: 0 for the most popular `shares[0]` of the items, and so on; the tail is last."""
        order = torch.argsort(self.counts[1:], descending=True, stable=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device)
        bounds = torch.tensor([math.ceil(share * len(order)) for share in shares], device=order.device)
        return torch.cat([place.new_zeros(1), torch.bucketize(place, bounds, right=True)])

    def novelty(self, recommended: Tensor) -> float:
        """Mean self-information of recommended items [B, k] in bits, -log2 of their share of training events.

        An item that never occurred counts as if it had once.
        """
        shown = recommended[recommended > 0]
        shares = self.counts[shown].clamp_min(1).double() / self.counts.sum().clamp_min(1)
        return _mean(-torch.log2(shares))

    def coverage(self, recommended: Tensor) -> float:
        """Share of all items that occur among the recommended ones [B, k]."""
        return len(torch.unique(recommended[recommended > 0])) / max(1, len(self.counts) - 1)


def by_group(
    ranks: Tensor, groups: Tensor, names: Mapping[int, str], cutoffs: Sequence[int] = (10,)
) -> dict[str, float]:
    """Figures of each group of cases, `name/hr@10` → value; an empty group is left out.

    Args:
        ranks: [B]. groups: [B], the group of each case. names: group → name.
    """
    figures: dict[str, float] = {}
    for group, name in names.items():
        members = ranks[groups == group]
        if len(members):
            figures |= {f"{name}/{key}": value for key, value in figures_of(members, cutoffs).items()}
    return figures
