"""Features after each row's last item alone, with the weights of now: what measuring asks for, on a CPU.

The same functions as `encode` read at the ends, up to rounding, by less work: no dropout, no state that nobody reads,
nothing for padding, and what is linear in an item's vector once an item rather than once an event.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

EndReader = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Ids [B, n], right-padded with 0, lengths [B], at least 1, and users [B] to features [B, d]."""

_MOST_ITEMS = 1 << 16
"""With more, a table of all would cost more than the events of most splits."""


def longest_first(read: EndReader, items: Tensor, lengths: Tensor, users: Tensor, *, rows: int) -> Tensor:
    """What `read` makes of all rows, [B, d]: so many at a time, by falling length and without padding of no use."""
    order = torch.argsort(lengths, descending=True)
    parts = []
    for some in torch.split(order, rows):
        longest = int(lengths[some[0]])
        parts.append(read(items[some, :longest], lengths[some], users[some]))
    found = torch.cat(parts)
    ends = torch.empty_like(found)
    ends[order] = found
    return ends


class LinearOfItems:
    """An affine map of item vectors, looked up by id.

    Args:
        vectors: [I, d]. weight: [k, d]. bias: [k].
    """

    def __init__(self, vectors: Tensor, weight: Tensor, bias: Tensor) -> None:
        self._vectors, self._map = vectors, (weight, bias)
        self._made = F.linear(vectors, weight, bias) if len(vectors) <= _MOST_ITEMS else None

    def __call__(self, ids: Tensor) -> Tensor:
        """[*, k] of ids [*]."""
        if self._made is not None:
            return F.embedding(ids, self._made)
        return F.linear(F.embedding(ids, self._vectors), *self._map)


class GruEnds:
    """The last state of each row of a one-layer GRU.

    Rows go by falling length, so that each step takes only those that still have an event. torch's tanh takes several
    times as long as its logistic function, so the candidate is 2 sigma(2 a) - 1, the factor in a within the weights.

    Args:
        vectors: of the items, [I, d].
        input_weight, state_weight: [3d, d], in torch's order of gates: reset, update, candidate; biases [3d].
    """

    def __init__(
        self, vectors: Tensor, input_weight: Tensor, state_weight: Tensor, input_bias: Tensor, state_bias: Tensor
    ) -> None:
        width = state_weight.shape[1]
        gates = 2 * width
        # h + (1 - z) (new - h): the complement of the update gate is what a step needs, sigma of the negated logits.
        scale = torch.ones(3 * width).index_fill_(0, torch.arange(width, gates), -1.0)
        scale[gates:] = 2.0
        joined = torch.cat([input_bias[:gates] + state_bias[:gates], input_bias[gates:]])
        self._inputs = LinearOfItems(vectors, input_weight * scale.unsqueeze(1), joined * scale)
        scaled = (state_weight * scale.unsqueeze(1)).T
        self._gates, self._candidate = scaled[:, :gates].contiguous(), scaled[:, gates:].contiguous()
        self._candidate_bias = state_bias[gates:] * 2.0
        self._width = width

    def __call__(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        """[B, d]; `users` do not matter."""
        width, gates = self._width, 2 * self._width
        order = torch.argsort(lengths, descending=True)
        places = torch.arange(items.shape[1]).unsqueeze(1)
        alive = (lengths > places).sum(1).tolist()
        states = self._candidate_bias.new_zeros(len(items), width)
        opened_of, candidate_of = states.new_empty(len(items), gates), torch.empty_like(states)
        less_one = states.new_tensor(-1.0)
        for ids, rows in zip(items[order].T.contiguous(), alive, strict=True):
            x, state = self._inputs(ids[:rows]), states[:rows]
            opened = torch.addmm(x[:, :gates], state, self._gates, out=opened_of[:rows]).sigmoid_()
            candidate = torch.addmm(self._candidate_bias, state, self._candidate, out=candidate_of[:rows])
            torch.addcmul(x[:, gates:], opened[:, :width], candidate, out=candidate).sigmoid_()
            torch.add(less_one, candidate, alpha=2, out=candidate)
            state.lerp_(candidate, opened[:, width:])
        ends = torch.empty_like(states)
        ends[order] = states
        return ends
