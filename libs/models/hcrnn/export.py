"""What of HCRNN is served: the features after a history, one further event of it, and why."""

from typing import cast

import torch
from torch import Tensor, nn

from libs.models.hcrnn.model import HcrnnModel
from libs.models.hcrnn.network import HCRNN, Encoded
from libs.models.sequences.additive import take
from libs.models.sequences.graphs import Servable
from libs.serving.bundle import TensorSpec


def servable(model: HcrnnModel) -> Servable:
    """The graphs of a model; the causal mode also has one of a single event."""
    network = model.network
    one_event = _OneEvent(network) if model.train_mode == "causal" else None
    explained = _Explained(model)
    return Servable(
        features=_AtTheEnd(model),
        step=one_event,
        state=state_of(network) if one_event is not None else [],
        explain=explained,
        explanations=explained.outputs(),
    )


def encode_end(model: HcrnnModel, items: Tensor, lengths: Tensor) -> Encoded:
    """The answer after each row's last item, q = 1."""
    if model.train_mode == "prefix":
        return model.network.encode_prefixes(items, lengths)
    return model.network.encode_causally(items, lengths, (lengths - 1).unsqueeze(1))


class _AtTheEnd(nn.Module):
    def __init__(self, model: HcrnnModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        return encode_end(self.model, items, lengths).features.squeeze(1)


class _Explained(nn.Module):
    """What a recommendation came from.

    drift [N, n], in version 3: mean over the gate's H values, small where an event disagreed with the local context;
    temporary_attention and, with bi-channel attention, local_attention [N, n]: what the feature read of each event;
    local_context [N, K]: which global contexts the newest event brought into the local one;
    theta [N, K]: the mixture of global contexts.
    """

    def __init__(self, model: HcrnnModel) -> None:
        super().__init__()
        self.model = model

    def outputs(self) -> list[TensorSpec]:
        """Names and shapes, in the order of `forward`."""
        network = self.model.network
        per_event = ["drift"] if network.cell.version == 3 else []
        per_event += ["temporary_attention"] + ["local_attention"] * (network.read_out.attention == "bi")
        contexts = network.contexts.shape[0]
        return [
            *(TensorSpec(name=name, datatype="FP32", shape=[-1, -1]) for name in per_event),
            *(TensorSpec(name=name, datatype="FP32", shape=[-1, contexts]) for name in ("local_context", "theta")),
        ]

    def forward(self, items: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        encoded = encode_end(self.model, items, lengths)
        end = (lengths - 1).unsqueeze(1)
        found = [encoded.states.drift.mean(-1)] if self.model.network.cell.version == 3 else []
        found.append(encoded.temporary_weights.squeeze(1))
        if encoded.local_weights is not None:
            found.append(encoded.local_weights.squeeze(1))
        theta = take(encoded.theta, end) if self.model.train_mode == "causal" else encoded.theta
        return (*found, take(encoded.states.topic_weights, end).squeeze(1), theta.squeeze(1))


def state_of(network: HCRNN) -> list[TensorSpec]:
    """What the causal form carries from event to event; it begins as zeros, and with no events behind it."""
    d, h = network.cell.item_dim, network.cell.hidden_dim
    shapes = {"bag": [-1, d], "local": [-1, d], "temporary": [-1, h]}
    growing = ["temporaries", "temporary_keys"] + ["local_keys"] * (network.read_out.attention == "bi")
    shapes |= {name: [-1, -1, h] for name in growing}
    seen = TensorSpec(name="seen", datatype="INT64", shape=[-1, -1])
    return [seen, *(TensorSpec(name=name, datatype="FP32", shape=shape) for name, shape in shapes.items())]


class _OneEvent(nn.Module):
    """The causal form, one event on: constant work in the cell, and one read of the events before.

    A row that has seen fewer events than others of its batch has 0 in `seen` where it has none; nothing is read there.
    """

    def __init__(self, network: HCRNN) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        item: Tensor,
        seen: Tensor,
        bag: Tensor,
        local: Tensor,
        temporary: Tensor,
        temporaries: Tensor,
        temporary_keys: Tensor,
        local_keys: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        network, cell, read_out = self.network, self.network.cell, self.network.read_out
        e = network.items(item)
        # A sum, as any() becomes a maximum, and ONNX Runtime's of no events at all is true.
        known = (seen == item.unsqueeze(1)).sum(1, keepdim=True) > 0
        bag = torch.where(known, bag, bag + e)
        theta = network.topics(bag)[0]
        keys = cell.topic_key(network.contexts)
        h, c, *_ = cell.step(e, cell.from_input(e), theta, keys, network.contexts, temporary, local)
        seen = torch.cat([seen, item.unsqueeze(1)], 1)
        temporaries = torch.cat([temporaries, h.unsqueeze(1)], 1)
        temporary_keys = torch.cat([temporary_keys, read_out.temporary.key(h).unsqueeze(1)], 1)
        unread = seen == 0
        agreement = torch.sigmoid(temporary_keys + read_out.temporary.query(h).unsqueeze(1)) @ read_out.temporary.score
        parts = [_read(agreement, unread, temporaries), h]
        state = [seen, bag, c, h, temporaries, temporary_keys]
        if local_keys is not None:
            local_keys = torch.cat([local_keys, cast(nn.Linear, read_out.local_key)(c).unsqueeze(1)], 1)
            query = cast(nn.Linear, read_out.local_query)(c).unsqueeze(-1)
            parts.insert(0, _read((local_keys @ query).squeeze(-1) * read_out.scale, unread, temporaries))
            state.append(local_keys)
        return (read_out.to_item(torch.cat(parts, -1)), *state)


def _read(scores: Tensor, unread: Tensor, values: Tensor) -> Tensor:
    """Values [N, n, H] by the softmax of scores [N, n] over the places that are read; [N, H]."""
    weights = torch.softmax(scores.masked_fill(unread, -torch.inf), -1)
    return (weights.unsqueeze(1) @ values).squeeze(1)
