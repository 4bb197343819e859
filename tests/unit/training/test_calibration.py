import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.training.calibration import (
    brier_score,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability_bins,
)


def drawn(temperature: float, seed: int, count: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are too sharp by the factor `temperature`, and labels drawn from the right probabilities."""
    generator = torch.Generator().manual_seed(seed)
    right = torch.randn(count, 5, generator=generator) * 1.5
    labels = right.softmax(1).multinomial(1, generator=generator)[:, 0]
    return right * temperature, labels


@settings(max_examples=15)
@given(temperature=st.floats(0.3, 6.0), seed=st.integers(0, 1000))
def test_the_temperature_that_was_put_in_is_found(temperature: float, seed: int) -> None:
    logits, labels = drawn(temperature, seed)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.15)
    for nearby in (found * 0.95, found * 1.05):
        assert negative_log_likelihood(logits / found, labels) <= negative_log_likelihood(logits / nearby, labels)


def test_calibration_lowers_the_calibration_error() -> None:
    logits, labels = drawn(4.0, 0)
    assert expected_calibration_error(logits / fit_temperature(logits, labels), labels) < 0.03
    assert expected_calibration_error(logits, labels) > 0.15


def test_without_an_error_there_is_nothing_to_fit() -> None:
    logits = torch.eye(4) * 3
    assert fit_temperature(logits, torch.arange(4)) == 1.0


def test_hand_worked_figures() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0], [math.log(3.0), 0.0], [0.0, math.log(9.0)], [0.0, math.log(9.0)]])
    labels = torch.tensor([0, 1, 1, 1])  # confidence 0.75: one of two right; confidence 0.9: both right
    assert negative_log_likelihood(logits, labels) == pytest.approx(-math.log(0.75 * 0.25 * 0.9 * 0.9) / 4)
    assert brier_score(logits, labels) == pytest.approx((2 * 0.25**2 + 2 * 0.75**2 + 2 * 2 * 0.1**2) / 4)
    assert expected_calibration_error(logits, labels) == pytest.approx(0.5 * 0.25 + 0.5 * 0.1)


def test_reliability_bins_add_up_to_the_calibration_error() -> None:
    logits, labels = drawn(2.0, 1, 500)
    bins = reliability_bins(logits, labels)
    assert bins.pictures.sum() == 500
    gaps = (bins.confidence - bins.accuracy).abs() * bins.pictures / 500
    assert float(gaps.sum()) == pytest.approx(expected_calibration_error(logits, labels), abs=1e-6)


def test_full_confidence_falls_into_the_last_bin() -> None:
    bins = reliability_bins(torch.tensor([[1000.0, 0.0]]), torch.tensor([0]))
    assert bins.pictures.tolist() == [0] * 14 + [1]
