"""Why RKSA recommends what it does: what the last item reads of each history item, in the last block.

The score of every item is a product with one feature, so the weights belong to the history, whatever is recommended;
how often two items go together is in the counts, and what an item is worth shows when it is left out.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from libs.models.rksa.attention import Correlation, FixedNoise, LowRank, Noise, mean_logits, sample_logits, skewness
from libs.models.rksa.network import RKSA, Kernels, PairData
from libs.models.rksa.skew_normal import MEAN_OF_HALF_NORMAL

EXPLAINED_SAMPLES = 16


@dataclass(frozen=True, slots=True)
class Explanation:
    """Of the weights of history items, as the last item of each sequence reads them.

    Attributes:
        weights: attention of the mean logits, [B, n]; 0 for padding.
        spread: standard deviation of the attention over draws, [B, n].
        lift: sqrt(2/pi) omega delta, what the skew adds to the mean logit of each item, [B, n].
        relation_lift: the part of it that is each relation's, [B, relations, n]; with `own_lift` they sum to `lift`.
        own_lift: the part of the item's own variance, [B, n].
        mixture: r of the user, [B, relations].
    """

    weights: Tensor
    spread: Tensor
    lift: Tensor
    relation_lift: Tensor
    own_lift: Tensor
    mixture: Tensor


class Explainer(nn.Module):
    """Explains a network by its last block.

    Args:
        max_length: most items of a sequence.
        samples: draws for the spread, always the same ones.
    """

    def __init__(self, network: RKSA, max_length: int, samples: int = EXPLAINED_SAMPLES) -> None:
        super().__init__()
        assert network.kernels is not None
        self.network = network
        settings = network.kernels.settings
        width = max_length if settings.form == "dense" else settings.factor_columns
        self.noise = FixedNoise(samples, 1, max_length, width)

    def forward(self, items: Tensor, lengths: Tensor, users: Tensor, pairs: PairData) -> Explanation:
        """Explain ids [B, n] right-padded with 0, of `lengths` [B], in evaluation mode."""
        kernels, read = self.network.kernels, self.network.read(items, users, pairs)
        correlation, latent = read.correlation, read.latents[-1]
        assert isinstance(kernels, Kernels)
        assert correlation is not None
        parts = (_last(latent.location, lengths), _last(latent.scale, lengths), _last(latent.shape, lengths))
        behind = torch.arange(items.shape[1], device=items.device) >= lengths.unsqueeze(1)
        noise = _noise_for(correlation, self.noise.batched(items.shape[1]))
        drawn = _weights(sample_logits(*parts, correlation, noise), behind)
        shares = kernels.shares(self.network.items(items), users, pairs)
        relation_lift, own_lift = _lifts(parts, correlation, shares, behind)
        return Explanation(
            weights=_weights(mean_logits(*parts, correlation), behind),
            spread=(drawn - drawn.mean(0)).square().mean(0).sqrt(),
            lift=relation_lift.sum(1) + own_lift,
            relation_lift=relation_lift,
            own_lift=own_lift,
            mixture=kernels.weights(users),
        )


def _last(rows: Tensor, lengths: Tensor) -> Tensor:
    """The row of each sequence's last item, [B, 1, n]."""
    where = (lengths - 1).reshape(-1, 1, 1).expand(-1, 1, rows.shape[-1])
    return rows.gather(1, where)


def _noise_for(correlation: Correlation, noise: Noise) -> Noise:
    if isinstance(correlation, LowRank) or noise.rest is None:
        return noise
    return Noise(noise.factors[..., : noise.rest.shape[-1]], None, noise.switch)


def _weights(logits: Tensor, behind: Tensor) -> Tensor:
    """Softmax of logits [..., B, 1, n] over the items of a sequence, [..., B, n]."""
    return torch.softmax(logits.squeeze(-2).masked_fill(behind, -math.inf), -1)


def _lifts(
    parts: tuple[Tensor, Tensor, Tensor], correlation: Correlation, shares: Tensor, behind: Tensor
) -> tuple[Tensor, Tensor]:
    """sqrt(2/pi) omega delta [B, n] by relations [B, relations, n] and the items' own variance [B, n].

    delta = K alpha / c, and K is the sum of the shares but for its diagonal, which an item's own variance fills up.
    """
    _, scale, shape = parts
    _, spread = skewness(correlation, shape)
    factor = MEAN_OF_HALF_NORMAL * scale / spread.unsqueeze(-1)
    pulled = (shape.unsqueeze(1) @ shares).squeeze(2)
    own = shape.squeeze(1) * (1 - shares.diagonal(dim1=-2, dim2=-1).sum(1)).clamp_min(0)
    return (factor * pulled).masked_fill(behind.unsqueeze(1), 0), (factor.squeeze(1) * own).masked_fill(behind, 0)
