"""Figures against scikit-learn and against a plain loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, log_loss, precision_score

from libs.serving.probabilities import log_softmax, softmax
from libs.serving.scores import BINS, Scores
from libs.training import confusion


@settings(max_examples=50)
@given(st.integers(0, 2**31), st.integers(1, 60), st.integers(2, 5))
def test_figures_are_those_of_scikit_learn(seed: int, pictures: int, classes: int) -> None:
    generator = np.random.default_rng(seed)
    logits = 3 * generator.standard_normal((pictures, classes))
    truth = generator.integers(0, classes, pictures)
    scores = Scores([str(index) for index in range(classes)])
    for part in np.array_split(np.arange(pictures), 3):
        scores.add(log_softmax(logits[part]), truth[part])

    figures = scores.figures()

    probabilities, labels = softmax(logits), np.arange(classes)
    predicted = probabilities.argmax(axis=1)
    assert figures["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    recalls = [float((predicted[truth == c] == c).mean()) for c in np.unique(truth)]
    assert figures["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    if set(predicted) <= set(truth) and len(set(truth)) > 1:  # scikit-learn warns otherwise
        assert figures["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert figures["nll"] == pytest.approx(log_loss(truth, probabilities, labels=labels))
    assert figures["brier"] == pytest.approx(np.square(probabilities - np.eye(classes)[truth]).sum(axis=1).mean())
    assert figures["ece"] == pytest.approx(_ece(probabilities, truth))
    of_pairs = confusion.confusion_matrix(scores.pairs(), classes)
    assert (of_pairs == confusion_matrix(truth, predicted, labels=labels)).all()
    precision = precision_score(truth, predicted, labels=labels, average=None, zero_division=np.nan)
    found = [np.nan if row.precision is None else row.precision for row in scores.by_class()]
    assert found == pytest.approx(precision, nan_ok=True)
    assert sum(bin_["pictures"] for bin_ in scores.reliability()) == pictures


def test_many_classes_cost_no_memory_for_every_pair_of_them() -> None:
    classes = 50_000  # a matrix would have 20 GB
    scores = Scores([str(index) for index in range(classes)])
    logits = np.zeros((2, classes))
    logits[0, 7], logits[1, 9] = 1, 1
    scores.add(log_softmax(logits), np.array([7, 8]))
    assert scores.figures()["balanced_accuracy"] == 0.5
    assert scores.pairs() == [(7, 7, 1), (8, 9, 1)]
    assert scores.by_class()[9].precision == 0


def test_a_certain_mistake_has_a_finite_likelihood() -> None:
    scores = Scores(["a", "b"])
    scores.add(log_softmax(np.array([[5000.0, 0.0]])), np.array([1]))
    assert scores.figures()["nll"] == pytest.approx(5000.0)


def _ece(probabilities: np.ndarray, truth: np.ndarray) -> float:
    total = 0.0
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    index = np.minimum((confidence * BINS).astype(int), BINS - 1)
    for bin_ in range(BINS):
        inside = index == bin_
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total
