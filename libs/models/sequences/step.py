"""One training step of a next-item model: what it makes of windows, and the objective over their targets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from libs.models.sequences.config import SequenceTrainingConfig
from libs.models.sequences.ends import EndReader
from libs.models.sequences.losses import bpr_loss, gbce_loss, sampled_bce_loss, softmax_loss, uniform_negatives
from libs.training.objective import StepLosses


@dataclass(frozen=True, slots=True)
class Features:
    """What a model makes of a batch.

    Attributes:
        features: one a position, [B, n, d]; scores are products with the item vectors.
        penalties: further terms of the loss by name, scalars.
    """

    features: Tensor
    penalties: Mapping[str, Tensor] = field(default_factory=dict)


class NextItemModel(Protocol):
    """A model that reads windows; an `nn.Module`.

    Attributes:
        item_vectors: what features are multiplied with, [num_items + 1, d]; row 0 is padding.
        penalty_weights: factor of each penalty.
    """

    penalty_weights: Mapping[str, float]

    @property
    def item_vectors(self) -> Tensor: ...

    def encode(self, items: Tensor, lengths: Tensor, users: Tensor) -> Features:
        """Features of windows: ids [B, n] right-padded with 0, inputs of each row [B], users [B]."""


@runtime_checkable
class Observed(Protocol):
    """A next-item model that has figures of its own to report."""

    def observe(self, items: Tensor, lengths: Tensor, users: Tensor) -> Mapping[str, float]:
        """Figures by name, from some windows as in `encode`; asked for in evaluation mode."""


@runtime_checkable
class ReadsEnds(Protocol):
    """A next-item model that can be read after each row's last item by less work than `encode`."""

    def ends(self) -> EndReader:
        """The features there, of the weights of now, in evaluation mode and full precision on a CPU."""


class NextItemStep(nn.Module):
    """A model and its objective. Negatives are drawn by torch's global generator, which checkpoints keep.

    Every target weighs alike, whatever batch it is in. Batches hold windows of about the same length, so a mean over
    the targets of each would count those of long histories less: one of 50 events an eighth of one of 6. The total of a
    step, penalties and all, is therefore scaled by its targets over what so many windows hold on average; parts of a
    batch, in micro-batches or in processes of as many windows, then add up to the whole. Reported are means over
    targets. A gradient's norm grows with the length of the windows, so where `clip_grad_norm` cuts it, targets of long
    histories weigh less.

    Args:
        model: a `NextItemModel`.
        targets_per_window: mean over the training windows.
    """

    model: nn.Module

    def __init__(self, model: nn.Module, config: SequenceTrainingConfig, targets_per_window: float) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.targets_per_window = targets_per_window

    def forward(self, items: Tensor, targets: Tensor, lengths: Tensor, users: Tensor) -> StepLosses:
        """Losses of windows.

        Args:
            items: [B, n]. targets: the item after each, [B, n]; 0 where none is to be foretold.
            lengths: [B]. users: [B].
        """
        model: NextItemModel = self.model  # type: ignore[assignment]
        made = model.encode(items, lengths, users)
        wanted = targets != 0
        positives = targets[wanted]
        loss = self._objective(made.features[wanted], model.item_vectors, positives)
        weights = {name: model.penalty_weights[name] for name in made.penalties}
        scale = len(positives) / (len(items) * self.targets_per_window)
        return StepLosses({"next_item": loss, **made.penalties}, {"next_item": 1.0, **weights}, scale=scale)

    def _objective(self, features: Tensor, items: Tensor, positives: Tensor) -> Tensor:
        if self.config.objective == "softmax":
            return softmax_loss(features, items, positives)
        negatives = uniform_negatives(positives, len(items) - 1, self.config.negatives)
        if self.config.objective == "bce":
            return sampled_bce_loss(features, items, positives, negatives)
        if self.config.objective == "bpr":
            return bpr_loss(features, items, positives, negatives)
        return gbce_loss(features, items, positives, negatives, self.config.gbce_calibration)
