"""Figures of a classifier from logits [N, K] and labels [N]."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy

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
    figures = per_class_figures(logits, labels)
    return float(figures["recall"][figures["pictures"] > 0].mean())


def per_class_figures(logits: Tensor, labels: Tensor) -> Mapping[str, Tensor]:
    """Precision, recall, F1 (float64) and the number of pictures of every class, each [K]; 0 where undefined.

    By counts of classes: torchmetrics counts pairs of classes, of which there may be 10^10.
    """
    predicted = logits.argmax(1)
    seen, called, right = (
        torch.bincount(some, minlength=logits.shape[1]) for some in (labels, predicted, labels[labels == predicted])
    )
    return {
        "precision": right / called.clamp(min=1).double(),
        "recall": right / seen.clamp(min=1).double(),
        "f1": 2 * right / (seen + called).clamp(min=1).double(),
        "pictures": seen,
    }


def validation_figures(measured: Measured) -> dict[str, float]:
    """What an evaluation reports: the classifier's figures, the accuracy of other logits, the raw loss terms."""
    figures = classification_figures(measured.logits, measured.labels)
    figures |= {f"{name}_accuracy": accuracy(logits, measured.labels) for name, logits in measured.others.items()}
    return figures | dict(measured.losses)
