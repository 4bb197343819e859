"""Signs that a run goes wrong, for the training loop to report."""

import torch
from torch import Tensor, nn

from libs.training.objective import StepOutput
from libs.training.tap_search import find_taps

SMALL_PICTURE_PX = 64
COARSE_STEM_STRIDE = 4


class LossRatioMonitor:
    """Watches whether beta * L_F outweighs the classifier's cross-entropy; a beta far too large ruins the training.

    Call `update` every step and `end_epoch` every epoch. Counting stays on the device until the epoch's end.

    Args:
        largest_share: of an epoch's steps that may have beta * L_F > CE.
    """

    def __init__(self, largest_share: float = 0.2) -> None:
        self.largest_share = largest_share
        self._steps = 0
        self._outweighed: Tensor | None = None

    def update(self, step: StepOutput) -> None:
        """Count one step that has the terms `feature` and `ce_classifier`."""
        weighted = step.weights["feature"] * step.losses["feature"].detach()
        outweighed = (weighted > step.losses["ce_classifier"].detach()).to(torch.int64)
        self._outweighed = outweighed if self._outweighed is None else self._outweighed + outweighed
        self._steps += 1

    def end_epoch(self) -> str | None:
        """A warning about the steps since the last call, or None; the count starts anew."""
        share = int(self._outweighed) / self._steps if self._outweighed is not None else 0.0
        self._steps, self._outweighed = 0, None
        if share <= self.largest_share:
            return None
        return (
            f"beta * L_F was larger than the cross-entropy in {share:.0%} of the steps of this epoch: if the accuracy "
            "stays low, beta is too large for these pictures (it grows with their area, 100 at 32x32)"
        )


def stem_warning(classifier: nn.Module, example: Tensor) -> str | None:
    """What to say when a network made for large pictures meets small ones, or None.

    Args:
        example: a picture like those of the training, [1, C, H, W].
    """
    height, width = example.shape[2:]
    if max(height, width) > SMALL_PICTURE_PX:
        return None
    finest = find_taps(classifier, example)[0]
    stride = max(height / finest.height, width / finest.width)
    if stride < COARSE_STEM_STRIDE:
        return None
    return (
        f"the network shrinks pictures of {height}x{width} by {stride:.0f} before its first stage, a stem for large "
        "pictures; a network for small ones (resnet18, wrn-16-2 ...) or a larger image_size usually does much better"
    )
