import pytest
import torch

from libs.models.rksa.attention import Dense, LowRank
from libs.models.rksa.divergence import OWN_SHARE, negentropy, row_divergence
from libs.models.rksa.kernels import mixed_factor, unit_rows
from libs.models.rksa.skew_normal import SkewNormal, divergence, expected_log_ndtr

LENGTH, PRIOR = 5, 0.7


def problem():
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    mixture = torch.softmax(normal(2), -1)
    factors = mixed_factor(mixture, [unit_rows(normal(LENGTH, 3)), 0.4 * unit_rows(normal(LENGTH, 2))])
    return normal(LENGTH, LENGTH).exp(), 2 * normal(LENGTH, LENGTH).tril(), factors


@pytest.mark.parametrize("form", ["low rank", "dense"])
def test_a_row_is_the_general_divergence_of_its_prefix(form):
    """`divergence` is held against golden values."""
    scale, shape, factors = problem()
    low_rank = LowRank(factors)
    correlation = (low_rank if form == "low rank" else Dense(low_rank.matrix())).matrix()
    found = row_divergence(scale, shape, correlation, PRIOR)
    read = (1 - OWN_SHARE) * correlation + OWN_SHARE * torch.eye(LENGTH, dtype=torch.float64)
    for t in range(LENGTH):
        seen, omega = slice(t + 1), torch.diag(scale[t, : t + 1])
        location = torch.randn(t + 1, dtype=torch.float64)
        row = SkewNormal(location, omega @ read[seen, seen] @ omega, shape[t, seen])
        independent = PRIOR**2 * torch.eye(t + 1, dtype=torch.float64)
        prior = SkewNormal(location, independent, torch.zeros(t + 1, dtype=torch.float64))
        torch.testing.assert_close(found[t], divergence(row, prior), rtol=0, atol=1e-9)


def test_it_differentiates_in_every_argument():
    inputs = [part.requires_grad_() for part in problem()]

    def of(scale, shape, factors):
        return row_divergence(scale, shape.tril(), LowRank(factors).matrix(), PRIOR)

    assert torch.autograd.gradcheck(of, inputs)


def test_the_prior_is_at_no_distance_and_anything_else_is():
    ones, zeros, eye = torch.ones(LENGTH, LENGTH), torch.zeros(LENGTH, LENGTH), torch.eye(LENGTH)
    assert row_divergence(PRIOR * ones, zeros, eye, PRIOR).abs().max() < 1e-5
    for changed in (
        row_divergence(2 * PRIOR * ones, zeros, eye, PRIOR),
        row_divergence(PRIOR * ones, ones.tril(), eye, PRIOR),
        row_divergence(PRIOR * ones, zeros, 0.5 * (eye + ones), PRIOR),
    ):
        assert (changed[1:] > 0.01).all()


def test_an_item_that_came_before_leaves_gradients_finite():
    """Two equal keys without variance of their own: their correlation matrix has no inverse."""
    factors = unit_rows(torch.tensor([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]])).requires_grad_()
    scale, shape = torch.full((3, 3), 0.3, requires_grad=True), torch.zeros(3, 3, requires_grad=True)
    row_divergence(scale, shape, LowRank(factors).matrix(), PRIOR).sum().backward()
    assert all(part.grad.isfinite().all() for part in (factors, scale, shape))


def test_negentropy_is_the_integral():
    steepness = torch.tensor([0.0, 1e-6, 0.01, 1.0, 9.0, 400.0], dtype=torch.float64)
    t = steepness.sqrt()
    torch.testing.assert_close(negentropy(steepness), expected_log_ndtr(torch.zeros_like(t), t, t), rtol=0, atol=1e-12)
