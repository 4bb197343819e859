"""The network read after each row's last item alone; see `libs.models.sequences.ends`.

With relations the blocks but the last are as they are, and rows go by their lengths, as what they cost grows with the
square of it: counts, correlations and latent logits are of pairs. The last block has the latent logits of one row.

Without relations (SASRec), a key's projection goes into the query: q . (W x + b) = (W' q) . x + q . b, and the softmax
does not see a term that all keys of a query share. The last block has one query a row, whose values are projected after
they are summed. In the first block, values are linear in the item's vector and in the place.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from libs.models.rksa.attention import Correlation, Noise, mean_logits, sample_logits
from libs.models.rksa.network import RKSA, Block, PairData
from libs.models.sequences.ends import LinearOfItems, longest_first

_ROWS = 32
"""At a time: what a block makes of them stays in the processor's cache."""


class SasrecEnds:
    """Features [B, d] of ids [B, n] and lengths [B].

    Args:
        network: without relations, in evaluation mode.
    """

    def __init__(self, network: RKSA) -> None:
        blocks = [block for block in network.blocks if isinstance(block, Block)]
        *self._whole, self._last = (_PlainBlock(block) for block in blocks)
        self._norm, self._vectors, self._places = network.norm, network.items.weight, network.positions.weight
        self._places_of = network.places_of
        self._scale = math.sqrt(self._vectors.shape[1])
        first = blocks[0].attention.value
        self._item_values = LinearOfItems(self._vectors, self._scale * first.weight, torch.zeros_like(first.bias))
        self._place_values: Tensor = first(self._places)

    def __call__(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        """[B, d]; `users` do not matter."""
        parts = zip(torch.split(items, _ROWS), torch.split(lengths, _ROWS), strict=True)
        return torch.cat([self._read(some[:, : int(until.max())], until) for some, until in parts])

    def _read(self, items: Tensor, lengths: Tensor) -> Tensor:
        places = self._places_of(items)
        x = F.embedding(items, self._vectors).mul_(self._scale).add_(self._places[places])
        for number, block in enumerate(self._whole):
            first = number == 0
            values = self._item_values(items).add_(self._place_values[places]) if first else block.values(x)
            x = block.everywhere(x, values)
        features: Tensor = self._norm(self._last.at_ends(x, lengths))
        return features


class _PlainBlock:
    """A block without relations or dropout, with the projection of the keys within that of the queries.

    As functions of its weights: at so few rows, calls of modules are a fifth of the time.
    """

    def __init__(self, block: Block) -> None:
        attention, self.values = block.attention, _affine(block.attention.value)
        self._norms = _norm(block.attention_norm), _norm(block.network_norm)
        self._inner, self._outer = (_affine(part) for part in block.network if isinstance(part, nn.Linear))
        key = attention.key.weight / math.sqrt(len(attention.key.weight))
        self._asking = key.T @ attention.query.weight, attention.query.bias @ key

    def everywhere(self, x: Tensor, values: Tensor) -> Tensor:
        """[B, n, d] of inputs and values [B, n, d], causally."""
        queries = self._norms[0](x)
        hidden = x.new_full((x.shape[1], x.shape[1]), -math.inf).triu_(1)
        scores = torch.baddbmm(hidden, F.linear(queries, *self._asking), x.transpose(1, 2))
        return self._rest(torch.baddbmm(queries, torch.softmax(scores, -1), values))

    def at_ends(self, x: Tensor, lengths: Tensor) -> Tensor:
        """[B, d] of inputs [B, n, d], each row at its length [B]."""
        queries = self._norms[0](x[torch.arange(len(x)), lengths - 1])
        scores = (x * F.linear(queries, *self._asking).unsqueeze(1)).sum(-1)
        behind = torch.arange(x.shape[1]) >= lengths.unsqueeze(1)
        weights = torch.softmax(scores.masked_fill_(behind, -math.inf), -1)
        return self._rest(queries + self.values((weights.unsqueeze(1) @ x).squeeze(1)))

    def _rest(self, read: Tensor) -> Tensor:
        attended = self._norms[1](read)
        return self._outer(self._inner(attended).relu_()).add_(attended)


class RksaEnds:
    """Features [B, d] of ids [B, n], lengths [B] and users [B].

    Args:
        network: with relations, in evaluation mode.
        pairs_of: `RksaModel.pairs_of`. known: `RksaModel.known`.
    """

    def __init__(
        self, network: RKSA, pairs_of: Callable[[Tensor, Tensor], PairData], known: Callable[[Tensor], Tensor]
    ) -> None:
        self._network, self._pairs_of, self._known = network, pairs_of, known
        *self._whole, self._last = (block for block in network.blocks if isinstance(block, Block))

    def __call__(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        """[B, d]."""
        return longest_first(self._read, items, lengths, users, rows=_ROWS)

    def _read(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        network, pairs = self._network, self._pairs_of(items, users)
        correlation = network.correlation(items, self._known(users), pairs)
        assert correlation is not None
        x = network.inputs(items)
        for block in self._whole:
            x, _ = block(x, correlation, pairs)
        features: Tensor = network.norm(_latent_at_ends(self._last, x, lengths - 1, correlation, pairs))
        return features


def _latent_at_ends(block: Block, x: Tensor, ends: Tensor, correlation: Correlation, pairs: PairData) -> Tensor:
    """[B, d] of a block's inputs [B, n, d], each row at its place `ends` [B]."""
    attention, rows = block.attention, torch.arange(len(x))
    queries = block.attention_norm(x[rows, ends]).unsqueeze(1)
    latent = attention.latent(queries, x, PairData(pairs.factors, pairs.shape[rows, ends].unsqueeze(1)))
    parameters = latent.location, latent.scale, latent.shape
    if attention.draws is None:
        logits = [mean_logits(*parameters, correlation)]
    else:
        noises = (_of_rows(noise, ends) for noise in attention.draws.draws(x.shape[1]))
        logits = [sample_logits(*parameters, correlation, noise) for noise in noises]
    behind = (torch.arange(x.shape[1]) > ends.unsqueeze(1)).unsqueeze(1)
    drawn = [torch.softmax(some.masked_fill(behind, -math.inf), -1) for some in logits]
    read = attention.value(torch.stack(drawn).mean(0) @ x)
    attended = block.network_norm(queries + read)
    result: Tensor = (attended + block.network(attended)).squeeze(1)
    return result


def _of_rows(noise: Noise, ends: Tensor) -> Noise:
    """The draws [1, ...] or [n, ...] of a sequence's rows for one row of each sequence, [B, 1, ...]."""
    rows = ends if len(noise.switch) > 1 else torch.zeros_like(ends)
    assert noise.rest is not None
    return Noise(noise.factors[rows].unsqueeze(1), noise.rest[rows].unsqueeze(1), noise.switch[rows].unsqueeze(1))


def _affine(linear: nn.Linear) -> Callable[[Tensor], Tensor]:
    return partial(F.linear, weight=linear.weight, bias=linear.bias)


def _norm(norm: nn.LayerNorm) -> Callable[[Tensor], Tensor]:
    shape = list(norm.normalized_shape)
    return partial(F.layer_norm, normalized_shape=shape, weight=norm.weight, bias=norm.bias, eps=norm.eps)
