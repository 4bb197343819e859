"""AFD the way the public code computes it, as a yardstick for `afd_step`.

The same function as `libs.models.afd`, in another order of work: a batch norm a feature, the energy of a student
feature once for every distinct teacher size, differences of maps [B, S, HW] written out for each teacher feature. Wide
ResNets there compute the norm and activation that open a block twice: for the list of features, and on the main path.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from libs.training.taps import captured_outputs


class NormLinear(nn.Module):
    """Linear and batch norm of one feature's channel means."""

    def __init__(self, channels: int, width: int, *, activate: bool) -> None:
        super().__init__()
        self.linear, self.norm, self.activate = nn.Linear(channels, width), nn.BatchNorm1d(width), activate

    def forward(self, rows: Tensor) -> Tensor:
        made: Tensor = self.norm(self.linear(rows))
        return made.relu() if self.activate else made


class PublicAFD(nn.Module):
    """L_AFD of features of fixed shapes (C, H, W)."""

    def __init__(
        self, students: Sequence[tuple[int, int, int]], teachers: Sequence[tuple[int, int, int]], width: int = 128
    ) -> None:
        super().__init__()
        self.width, self.teachers = width, list(teachers)
        self.sizes = sorted({(h, w) for _, h, w in teachers})
        self.queries = nn.ModuleList(NormLinear(c, width, activate=False) for c, _, _ in teachers)
        self.keys = nn.ModuleList(NormLinear(c, width, activate=True) for c, _, _ in students)
        self.bilinear = NormLinear(width, width * len(teachers), activate=False)
        self.teacher_position = nn.Parameter(nn.init.xavier_normal_(torch.empty(len(teachers), width)))
        self.student_position = nn.Parameter(nn.init.xavier_normal_(torch.empty(len(students), width)))

    def forward(self, students: Sequence[Tensor], teachers: Sequence[Tensor]) -> Tensor:
        count = len(students)
        queries = torch.stack([q(h.mean((2, 3))) for q, h in zip(self.queries, teachers, strict=True)], 1)
        keys = torch.stack([k(h.mean((2, 3))) for k, h in zip(self.keys, students, strict=True)], 1)
        pairs = self.bilinear(keys.reshape(-1, self.width)).reshape(len(keys), count, -1, self.width)
        logits = torch.einsum("bstd,btd->bts", pairs, queries) + self.teacher_position @ self.student_position.T
        attention = F.softmax(logits / math.sqrt(self.width), 2)
        values = {size: self._values(students, size) for size in self.sizes}
        losses = []
        for t, (teacher, (_, height, width)) in enumerate(zip(teachers, self.teachers, strict=True)):
            own = F.normalize(teacher.pow(2).mean(1).flatten(1), dim=1)
            difference = (values[height, width] - own.unsqueeze(1)).pow(2).mean(2)  # [B, S]
            losses.append((difference * attention[:, t]).sum(1).mean())
        return torch.stack(losses).sum()

    @staticmethod
    def _values(students: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Unit maps [B, S, HW] of all student features at one size."""
        pooled = [F.adaptive_avg_pool2d(h.pow(2).mean(1, keepdim=True), size).flatten(1) for h in students]
        return F.normalize(torch.stack(pooled, 1), dim=2)


def public_features(network: nn.Module, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits and block features of our Wide ResNet, each by a second norm and activation of a block's output."""
    blocks = [(f"stages.{i}.{k}", block) for i, stage in enumerate(network.stages) for k, block in enumerate(stage)]
    openers = [*(block.bn1 for _, block in blocks[1:]), network.bn1]
    with captured_outputs(network, [path for path, _ in blocks]) as outputs:
        logits = network(pictures)
    pairs = zip((outputs[path] for path, _ in blocks), openers, strict=True)
    return logits, [norm(output).relu() for output, norm in pairs]
