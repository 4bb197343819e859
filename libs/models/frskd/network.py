"""The self-teacher: a BiFPN on the classifier's stage features, thrown away after training.

Levels i = 0 (finest) .. n-1 (coarsest). A classifier feature F_i is [B, C_i, H_i, W_i], the refined map T_i
is [B, D_i, H_i, W_i] with D_i = width * C_i (variant `channel`) or one constant for all levels (`constant`).
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from libs.models.frskd.fused import weighted_sum

Variant = Literal["channel", "constant"]
Size = tuple[int, int]


class PointwiseBlock(nn.Sequential):
    """1x1 convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class SeparableBlock(nn.Sequential):
    """`depth` times depthwise 3x3, 1x1, batch norm, ReLU; resolution and channels stay."""

    def __init__(self, channels: int, depth: int) -> None:
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [
                nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
                nn.Conv2d(channels, channels, 1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


class Fusion(nn.Module):
    """Weighted sum of maps of one shape: sum_k relu(w_k) / (sum_j relu(w_j) + 1e-6) x_k.

    A weight clipped at zero has no gradient and stays there.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.raw_weights = nn.Parameter(torch.ones(inputs))

    def weights(self) -> Tensor:
        """The normalised weights [inputs]."""
        positive = self.raw_weights.relu()
        return positive / (positive.sum() + 1e-6)

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps [B, C, H, W], as many as there are weights, to one."""
        return weighted_sum(self.weights(), maps)


def upsample(feature: Tensor, size: Size) -> Tensor:
    """Nearest resize of [B, C, h, w] to `size`; nothing where the sizes agree already."""
    return feature if feature.shape[-2:] == size else F.interpolate(feature, size=size, mode="nearest")


def downsample(feature: Tensor, size: Size) -> Tensor:
    """3x3 stride-2 max-pool where `size` is exactly half, else adaptive max-pool; nothing at equal sizes.

    The paper pads with zeros at the right and bottom; the maps come out of a ReLU, so leaving the window open
    there (`ceil_mode`) gives the same values without the padded copy.
    """
    height, width = feature.shape[-2:]
    if (height, width) == size:
        return feature
    if (height, width) == (2 * size[0], 2 * size[1]):
        return F.max_pool2d(feature, 3, stride=2, ceil_mode=True)
    return _adaptive_max(_adaptive_max(feature, 2, size[0]), 3, size[1])


def _adaptive_max(feature: Tensor, dim: int, count: int) -> Tensor:
    """Adaptive max-pooling along one axis; unlike torch's, its gradient is repeatable on a GPU."""
    length = feature.shape[dim]
    bounds = [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]
    longest = max(stop - start for start, stop in bounds)
    window = [min(start + k, stop - 1) for start, stop in bounds for k in range(longest)]
    windows = feature.index_select(dim, torch.tensor(window, device=feature.device))
    shape = (*feature.shape[:dim], count, longest, *feature.shape[dim + 1 :])
    return windows.reshape(shape).amax(dim + 1)


class BiFPNLayer(nn.Module):
    """One top-down and one bottom-up pass over n levels.

    With L_i = lateral_down_i(F_i) and M_i = lateral_up_i(F_i):

        P_{n-1} = L_{n-1},  P_i = block( w_0 L_i + w_1 up_i(P_{i+1}) )
        T_0 = P_0,  T_i = block( w_0 M_i + w_1 P_i + w_2 down_i(T_{i-1}) ),  T_{n-1} without the P term

    `up_i` and `down_i` resize and, in the channel variant, change D_{i+1} or D_{i-1} to D_i by a 1x1 block.
    That block runs before the nearest up-sampling: the two commute exactly, and there it sees a quarter
    of the pixels.

    Args:
        in_channels: C_i of the inputs.
        channels: D_i of the outputs.
        depth: separable convolutions per 3x3 block.
        change_channels: 1x1 blocks between levels (the channel variant).
        first: this layer reads classifier features; a later one has no `lateral_down`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: Sequence[int],
        depth: int,
        *,
        change_channels: bool,
        first: bool,
    ) -> None:
        super().__init__()
        levels = len(channels)
        pairs = list(zip(in_channels, channels, strict=True))

        def resize_blocks(sources: Sequence[int], targets: Sequence[int]) -> nn.ModuleList:
            between = zip(sources, targets, strict=True)
            return nn.ModuleList(PointwiseBlock(s, t) if change_channels else nn.Identity() for s, t in between)

        self.lateral_down = nn.ModuleList(PointwiseBlock(c, d) if first else nn.Identity() for c, d in pairs)
        self.lateral_up = nn.ModuleList(PointwiseBlock(c, d) for c, d in pairs[1:])
        self.up = resize_blocks(channels[1:], channels[:-1])
        self.down = resize_blocks(channels[:-1], channels[1:])
        self.top_down = nn.ModuleList(SeparableBlock(d, depth) for d in channels[:-1])
        self.bottom_up = nn.ModuleList(SeparableBlock(d, depth) for d in channels[1:])
        self.top_down_fusion = nn.ModuleList(Fusion(2) for _ in range(levels - 1))
        self.bottom_up_fusion = nn.ModuleList(Fusion(2 if i == levels - 1 else 3) for i in range(1, levels))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Features [B, C_i, H_i, W_i], finest first, to refined maps [B, D_i, H_i, W_i]."""
        return self._bottom_up_pass(features, self._top_down_pass(features))

    def _top_down_pass(self, features: Sequence[Tensor]) -> list[Tensor]:
        """P_0 .. P_{n-1}."""
        refined = [self.lateral_down[-1](features[-1])]
        for i in reversed(range(len(features) - 1)):
            lateral = self.lateral_down[i](features[i])  # [B, D_i, H_i, W_i]
            above = upsample(self.up[i](refined[0]), lateral.shape[-2:])
            refined.insert(0, self.top_down[i](self.top_down_fusion[i](lateral, above)))
        return refined

    def _bottom_up_pass(self, features: Sequence[Tensor], top_down: Sequence[Tensor]) -> list[Tensor]:
        """T_0 .. T_{n-1}."""
        refined = [top_down[0]]
        for i in range(1, len(features)):
            lateral = self.lateral_up[i - 1](features[i])  # [B, D_i, H_i, W_i]
            below = self.down[i - 1](downsample(refined[-1], lateral.shape[-2:]))
            between = [] if i == len(features) - 1 else [top_down[i]]
            refined.append(self.bottom_up[i - 1](self.bottom_up_fusion[i - 1](lateral, *between, below)))
        return refined


class SelfTeacher(nn.Module):
    """BiFPN layers and a linear head on the globally averaged coarsest map.

    Args:
        in_channels: C_i of the classifier's features, finest first; at least two levels.
        num_classes: K.
        variant: `channel` (BiFPNc): D_i = width * C_i. `constant` (BiFPN): D_i = `constant_channels`.
        width: channel multiplier of the channel variant.
        depth: separable convolutions per 3x3 block.
        repeats: number of BiFPN layers.

    Raises:
        ValueError: fewer than two levels, or a size below 1.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        *,
        variant: Variant = "channel",
        width: int = 2,
        depth: int = 2,
        repeats: int = 1,
        constant_channels: int = 256,
    ) -> None:
        super().__init__()
        if len(in_channels) < 2:
            raise ValueError(f"the self-teacher needs features of at least 2 levels, got {len(in_channels)}")
        if min(width, depth, repeats, constant_channels, num_classes) < 1:
            raise ValueError("width, depth, repeats, constant_channels and num_classes are at least 1")
        per_channel = variant == "channel"
        self.channels = [width * c if per_channel else constant_channels for c in in_channels]
        self.layers = nn.ModuleList(
            BiFPNLayer(
                in_channels if r == 0 else self.channels,
                self.channels,
                depth,
                change_channels=per_channel,
                first=r == 0,
            )
            for r in range(repeats)
        )
        self.head = nn.Linear(self.channels[-1], num_classes)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Logits z_T [B, K] and refined maps T_i [B, D_i, H_i, W_i] of features F_i [B, C_i, H_i, W_i]."""
        refined = list(features)
        for layer in self.layers:
            refined = layer(refined)
        return self.head(refined[-1].mean((2, 3))), refined

    def fusion_weights(self) -> dict[str, Tensor]:
        """Normalised weights per fusion node, `layer0.top_down1` → [inputs], for the report."""
        named: dict[str, Tensor] = {}
        for r, layer in enumerate(self.layers):
            assert isinstance(layer, BiFPNLayer)
            for direction, offset in (("top_down", 0), ("bottom_up", 1)):
                for i, fusion in enumerate(getattr(layer, f"{direction}_fusion")):
                    named[f"layer{r}.{direction}{i + offset}"] = fusion.weights().detach()
        return named
