"""ResNets with a 3x3 stride-1 stem, for pictures of about 8 to 64 pixels (He et al. 2016)."""

from collections.abc import Sequence

from torch import Tensor, nn

from libs.models.backbones.initialisation import initialise


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut, ReLU after the sum (He et al. 2016)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != channels:
            projection = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(channels))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] → [B, channels, H / stride, W / stride], rounded up."""
        out = self.relu(self.bn1(self.conv1(x)))
        activated: Tensor = self.relu(self.bn2(self.conv2(out)) + self.shortcut(x))
        return activated


def _stage(blocks: int, in_channels: int, channels: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))


class SmallResNet(nn.Module):
    """Stem, stages of basic blocks (each after the first halves the resolution), global average, linear head.

    Args:
        blocks: blocks per stage.
        channels: channels per stage.
        num_classes: K.
        in_channels: channels of the pictures.
    """

    def __init__(self, blocks: Sequence[int], channels: Sequence[int], num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU(inplace=True)
        inputs = [channels[0], *channels[:-1]]
        self.stages = nn.ModuleList(
            _stage(count, previous, width, stride=1 if index == 0 else 2)
            for index, (count, previous, width) in enumerate(zip(blocks, inputs, channels, strict=True))
        )
        self.fc = nn.Linear(channels[-1], num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, K] of pictures [B, C, H, W]."""
        x = self.relu(self.bn1(self.conv1(x)))
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits
