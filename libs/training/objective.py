"""What one training step of any method hands to the loop, and the cross-entropy that classifiers share."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class StepLosses:
    """Losses of one batch.

    Attributes:
        losses: raw terms by name, scalars, each a mean over the batch.
        weights: factor of each term in the total; the same keys.
        scale: factor of the total: how much of what is learnt from is in this batch, beside others of as many examples.
            Reported are the raw terms, batches weighing as much as this says.
    """

    losses: Mapping[str, Tensor]
    weights: Mapping[str, float]
    scale: float = field(default=1.0, kw_only=True)

    @property
    def weighted(self) -> dict[str, Tensor]:
        """The terms by name; those of weight 0 are left out, so they cost no backward pass."""
        return {name: self.weights[name] * loss for name, loss in self.losses.items() if self.weights[name] != 0}

    @property
    def total(self) -> Tensor:
        """The scalar to differentiate."""
        return self.scale * torch.stack(list(self.weighted.values())).sum()


@dataclass(frozen=True, slots=True)
class StepOutput(StepLosses):
    """Losses and logits of one batch of a classifier.

    Attributes:
        logits: the classifier's, [B, K].
        extras: further tensors for logs and reports. One named `NAME_logits` [B, K] is measured on the validation
            split like the classifier's, and reported as `val/NAME_accuracy`.
    """

    logits: Tensor
    extras: Mapping[str, Tensor] = field(default_factory=dict)


class CrossEntropy(nn.Module):
    """Cross-entropy with class weights and label smoothing, in at least float32 and linear in the samples.

    mean_b sum_k q_bk w_k (-log softmax(z_b)_k). Dividing by the batch size, not by the sum of the weights, makes
    accumulated micro-batches and several processes equal to one big batch.

    Args:
        class_weights: w [K], of mean 1 over the training pictures; None: all 1.
        label_smoothing: share of q that is spread evenly over all classes.
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: Tensor | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of logits [B, K] against labels [B] (int64) or label distributions [B, K] (Mixup, CutMix)."""
        losses = F.cross_entropy(
            at_least_float32(logits),
            targets,
            weight=self.class_weights,
            label_smoothing=self.label_smoothing,
            reduction="none",
        )
        return losses.mean()


def at_least_float32(values: Tensor) -> Tensor:
    """`values`, in float32 if they are 16-bit: losses are computed in full precision, outside autocast."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def hard_labels(targets: Tensor) -> Tensor:
    """Labels [B] of labels [B], or the largest class of label distributions [B, K]."""
    return targets if targets.dim() == 1 else targets.argmax(1)


class PlainStep(nn.Module):
    """Cross-entropy training of a classifier: the supervised method, and what others are compared with."""

    def __init__(self, classifier: nn.Module, criterion: CrossEntropy) -> None:
        super().__init__()
        self.classifier = classifier
        self.criterion = criterion

    def forward(self, pictures: Tensor, targets: Tensor) -> StepOutput:
        """Loss of pictures [B, C, H, W] with labels [B] or label distributions [B, K]."""
        logits = self.classifier(pictures)
        return StepOutput({"ce_classifier": self.criterion(logits, targets)}, {"ce_classifier": 1.0}, logits)
