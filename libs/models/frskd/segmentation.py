"""The feature pyramid layer of the segmentation variant (section 5.1 of the method).

Unlike the classification layer it keeps one width, adds without learned weights, and its blocks are a scale and shift
per channel. The pixel-wise soft-label loss of that variant is `libs.training.distillation.kd_loss` on logits
[B, K, H, W] with T = 1.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class ScaleBlock(nn.Sequential):
    """Scale and shift per channel (a depthwise 1x1 convolution), batch norm, ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 1, groups=channels),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )


class SegmentationBiFPNLayer(nn.Module):
    """One layer over n levels of one width, finest first.

        U_{n-1} = up_{n-1}(P_{n-1}),  U_i = up_i( P_i + bilinear(U_{i+1}) )
        O_0 = U_0,  O_i = down_i( P_i + U_i + nearest(O_{i-1}) )

    Args:
        channels: width of every level.
        levels: n.
        top_down_only: stop at U; the last layer of the self-teacher does.
    """

    def __init__(self, channels: int, levels: int, *, top_down_only: bool = False) -> None:
        super().__init__()
        self.up = nn.ModuleList(ScaleBlock(channels) for _ in range(levels))
        self.down = nn.ModuleList(ScaleBlock(channels) for _ in range(0 if top_down_only else levels - 1))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Refined maps of maps [B, C, H_i, W_i]."""
        top_down = [self.up[-1](features[-1])]
        for feature, block in zip(reversed(features[:-1]), reversed(self.up[:-1]), strict=True):
            top_down.insert(0, block(feature + resize(top_down[0], feature, "bilinear")))
        if not self.down:
            return top_down
        refined = [top_down[0]]
        for feature, lateral, block in zip(features[1:], top_down[1:], self.down, strict=True):
            refined.append(block(feature + lateral + resize(refined[-1], feature, "nearest")))
        return refined


def resize(source: Tensor, target: Tensor, mode: str) -> Tensor:
    """`source` at the height and width of `target`."""
    size = target.shape[-2:]
    return source if source.shape[-2:] == size else F.interpolate(source, size=size, mode=mode)
