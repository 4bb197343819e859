import pytest
import torch

from libs.training.evaluation import Measured
from libs.training.metrics import (
    balanced_accuracy,
    classification_figures,
    per_class_figures,
    validation_figures,
)

LOGITS = torch.tensor([[2.0, 1, 0], [0, 2, 1], [2, 0, 1], [3, 0, 0]])
LABELS = torch.tensor([0, 1, 1, 0])


def test_balanced_accuracy_ignores_classes_that_do_not_occur() -> None:
    assert balanced_accuracy(LOGITS, LABELS) == pytest.approx((1.0 + 0.5) / 2)


def test_per_class() -> None:
    figures = {name: values.tolist() for name, values in per_class_figures(LOGITS, LABELS).items()}
    assert figures["precision"] == pytest.approx([2 / 3, 1, 0])
    assert figures["recall"] == pytest.approx([1, 0.5, 0])
    assert figures["f1"] == pytest.approx([0.8, 2 / 3, 0])
    assert figures["pictures"] == [2, 2, 0]


def test_validation_figures_name_other_logits_and_losses() -> None:
    measured = Measured(LABELS, LOGITS, {"self_teacher": LOGITS.flip(1)}, {"feature": 0.25})
    figures = validation_figures(measured)
    assert figures["accuracy"] == 0.75
    assert figures["self_teacher_accuracy"] == 0.25
    assert figures["feature"] == 0.25
    assert set(classification_figures(LOGITS, LABELS)) <= set(figures)
