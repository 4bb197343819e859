"""Names of the classifiers. Imports no torch."""

import re
from dataclasses import dataclass
from typing import Literal

SMALL_NETWORKS: dict[str, str] = {
    "resnet8": "CIFAR ResNet, 3 stages of 1 block, 16-32-64 channels.",
    "resnet14": "CIFAR ResNet, 3 stages of 2 blocks, 16-32-64 channels.",
    "resnet20": "CIFAR ResNet, 3 stages of 3 blocks, 16-32-64 channels.",
    "resnet32": "CIFAR ResNet, 3 stages of 5 blocks, 16-32-64 channels.",
    "resnet56": "CIFAR ResNet, 3 stages of 9 blocks, 16-32-64 channels.",
    "resnet18": "ResNet-18 with a 3x3 stride-1 stem for small pictures, 64-128-256-512 channels.",
    "wrn-10-1": "Wide ResNet, 3 stages of 1 pre-activation block, 16-32-64 channels.",
    "wrn-16-1": "Wide ResNet, 3 stages of 2 pre-activation blocks, 16-32-64 channels.",
    "wrn-16-2": "Wide ResNet, 3 stages of 2 pre-activation blocks, 32-64-128 channels.",
    "wrn-28-2": "Wide ResNet, 3 stages of 4 pre-activation blocks, 32-64-128 channels.",
    "wrn-40-2": "Wide ResNet, 3 stages of 6 pre-activation blocks, 32-64-128 channels.",
    "wrn-28-10": "Wide ResNet, 3 stages of 4 pre-activation blocks, 160-320-640 channels.",
}
"""Networks of our own for small pictures. Any `wrn-D-K` with D = 6 n + 4 and any `resnetD` with D = 6 n + 2 works."""

LIBRARIES = ("timm", "torchvision")

MAX_DEPTH = 1202
MAX_WIDTH = 32


@dataclass(frozen=True, slots=True)
class ResNetSpec:
    """A CIFAR ResNet: `blocks` basic blocks in each of 3 stages."""

    blocks: int


@dataclass(frozen=True, slots=True)
class WideResNetSpec:
    """A Wide ResNet: `blocks` in each of 3 stages, 16 * `width` channels in the first."""

    blocks: int
    width: int


SmallNetworkSpec = ResNetSpec | WideResNetSpec | Literal["resnet18"]


def small_network_spec(name: str) -> SmallNetworkSpec | None:
    """What `name` means among our own networks, or None."""
    if name == "resnet18":
        return "resnet18"
    if match := re.fullmatch(r"resnet(\d{1,4})", name):
        return _resnet(int(match[1]))
    if match := re.fullmatch(r"wrn-(\d{1,4})-(\d{1,2})", name):
        return _wide_resnet(int(match[1]), int(match[2]))
    return None


def _resnet(depth: int) -> ResNetSpec | None:
    fits = depth % 6 == 2 and 8 <= depth <= MAX_DEPTH
    return ResNetSpec((depth - 2) // 6) if fits else None


def _wide_resnet(depth: int, width: int) -> WideResNetSpec | None:
    fits = depth % 6 == 4 and 10 <= depth <= MAX_DEPTH and 1 <= width <= MAX_WIDTH
    return WideResNetSpec((depth - 4) // 6, width) if fits else None
