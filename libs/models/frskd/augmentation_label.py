"""Self-supervised label augmentation (SLA) with the four rotations by 90 degrees, section 3.1 of the method.

Joint heads classify (class, rotation) pairs of the rotated pictures. Averaging, over the rotations k, the joint
logits of (class, k) on the copy turned k times gives the aggregated logits, a stronger teacher of the plain ones.
"""

import torch
from torch import Tensor, nn

ROTATIONS = 4


def rotate_all(pictures: Tensor) -> Tensor:
    """[B, C, H, H] → [4B, C, H, H]; row 4b + k is picture b turned k times counter-clockwise."""
    turned = [torch.rot90(pictures, k, (2, 3)) for k in range(ROTATIONS)]
    return torch.stack(turned, 1).flatten(0, 1)


def joint_targets(targets: Tensor) -> Tensor:
    """Targets of the rotated rows over 4K joint classes; class c and rotation k share index 4c + k.

    Class indices [B] become indices [4B], label distributions [B, K] become distributions [4B, 4K].
    """
    if targets.dim() == 1:
        rotation = torch.arange(ROTATIONS, device=targets.device)
        return (ROTATIONS * targets[:, None] + rotation).flatten()
    rotation = torch.eye(ROTATIONS, dtype=targets.dtype, device=targets.device)
    return torch.einsum("bc,kj->bkcj", targets, rotation).flatten(2).flatten(0, 1)


def aggregate(joint_logits: Tensor) -> Tensor:
    """Mean over k of the joint logits of (class, k) on the copy turned k times, [4B, 4K] → [B, K]."""
    pictures, classes = (n // ROTATIONS for n in joint_logits.shape)
    by_rotation = joint_logits.reshape(pictures, ROTATIONS, classes, ROTATIONS)
    return by_rotation.diagonal(dim1=1, dim2=3).mean(2)


class JointHead(nn.Linear):
    """Linear head over (class, rotation) pairs on a globally averaged map, [B, C, H, W] → [B, 4K]."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__(channels, ROTATIONS * num_classes)

    def forward(self, feature: Tensor) -> Tensor:
        """Logits of a map."""
        return super().forward(feature.mean((2, 3)))
