"""Names of the classifiers. Imports no torch."""

import difflib
import re
from collections.abc import Iterable
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


def check_classifier_name(name: str) -> str:
    """`name`, if it is one of our networks or has the form of one of timm's or torchvision's.

    Whether a library has that network is known to the library alone, which takes as long to import as torch.

    Raises:
        ValueError: it can be no classifier; the message names the nearest ones.
    """
    if small_network_spec(name) is not None or re.fullmatch(rf"({'|'.join(LIBRARIES)})/[A-Za-z0-9_.-]+", name):
        return name
    raise ValueError(unknown_classifier(name, SMALL_NETWORKS))


def unknown_classifier(name: str, known: Iterable[str]) -> str:
    """What to say about a name that no classifier has; the nearest of `known` are proposed."""
    nearest = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(nearest)}?" if nearest else ""
    return (
        f"There is no classifier {name!r}.{hint} Small pictures: {', '.join(SMALL_NETWORKS)}; "
        "others: timm/NAME or torchvision/NAME. A model of the registry to start from is named in `models`, as `init`."
    )


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
