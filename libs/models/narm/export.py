"""What of NARM is served: the features after a history, and what they read of it."""

from torch import Tensor, nn

from libs.models.sequences.graphs import Servable
from libs.models.sequences.recurrent import NARM
from libs.serving.bundle import TensorSpec


def servable(model: NARM) -> Servable:
    """Its graphs; the explanation is `attention` [N, n]."""
    attention = TensorSpec(name="attention", datatype="FP32", shape=[-1, -1])
    return Servable(_AtTheEnd(model), explain=_Attention(model), explanations=[attention])


class _AtTheEnd(nn.Module):
    def __init__(self, model: NARM) -> None:
        super().__init__()
        self.model = model

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        return self.model.read(items, (lengths - 1).unsqueeze(1))[0].squeeze(1)


class _Attention(nn.Module):
    def __init__(self, model: NARM) -> None:
        super().__init__()
        self.model = model

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        return self.model.read(items, (lengths - 1).unsqueeze(1))[1].squeeze(1)
