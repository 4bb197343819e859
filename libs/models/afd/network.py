"""The attention network of AFD, and the loss it weighs. It exists in training only."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from libs.models.afd.objective import BetaMode, map_distances
from libs.training.energy import energy_and_mean


class LinkAttention(nn.Module):
    """How much each teacher feature attends to each student feature, per sample.

        q_t      = BN_t( W^Q_t gap(h^T_t) + b )
        k_s      = ReLU( BN_s( W^K_s gap(h^S_s) + b ) )
        K_{s,t}  = t-th part of BN( W^B k_s + b )                one map for all s; its BN sees B*S rows
        alpha    = softmax_s( ( q_t . K_{s,t} + P^T_t . P^S_s ) / sqrt(d) )

    The norms of all queries (of all keys) are one batch norm over their concatenation, which is the same: batch
    norm works channel by channel.

    Args:
        student_channels: C of every student feature.
        teacher_channels: C of every teacher feature.
        width: d.
    """

    def __init__(self, student_channels: Sequence[int], teacher_channels: Sequence[int], width: int) -> None:
        super().__init__()
        students, teachers = len(student_channels), len(teacher_channels)
        self.width = width
        self.query = nn.ModuleList(nn.Linear(channels, width) for channels in teacher_channels)
        self.query_norm = nn.BatchNorm1d(teachers * width)
        self.key = nn.ModuleList(nn.Linear(channels, width) for channels in student_channels)
        self.key_norm = nn.BatchNorm1d(students * width)
        self.bilinear = nn.Linear(width, teachers * width)
        self.bilinear_norm = nn.BatchNorm1d(teachers * width)
        self.teacher_position = nn.Parameter(nn.init.xavier_normal_(torch.empty(teachers, width)))
        self.student_position = nn.Parameter(nn.init.xavier_normal_(torch.empty(students, width)))

    def forward(self, students: Sequence[Tensor], teachers: Sequence[Tensor]) -> Tensor:
        """alpha [B, T, S] of channel means, each [B, C]."""
        queries, keys = self.queries(teachers), self.bilinear_keys(students)
        content = torch.einsum("btd,bstd->bts", queries, keys)
        position = self.teacher_position @ self.student_position.T  # [T, S]
        return ((content + position) / math.sqrt(self.width)).softmax(2)

    def queries(self, teachers: Sequence[Tensor]) -> Tensor:
        """q [B, T, d]."""
        projected = [project(mean) for project, mean in zip(self.query, teachers, strict=True)]
        normalised: Tensor = self.query_norm(torch.cat(projected, 1))
        return normalised.reshape(len(normalised), -1, self.width)

    def bilinear_keys(self, students: Sequence[Tensor]) -> Tensor:
        """K [B, S, T, d]."""
        projected = [project(mean) for project, mean in zip(self.key, students, strict=True)]
        keys: Tensor = self.key_norm(torch.cat(projected, 1)).relu()  # [B, S*d]
        rows: Tensor = self.bilinear_norm(self.bilinear(keys.reshape(-1, self.width)))  # [B*S, T*d]
        return rows.reshape(len(keys), -1, len(self.query), self.width)


class Summary(NamedTuple):
    """All that AFD reads of a feature, in at least float32. Attributes: energy m(h) [B, H, W]; mean gap(h) [B, C]."""

    energy: Tensor
    mean: Tensor


def summary(feature: Tensor) -> Summary:
    """The summary of a feature [B, C, H, W], outside autocast."""
    with torch.autocast(feature.device.type, enabled=False):
        return Summary(*energy_and_mean(feature))


class Linked(NamedTuple):
    """What AFD makes of one batch.

    Attributes:
        loss: L_AFD, a scalar.
        attention: alpha [B, T, S].
        distances: D [B, T, S].
    """

    loss: Tensor
    attention: Tensor
    distances: Tensor


class AFDLoss(nn.Module):
    """L_AFD = sum_t mean_b sum_s alpha[b,t,s] D[b,t,s] of student features s and teacher features t.

    The gradient reaches the student through D and through the keys, the attention network through alpha, the teacher
    not at all. All in at least float32, outside autocast.

    Args:
        student_channels: C of every student feature, in network order.
        teacher_channels: likewise.
        width: d, length of queries and keys.
        beta_mode: `paper`: D is a mean over positions; `sum`: a sum.

    Raises:
        ValueError: no features.

    Example:
        >>> afd = AFDLoss([32, 64, 128], [32, 64, 128])
        >>> afd(student_features, teacher_features).loss.backward()
    """

    def __init__(
        self,
        student_channels: Sequence[int],
        teacher_channels: Sequence[int],
        width: int = 128,
        beta_mode: BetaMode = "paper",
    ) -> None:
        super().__init__()
        if not student_channels or not teacher_channels:
            raise ValueError("AFD links at least one student feature and one teacher feature")
        self.beta_mode: BetaMode = beta_mode
        self.attention = LinkAttention(student_channels, teacher_channels, width)

    def forward(self, students: Sequence[Tensor], teachers: Sequence[Tensor]) -> Linked:
        """The loss of features [B, C, H, W] of one batch; sizes and memory formats may differ from feature to feature.

        Raises:
            ValueError: a single sample in training, which batch norm cannot take.
        """
        with torch.no_grad():
            taught = [summary(feature) for feature in teachers]
        return self.link([summary(feature) for feature in students], taught)

    def link(self, students: Sequence[Summary], teachers: Sequence[Summary]) -> Linked:
        """The loss of features that are summarised already.

        Raises:
            ValueError: a single sample in training, which batch norm cannot take.
        """
        student_energies, student_means = [s.energy for s in students], [s.mean for s in students]
        teacher_energies, teacher_means = [t.energy for t in teachers], [t.mean for t in teachers]
        if self.training and len(student_means[0]) == 1:
            raise ValueError("AFD's batch norms need at least 2 pictures in a training batch, got 1")
        with torch.autocast(student_means[0].device.type, enabled=False):
            attention = self.attention(student_means, teacher_means)
            distances = map_distances(student_energies, teacher_energies, self.beta_mode)
            return Linked((attention * distances).sum((1, 2)).mean(), attention, distances)
