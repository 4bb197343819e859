"""How good a ranking of items is: ranks with ties, and the figures made of them.

A case is one history and one held-out item. Ranks are exact against all candidates, in blocks of cases, so that the
scores of a block are the largest thing in memory.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from libs.data.events.figures import gini

Ties = Literal["mid", "optimistic", "pessimistic"]


def ranks_of(scores: Tensor, targets: Tensor, *, excluded: Tensor | None = None, ties: Ties = "mid") -> Tensor:
    """Rank of each case's target among its candidates, 1 for the best.

    Args:
        scores: [B, I], one column an item; column 0 is padding and never a candidate. NaN counts as minus infinity.
        targets: column of the held-out item, [B].
        excluded: columns that are no candidates, [B, S], such as items seen before; 0 fills up a row. A target among
            them stays a candidate.
        ties: `mid` puts the target in the middle of the items with its score; `optimistic` before them, as much
            published code does (a constant scorer is then perfect); `pessimistic` behind them.

    Returns:
        [B], float64; halves occur with `mid`.
    """
    scores, where = scores.detach(), targets.unsqueeze(1)
    # +1 above the target, 0 level with it, -1 below it: a difference that is not 0 never rounds to 0
    sides = scores - scores.gather(1, where)
    if sides.sum().isnan():  # NaN among the scores, or infinities
        clear = _without_nan(scores)
        wanted = clear.gather(1, where)
        sides = (clear > wanted).to(sides.dtype) - (clear < wanted).to(sides.dtype)
    sides.sign_()
    # what is no candidate is not before the target
    sides[:, 0] = -1
    if excluded is not None:
        sides.scatter_(1, excluded, -1.0)
    sides.scatter_(1, where, -1.0)
    if ties == "optimistic":
        return 1 + sides.clamp_(min=0).sum(1, dtype=torch.float64)
    if ties == "pessimistic":
        return 1 + scores.shape[1] + sides.clamp_(max=0).sum(1, dtype=torch.float64)
    return 1 + (scores.shape[1] + sides.sum(1, dtype=torch.float64)) / 2


def sampled_ranks(scores: Tensor, targets: Tensor, negatives: Tensor, *, ties: Ties = "mid") -> Tensor:
    """Rank of each case's target among itself and its sampled items, 1 for the best.

    Args:
        scores: [B, I]. targets: [B]. ties: as of `ranks_of`.
        negatives: columns, [B, N]; 0 fills up a row. What is drawn twice counts twice, and the target, if drawn, as
            one more item with its score.

    Returns:
        [B], float64.
    """
    wanted = _without_nan(scores.gather(1, targets.unsqueeze(1)))
    others = _without_nan(scores.gather(1, negatives)).masked_fill(negatives == 0, math.nan)
    return _ranks(wanted, others, ties)


def _without_nan(scores: Tensor) -> Tensor:
    return scores.nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf)


def _ranks(wanted: Tensor, others: Tensor, ties: Ties) -> Tensor:
    """Ranks of scores [B, 1] among others [B, N], NaN where there is none: it compares as neither above nor equal."""
    ranks = 1 + (others > wanted).sum(1).double()
    if ties == "optimistic":
        return ranks
    return ranks + (0.5 if ties == "mid" else 1.0) * (others == wanted).sum(1)


def figures_of(ranks: Tensor, cutoffs: Sequence[int] = (5, 10, 20)) -> dict[str, float]:
    """Means over cases: `hr@k`, `ndcg@k`, `mrr@k` with one held-out item a case, so that recall@k is hr@k.

    Args:
        ranks: [B], from `ranks_of`.
    """
    figures = {}
    for k in cutoffs:
        within = ranks <= k
        figures[f"hr@{k}"] = _mean(within.double())
        figures[f"ndcg@{k}"] = _mean(gains(ranks, k))
        figures[f"mrr@{k}"] = _mean(torch.where(within, 1 / ranks, 0.0))
    return figures


def gains(ranks: Tensor, k: int) -> Tensor:
    """NDCG@k of each case, [B]."""
    return torch.where(ranks <= k, 1 / torch.log2(1 + ranks), 0.0)


def _mean(values: Tensor) -> float:
    return float(values.mean()) if len(values) else math.nan


def top_items(scores: Tensor, count: int, excluded: Tensor | None = None) -> Tensor:
    """Columns of the best `count` candidates of each row [B, I], best first; equal scores by the smaller column.

    Returns:
        [B, count]; 0 where a row has fewer candidates.
    """
    masked = _without_nan(scores)
    masked[:, 0] = -math.inf
    if excluded is not None:
        masked.scatter_(1, excluded, -math.inf)
    columns = _best_columns(masked, min(count, masked.shape[1]))
    values, order = masked.gather(1, columns).sort(dim=1, descending=True, stable=True)
    best = torch.where(values == -math.inf, 0, columns.gather(1, order))
    return torch.nn.functional.pad(best, (0, count - best.shape[1]))


def _best_columns(scores: Tensor, count: int) -> Tensor:
    """Columns of the `count` greatest of each row, rising, [B, count]; of equal scores at the border, the first ones.

    `topk` alone finds the border but leaves open which of the equal ones it takes, and a sort of whole rows costs
    several times as much.
    """
    border = scores.topk(count, dim=1).values[:, -1:]
    above, at = scores > border, scores == border
    taken = above | (at & (at.cumsum(1, dtype=torch.int32) <= count - above.sum(1, keepdim=True)))
    return taken.nonzero()[:, 1].view(len(scores), count)


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

    def of_lists(self, recommended: Tensor) -> dict[str, float]:
        """Figures of recommended items [B, k] as lists: `coverage@k`, `novelty_bits@k`, `gini@k`."""
        k = recommended.shape[1]
        figures = {"coverage": self.coverage, "novelty_bits": self.novelty, "gini": self.inequality}
        return {f"{name}@{k}": figure(recommended) for name, figure in figures.items()}

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

    def inequality(self, recommended: Tensor) -> float:
        """Gini coefficient of how often each item is recommended [B, k]: near 1 when it is always the same ones."""
        shown = torch.bincount(recommended.flatten(), minlength=len(self.counts))[1:]
        return gini(shown.numpy())


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
