"""What of RKSA is served: the features after a history, and why."""

from collections.abc import Sequence
from functools import partial

import polars as pl
import torch
from torch import Tensor, nn

from libs.data.events.relations import save_tables
from libs.models.rksa.explanation import Explainer
from libs.models.rksa.model import RksaModel
from libs.models.rksa.network import RKSA, PairData, RelationSettings
from libs.models.sequences.additive import take
from libs.models.sequences.graphs import FurtherInputs, Servable
from libs.serving.bundle import TensorSpec


def servable(model: RksaModel, user_ids: pl.Series, max_length: int) -> Servable:
    """The graphs of a model; the dense form, whose draws need a factorisation, has none that explains.

    Args:
        user_ids: of the data set, in the order of their numbers.
    """
    settings = model.kernels.settings
    specs = inputs_of(settings)
    names = [spec.name for spec in specs]
    explained = None if settings.form == "dense" else _Explained(model.network, max_length)
    return Servable(
        features=_AtTheEnd(model.network),
        explain=explained,
        explanations=explanations_of(settings) if explained is not None else (),
        further=FurtherInputs(
            specs,
            partial(model.tables.inputs_of, names=names),
            partial(save_tables, model.tables, user_ids),
        ),
    )


def inputs_of(settings: RelationSettings) -> list[TensorSpec]:
    """What the graphs take besides items and lengths: what the relations in use read."""
    reads_users = settings.mixture == "user" or "user" in settings.relations
    specs = [TensorSpec(name="users", datatype="INT64", shape=[-1])] if reads_users else []
    if "cooccurrence" in settings.relations and settings.form == "dense":
        specs.append(TensorSpec(name="kernel", datatype="FP32", shape=[-1, -1, -1]))
    elif "cooccurrence" in settings.relations:
        specs.append(TensorSpec(name="factors", datatype="FP32", shape=[-1, -1, settings.cooccurrence_rank]))
    if settings.skew:
        specs.append(TensorSpec(name="shape", datatype="FP32", shape=[-1, -1, -1]))
    return specs


def explanations_of(settings: RelationSettings) -> list[TensorSpec]:
    """Names and shapes of what `explain.onnx` answers (`libs.models.rksa.explanation.Explanation`)."""
    relations = len(settings.relations)
    per_item = [TensorSpec(name=name, datatype="FP32", shape=[-1, -1]) for name in ("attention", "spread", "skew_lift")]
    by_relation = [
        TensorSpec(name=f"lift_{name}", datatype="FP32", shape=[-1, -1]) for name in (*settings.relations, "own")
    ]
    return [*per_item, *by_relation, TensorSpec(name="mixture", datatype="FP32", shape=[-1, relations])]


class _Served(nn.Module):
    """A network with its pair data as inputs; what the settings do not read is not given."""

    def __init__(self, network: RKSA) -> None:
        super().__init__()
        self.network = network

    def pairs_of(self, items: Tensor, factors: Tensor | None, kernel: Tensor | None, shape: Tensor | None) -> PairData:
        """Pair data; zeros stand for what nothing reads."""
        table = self.network.items.weight
        if factors is None:
            factors = table.new_zeros(1, 1, 1).expand(*items.shape, 1)
        if shape is None:
            shape = table.new_zeros(1, 1, 1).expand(*items.shape, items.shape[1])
        return PairData(factors, shape, kernel)


class _AtTheEnd(_Served):
    def forward(
        self,
        items: Tensor,
        lengths: Tensor,
        users: Tensor | None = None,
        factors: Tensor | None = None,
        kernel: Tensor | None = None,
        shape: Tensor | None = None,
    ) -> Tensor:
        owners = torch.zeros_like(lengths) if users is None else users
        features = self.network(items, owners, self.pairs_of(items, factors, kernel, shape))
        return take(features, (lengths - 1).unsqueeze(1)).squeeze(1)


class _Explained(_Served):
    def __init__(self, network: RKSA, max_length: int) -> None:
        super().__init__(network)
        self.explainer = Explainer(network, max_length)

    def forward(
        self,
        items: Tensor,
        lengths: Tensor,
        users: Tensor | None = None,
        factors: Tensor | None = None,
        kernel: Tensor | None = None,
        shape: Tensor | None = None,
    ) -> Sequence[Tensor]:
        owners = torch.zeros_like(lengths) if users is None else users
        found = self.explainer(items, lengths, owners, self.pairs_of(items, factors, kernel, shape))
        relations = found.relation_lift.unbind(1)
        return (found.weights, found.spread, found.lift, *relations, found.own_lift, found.mixture)
