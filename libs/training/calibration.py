"""How far confidence can be believed: ECE, NLL, Brier score, reliability bins, temperature scaling."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

BINS = 15
TEMPERATURE_RANGE = (0.05, 20.0)


@dataclass(frozen=True, slots=True)
class ReliabilityBins:
    """Pictures sorted into equal bins of confidence (largest probability), each attribute [bins].

    Attributes:
        confidence: mean confidence in the bin, 0 where it is empty.
        accuracy: share of right predictions in the bin, 0 where it is empty.
        pictures: how many fell into it.
    """

    confidence: Tensor
    accuracy: Tensor
    pictures: Tensor


def reliability_bins(logits: Tensor, labels: Tensor, bins: int = BINS) -> ReliabilityBins:
    """The bins of a reliability diagram of logits [N, K]."""
    confidence, predicted = logits.double().softmax(1).max(1)
    right = (predicted == labels).double()
    index = (confidence * bins).long().clamp(max=bins - 1)
    counts = torch.bincount(index, minlength=bins)
    filled = counts.clamp(min=1)
    return ReliabilityBins(
        confidence=torch.bincount(index, confidence, bins) / filled,
        accuracy=torch.bincount(index, right, bins) / filled,
        pictures=counts,
    )


def expected_calibration_error(logits: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """ECE (Guo et al. 2017): the bins' |accuracy - confidence|, averaged by their share of pictures."""
    probabilities = logits.double().softmax(1)
    return float(multiclass_calibration_error(probabilities, labels, logits.shape[1], n_bins=bins, norm="l1"))


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float:
    """Mean cross-entropy of the labels, in nats."""
    return float(F.cross_entropy(logits.double(), labels))


def brier_score(logits: Tensor, labels: Tensor) -> float:
    """Mean squared distance of the probabilities from the one-hot label, 0 to 2 (Brier 1950)."""
    probabilities = logits.double().softmax(1)
    truth = F.one_hot(labels, logits.shape[1]).double()
    return float((probabilities - truth).square().sum(1).mean())


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """T that minimises the NLL of logits / T (Guo et al. 2017), by LBFGS over log T; kept in [0.05, 20].

    A split without a single error has no optimum (smaller is better without end) and says nothing about how far
    confidence can be believed: T stays 1.
    """
    if bool((logits.argmax(1) == labels).all()):
        return 1.0
    scores = logits.double()
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    low, high = (torch.tensor(bound, dtype=torch.float64).log() for bound in TEMPERATURE_RANGE)
    optimiser = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        # Quadratic walls keep the search in the range where a perfect split would send it to zero.
        outside = (low - log_temperature).relu() + (log_temperature - high).relu()
        value = F.cross_entropy(scores / log_temperature.exp(), labels) + outside.square()
        torch.autograd.backward(value)
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return float(log_temperature.detach().clamp(low, high).exp())
