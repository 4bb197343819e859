"""Wide ResNets (Zagoruyko and Komodakis 2016): pre-activation blocks, global average pooling."""

from itertools import pairwise

from torch import Tensor, nn

from libs.models.backbones.initialisation import initialise


class PreActivationBlock(nn.Module):
    """BN, ReLU, 3x3, BN, ReLU, 3x3, plus a shortcut; a projection reads the activated input."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        same = stride == 1 and in_channels == channels
        self.shortcut = None if same else nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] → [B, channels, H / stride, W / stride], rounded up; before the activation."""
        activated = self.relu1(self.bn1(x))
        residual: Tensor = self.conv2(self.relu2(self.bn2(self.conv1(activated))))
        return residual + (x if self.shortcut is None else self.shortcut(activated))


def _stage(blocks: int, in_channels: int, channels: int, stride: int) -> nn.Sequential:
    first = PreActivationBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(PreActivationBlock(channels, channels, 1) for _ in range(blocks - 1)))


class WideResNet(nn.Module):
    """`wrn-D-K`: stem of 16 channels, three stages of (D - 4) / 6 blocks with 16 K, 32 K, 64 K channels.

    Args:
        blocks: blocks per stage.
        width: K, the channel multiplier.
        num_classes: classes of the head.
        in_channels: channels of the pictures.
    """

    def __init__(self, blocks: int, width: int, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        channels = [16, 16 * width, 32 * width, 64 * width]
        self.conv1 = nn.Conv2d(in_channels, channels[0], 3, padding=1, bias=False)
        self.stages = nn.ModuleList(
            _stage(blocks, previous, wide, stride=1 if index == 0 else 2)
            for index, (previous, wide) in enumerate(pairwise(channels))
        )
        self.bn1 = nn.BatchNorm2d(channels[-1])
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(channels[-1], num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, K] of pictures [B, C, H, W]."""
        x = self.conv1(x)
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.fc(self.relu(self.bn1(x)).mean((2, 3)))
        return logits
