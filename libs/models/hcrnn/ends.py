"""HCRNN read after each row's last item alone; see `libs.models.sequences.ends`.

One query a row instead of one an event, so that its attention costs n H and not n^2 H; a step takes only the rows that
still have an event; the inputs' projections are made once an item, and the mixture of topics without its deviation,
which only the KL reads. The key of the local channel goes into its query: (G_query c_t) . (G_key c_i) is
(G_key' G_query c_t) . c_i.
"""

import torch
from torch import Tensor

from libs.models.hcrnn.network import HCRNN
from libs.models.hcrnn.topics import first_occurrences
from libs.models.sequences.additive import causal_softmax
from libs.models.sequences.ends import LinearOfItems, longest_first

_ROWS = 256
"""At a time: their contexts, [rows, n, H + d], are all that is kept of the steps."""


class HcrnnEnds:
    """Features [B, d] of ids [B, n] and lengths [B].

    Args:
        network: in evaluation mode.
        causal: theta of each step from the items up to it; else of every step from the whole row.
    """

    def __init__(self, network: HCRNN, *, causal: bool) -> None:
        self._network, self._causal = network, causal
        inputs = network.cell.from_input
        self._inputs = LinearOfItems(network.items.weight, inputs.weight, inputs.bias)
        self._keys = network.cell.topic_key(network.contexts)

    def __call__(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        """[B, d]; `users` do not matter."""
        return longest_first(self._read, items, lengths, users, rows=_ROWS)

    def _read(self, items: Tensor, lengths: Tensor, users: Tensor) -> Tensor:
        """Of rows by falling length."""
        network, cell = self._network, self._network.cell
        rows, events = items.shape
        temporary, local = (network.contexts.new_zeros(rows, events, size) for size in (cell.hidden_dim, cell.item_dim))
        h, c = temporary[:, 0], local[:, 0]
        new = first_occurrences(items)
        embedded = network.items(items)
        bag = torch.zeros_like(c) if self._causal else (embedded * new.unsqueeze(-1)).sum(1)
        theta = network.topics.mode(bag)
        alive = (lengths > torch.arange(events).unsqueeze(1)).sum(1).tolist()
        for t, some in enumerate(alive):
            e, h, c = embedded[:some, t], h[:some], c[:some]
            if self._causal:
                bag = bag[:some] + e * new[:some, t].unsqueeze(1)
                theta = network.topics.mode(bag)
            h, c, *_ = cell.step(e, self._inputs(items[:some, t]), theta[:some], self._keys, network.contexts, h, c)
            temporary[:some, t], local[:some, t] = h, c
        return self._read_out(temporary, local, (lengths - 1).unsqueeze(1))

    def _read_out(self, temporary: Tensor, local: Tensor, ends: Tensor) -> Tensor:
        """`ReadOut` and the map to items, [B, d], for one query a row at `ends` [B, 1]."""
        read_out, rows = self._network.read_out, torch.arange(len(ends))
        here = temporary[rows, ends[:, 0]]
        parts = [(read_out.temporary(temporary, ends) @ temporary).squeeze(1), here]
        if read_out.local_key is not None and read_out.local_query is not None:
            asking = read_out.local_query(local[rows, ends[:, 0]]) @ (read_out.local_key.weight * read_out.scale)
            weights = causal_softmax((local @ asking.unsqueeze(-1)).transpose(1, 2), ends)
            parts.insert(0, (weights @ temporary).squeeze(1))
        features: Tensor = read_out.to_item(torch.cat(parts, -1))
        return features
