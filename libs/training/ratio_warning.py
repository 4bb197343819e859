"""Notice when a feature-distillation term drowns the cross-entropy: its weight is wrong then, not the method."""

import math
from collections.abc import Mapping

from torch import Tensor

REFERENCE = "ce_classifier"
WATCHED = "feature"
TOO_OFTEN = 0.2
GOOD_SHARE = 0.2


class LossRatioWatch:
    """Counts, per epoch, the steps in which a weighted term exceeds the classifier's cross-entropy.

    Once the classifier is far better than chance (cross-entropy below a fifth of log K) everything exceeds it, so the
    comparison stops falling there.

    Only terms named `feature…` are watched: their scale depends on sizes and layers. Soft-label terms are of one kind
    with the cross-entropy and may well exceed it in a sound recipe.
    """

    def __init__(self, classes: int) -> None:
        self._floor = GOOD_SHARE * math.log(classes)
        self._over: dict[str, int] = {}
        self._steps = 0
        self._told: set[str] = set()

    def add(self, weighted: Mapping[str, Tensor]) -> None:
        """Take in weighted terms by name, each [steps]."""
        reference = weighted.get(REFERENCE)
        if reference is None:
            return
        self._steps += len(reference)
        for name, values in weighted.items():
            if name.startswith(WATCHED):
                self._over[name] = self._over.get(name, 0) + int((values > reference.clamp(min=self._floor)).sum())

    def end_epoch(self) -> list[str]:
        """Warnings of the epoch that ends, each term once a run."""
        warnings: list[str] = []
        for name, count in self._over.items():
            if count > TOO_OFTEN * self._steps and name not in self._told:
                self._told.add(name)
                warnings.append(
                    f"the weighted loss {name!r} was larger than the classifier's cross-entropy in "
                    f"{count / self._steps:.0%} of this epoch's steps; a smaller weight may train better"
                )
        self._over, self._steps = {}, 0
        return warnings
