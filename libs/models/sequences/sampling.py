"""Sampled candidates: the items a held-out one is ranked against when somebody asks for published protocols.

Figures over samples order models differently from the full ranking (Krichene & Rendle, KDD 2020), so they are made only
on request and carry the sample in their name.
"""

from typing import Literal

import torch
from torch import Tensor

Sampling = Literal["distinct", "reference"]


def sampled_name(count: int, sampling: Sampling) -> str:
    """What the names of sampled figures end in: `_sampled100`, `_sampled100_reference`."""
    return f"_sampled{count}" + ("" if sampling == "distinct" else f"_{sampling}")


def distinct_negatives(met: Tensor, num_items: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` items of 1 to `num_items` for each case, uniform, none twice and none of `met`.

    Args:
        met: items that are no negatives, [T, S], such as all the user ever met; 0 fills up a row.

    Returns:
        [T, count]; 0 where fewer items are left.
    """
    keys = torch.rand(len(met), num_items + 1, generator=generator, device=met.device)
    keys[:, 0] = -1
    keys.scatter_(1, met, -1.0)
    best = keys.topk(min(count, num_items + 1), dim=1)
    return torch.where(best.values < 0, 0, best.indices)


def repeated_negatives(met: Tensor, num_items: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` items of 1 to `num_items` for each case, uniform and with repetition, none of `met`.

    The j-th item that was not met is j plus the number of met ones before it, so nothing is drawn in vain.

    Args:
        met: as of `distinct_negatives`.

    Returns:
        [T, count]; 0 where no item is left.
    """
    beyond = num_items + 1
    ordered = met.masked_fill(met == 0, beyond).sort(1).values
    again = torch.zeros_like(ordered, dtype=torch.bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    unique = ordered.masked_fill(again, beyond).sort(1).values  # [T, S], rising, the rest `beyond`
    left = num_items - (unique < beyond).sum(1, keepdim=True)  # [T, 1]
    place = torch.rand(len(met), count, generator=generator, device=met.device, dtype=torch.float64)
    place = (place * left).long()  # from 0
    unmet_before = unique - 1 - torch.arange(unique.shape[1], device=met.device)  # below each met item
    unmet_before = unmet_before.masked_fill(unique == beyond, beyond)
    items = place + 1 + torch.searchsorted(unmet_before, place, right=True)
    return torch.where(left > 0, items, 0)
