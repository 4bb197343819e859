"""Figures of a classifier from logits [N, K] and labels [N]."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)

from libs.training.calibration import brier_score, expected_calibration_error, negative_log_likelihood
from libs.training.evaluation import Measured


def classification_figures(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy, balanced accuracy (mean recall over the classes that occur), NLL, ECE (15 bins), Brier score."""
    return {
        "accuracy": accuracy(logits, labels),
        "balanced_accuracy": balanced_accuracy(logits, labels),
        "nll": negative_log_likelihood(logits, labels),
        "ece": expected_calibration_error(logits, labels),
        "brier": brier_score(logits, labels),
    }


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of pictures whose largest logit is their class."""
    return float(multiclass_accuracy(logits, labels, logits.shape[1], average="micro"))


def balanced_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Mean over the classes that occur of the share found."""
    confusion = confusion_matrix(logits, labels).double()
    support = confusion.sum(1)
    present = support > 0
    return float((confusion.diagonal()[present] / support[present]).mean())


def confusion_matrix(logits: Tensor, labels: Tensor) -> Tensor:
    """Counts [K, K]: row true class, column predicted class."""
    matrix: Tensor = multiclass_confusion_matrix(logits, labels, logits.shape[1])
    return matrix


def per_class_figures(logits: Tensor, labels: Tensor) -> Mapping[str, Tensor]:
    """Precision, recall, F1 and the number of pictures of every class, each [K]; 0 where undefined."""
    classes = logits.shape[1]
    return {
        "precision": multiclass_precision(logits, labels, classes, average="none"),
        "recall": multiclass_recall(logits, labels, classes, average="none"),
        "f1": multiclass_f1_score(logits, labels, classes, average="none"),
        "pictures": torch.bincount(labels, minlength=classes),
    }


def validation_figures(measured: Measured) -> dict[str, float]:
    """What an evaluation reports: the classifier's figures, the accuracy of other logits, the raw loss terms."""
    figures = classification_figures(measured.logits, measured.labels)
    figures |= {f"{name}_accuracy": accuracy(logits, measured.labels) for name, logits in measured.others.items()}
    return figures | dict(measured.losses)
