"""The shape of the skew: attention times how often two items go together, causally for all positions at once.

Row t is the definition applied to the items 1..t with t as the last one: the count of an item with itself, which means
nothing, is replaced by its mean count with the others, as of that row.
"""

import torch
from torch import Tensor


def cooccurrence_shape(together: Tensor, items: Tensor) -> Tensor:
    """a^ / max(a^), [..., t, j]: data without a gradient, which a loader may compute.

    a^_j = sum_k c_jk c_kt over the k up to t, with the diagonal replaced as above.

    Args:
        together: counts N [..., n, n] of the pairs of the sequence; the diagonal and pairs of equal items are unused.
        items: ids [..., n].

    Returns:
        0 for j > t, else between 0 and 1; a row whose counts are all 0 is 0.
    """
    same = items.unsqueeze(-1) == items.unsqueeze(-2)
    counts = torch.where(same, torch.zeros((), dtype=together.dtype, device=together.device), together)
    totals = counts.cumsum(-1).transpose(-1, -2)  # R[t, j]: of item j with the items up to t
    repeats = same.to(counts.dtype).cumsum(-1).transpose(-1, -2)  # m[t, j]: times item j came up to t
    places = torch.arange(1, items.shape[-1] + 1, dtype=counts.dtype, device=counts.device).unsqueeze(-1)
    others = places - repeats
    diagonal = torch.where(others > 0, totals / others.clamp_min(1), 0.0)  # D[t, j]
    through = (counts @ counts.triu()).transpose(-1, -2)  # P[t, j]: by way of a third item
    own = (repeats * diagonal).diagonal(dim1=-2, dim2=-1).unsqueeze(-1)  # m[t, t] D[t, t]
    newest = diagonal.diagonal(dim1=-2, dim2=-1).unsqueeze(-1)
    direct = counts.transpose(-1, -2)
    raw = through + direct * (repeats * diagonal + own) + same.transpose(-1, -2) * own * newest
    raw = raw.tril()
    largest = raw.amax(-1, keepdim=True)
    return torch.where(largest > 0, raw / largest.clamp_min(1e-30), 0.0)
