"""The self-teacher and losses the way the public code computes them, as a yardstick for `frskd_step`.

Same function as `libs.models.frskd`, other order of work: the 1x1 block runs after the nearest up-sampling, ReLU is
applied again wherever a map is read, max-pooling works on a zero-padded copy, and attention maps come from a generic
power.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-6
ALPHA, BETA, TEMPERATURE = 2.0, 100.0, 4.0


def block(in_channels: int, out_channels: int) -> nn.Sequential:
    """1x1 convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=False)
    )


class Separable(nn.Module):
    """`depth` separable convolutions; the last ReLU is left to the reader."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for k in range(depth):
            layers += [
                nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
                nn.Conv2d(channels, channels, 1, bias=False),
                nn.BatchNorm2d(channels),
            ]
            if k < depth - 1:
                layers.append(nn.ReLU(inplace=False))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return result


def fuse(raw: Tensor, maps: Sequence[Tensor]) -> Tensor:
    """Sum with relu-normalised weights; every map goes through ReLU once more."""
    positive = F.relu(raw)
    weights = positive / (positive.sum() + EPSILON)
    fused = weights[0] * F.relu(maps[0])
    for k, one in enumerate(maps[1:], start=1):
        fused = fused + weights[k] * F.relu(one)
    return fused


class PublicSelfTeacher(nn.Module):
    """BiFPNc of one layer; width 2, depth 2."""

    def __init__(self, in_channels: Sequence[int], num_classes: int, width: int = 2, depth: int = 2) -> None:
        super().__init__()
        channels = [width * c for c in in_channels]
        n = len(channels)
        self.lateral_down = nn.ModuleList(block(c, d) for c, d in zip(in_channels, channels, strict=True))
        self.lateral_up = nn.ModuleList(block(in_channels[i], channels[i]) for i in range(1, n))
        self.up = nn.ModuleList(block(channels[i + 1], channels[i]) for i in range(n - 1))
        self.down = nn.ModuleList(block(channels[i - 1], channels[i]) for i in range(1, n))
        self.top_down = nn.ModuleList(Separable(d, depth) for d in channels[:-1])
        self.bottom_up = nn.ModuleList(Separable(d, depth) for d in channels[1:])
        self.top_down_weights = nn.ParameterList(torch.ones(2) for _ in range(n - 1))
        self.bottom_up_weights = nn.ParameterList(torch.ones(3 if i < n - 1 else 2) for i in range(1, n))
        self.head = nn.Linear(channels[-1], num_classes)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        n = len(features)
        features = [F.relu(feature) for feature in features]
        top_down = [self.lateral_down[-1](features[-1])]
        for i in reversed(range(n - 1)):
            above = self.up[i](F.interpolate(F.relu(top_down[0]), scale_factor=2, mode="nearest"))
            fused = fuse(self.top_down_weights[i], [self.lateral_down[i](features[i]), above])
            top_down.insert(0, self.top_down[i](fused))
        refined = [top_down[0]]
        for i in range(1, n):
            below = F.max_pool2d(F.pad(F.relu(refined[-1]), (0, 1, 0, 1)), 3, stride=2)
            maps = [self.lateral_up[i - 1](features[i]), self.down[i - 1](below)]
            if i < n - 1:
                maps.insert(1, top_down[i])
            refined.append(self.bottom_up[i - 1](fuse(self.bottom_up_weights[i - 1], maps)))
        refined = [F.relu(feature) for feature in refined]
        logits = self.head(F.adaptive_avg_pool2d(refined[-1], 1).flatten(1))
        return logits, refined


def attention(feature: Tensor) -> Tensor:
    """Normalised mean energy, [B, HW]."""
    return F.normalize(feature.pow(2).mean(1).view(feature.size(0), -1))


def public_loss(
    logits: Tensor, features: Sequence[Tensor], teacher_logits: Tensor, refined: Sequence[Tensor], labels: Tensor
) -> Tensor:
    """CE + CE + 2 KD + 100 attention distance."""
    soft = F.softmax(teacher_logits.detach() / TEMPERATURE, dim=1)
    kd = F.kl_div(F.log_softmax(logits / TEMPERATURE, dim=1), soft, reduction="batchmean") * TEMPERATURE**2
    pairs = zip(features, refined, strict=True)
    feature = torch.stack([(attention(f) - attention(t.detach())).pow(2).mean() for f, t in pairs]).sum()
    cross_entropy = F.cross_entropy(logits, labels) + F.cross_entropy(teacher_logits, labels)
    return cross_entropy + ALPHA * kd + BETA * feature
