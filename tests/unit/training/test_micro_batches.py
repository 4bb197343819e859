"""How a batch of labelled and unlabelled pictures is cut for `accumulate`."""

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch

from libs.training.classification_data import ClassificationData, Unlabelled
from libs.training.config import ImageTrainingConfig
from libs.training.session import micro_batches

SIZES = [(labelled, parts) for labelled in range(1, 25) for parts in range(1, 13)]


@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0, 1.5, 2.0, 7.3])
def test_each_part_has_its_share_of_unlabelled_pictures(
    open_bars: Callable[[ImageTrainingConfig], ClassificationData], ratio: float
) -> None:
    unlabelled = Unlabelled(open_bars(ImageTrainingConfig()).train, ratio)
    for labelled, parts in SIZES:
        beside = unlabelled.beside(labelled, parts)
        cut = micro_batches([torch.arange(labelled), torch.arange(beside), torch.arange(labelled)], parts)
        pictures, others, labels = (torch.cat(column) for column in zip(*cut, strict=True))
        assert [len(one) for one in (pictures, others, labels)] == [labelled, beside, labelled]
        assert [len(one) for one, *_ in cut] == [len(one) for one in torch.arange(labelled).chunk(parts)]
        for one, other, label in cut:
            assert one.equal(label)
            assert len(other) >= 1
            assert abs(len(other) - Fraction(beside * len(one), labelled)) < 1
            assert ratio != round(ratio) or len(other) == ratio * len(one)
