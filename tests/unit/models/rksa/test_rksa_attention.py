import math

import pytest
import torch

from libs.models.rksa.attention import (
    Dense,
    LowRank,
    Noise,
    attend,
    mean_logits,
    sample_logits,
    skewness,
    stable_cholesky,
)
from libs.models.rksa.kernels import mixed_factor, unit_rows
from libs.models.rksa.skew_normal import SkewNormal, divergence, expected_log_ndtr

LENGTH = 5


def problem(seed=0, batch=()):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*batch, *shape, generator=generator, dtype=torch.float64)

    mixture = torch.softmax(normal(2), -1)
    factors = mixed_factor(mixture, [unit_rows(normal(LENGTH, 3)), 0.4 * unit_rows(normal(LENGTH, 2))])
    location, scale = normal(LENGTH, LENGTH), normal(LENGTH, LENGTH).exp()
    return location, scale, normal(LENGTH, LENGTH).tril(), LowRank(factors)


def as_dense(low_rank):
    factors = low_rank.factors
    return Dense(factors @ factors.transpose(-1, -2) + torch.diag_embed(low_rank.rest))


def test_both_forms_of_the_correlation_agree():
    location, scale, shape, low_rank = problem(batch=(3,))
    dense = as_dense(low_rank)
    assert dense.correlation.diagonal(dim1=-2, dim2=-1).allclose(torch.ones(3, LENGTH, dtype=torch.float64))
    torch.testing.assert_close(
        mean_logits(location, scale, shape, dense), mean_logits(location, scale, shape, low_rank)
    )


@pytest.mark.parametrize("form", ["low rank", "dense"])
def test_samples_have_the_mean_and_covariance_of_the_distribution(form):
    location, scale, shape, low_rank = problem()
    correlation = low_rank if form == "low rank" else as_dense(low_rank)
    row, draws = 3, 200_000
    noise = correlation.noise(draws, torch.Generator().manual_seed(1))
    repeated = [part[row].expand(draws, -1) for part in (location, scale, shape)]
    samples = sample_logits(*repeated, correlation, noise)
    omega = torch.diag(scale[row])
    exact = SkewNormal(location[row], omega @ as_dense(low_rank).correlation @ omega, shape[row])
    spread = exact.variance().diagonal().sqrt()
    assert ((samples.mean(0) - exact.mean()).abs() / spread).max() < 5 / math.sqrt(draws)
    error = (torch.cov(samples.T) - exact.variance()) / torch.outer(spread, spread)
    assert error.abs().max() < 10 / math.sqrt(draws)


def test_a_row_uses_nothing_of_later_items():
    location, scale, shape, low_rank = problem()
    noise = low_rank.noise(LENGTH, torch.Generator().manual_seed(2))
    whole = attend(sample_logits(location, scale, shape, low_rank, noise))
    factors = low_rank.factors.clone()
    factors[3:] = factors[3:].flip(0) * 0.5
    changed = attend(sample_logits(location, scale, shape, LowRank(factors), noise))
    torch.testing.assert_close(changed[:3], whole[:3], rtol=0, atol=1e-14)
    assert not torch.allclose(changed[3:], whole[3:])


def test_a_sample_differentiates_in_every_argument():
    location, scale, shape, low_rank = problem()
    inputs = [part.requires_grad_() for part in (location, scale, shape, low_rank.factors)]
    noise = low_rank.noise(LENGTH, torch.Generator().manual_seed(3))

    def draw(location, scale, shape, factors):
        return sample_logits(location, scale, shape, LowRank(factors), noise)

    assert torch.autograd.gradcheck(draw, inputs)


def test_an_item_without_relations_still_has_unit_variance():
    low_rank = LowRank(torch.zeros(2, 3, 4, requires_grad=True))
    noise = low_rank.noise(3, torch.Generator().manual_seed(0))
    drawn = low_rank.draw(noise)
    torch.testing.assert_close(drawn, noise.rest)
    drawn.sum().backward()
    assert low_rank.factors.grad.isfinite().all()


def test_one_draw_may_serve_all_rows():
    location, scale, shape, low_rank = problem()
    noise = low_rank.noise(1, torch.Generator().manual_seed(4))
    shared = Noise(*(part.expand(LENGTH, *part.shape[1:]) for part in (noise.factors, noise.rest, noise.switch)))
    torch.testing.assert_close(
        sample_logits(location, scale, shape, low_rank, noise), sample_logits(location, scale, shape, low_rank, shared)
    )


def test_no_shape_is_the_gaussian():
    location, scale, shape, low_rank = problem()
    torch.testing.assert_close(mean_logits(location, scale, torch.zeros_like(shape), low_rank), location)
    assert not skewness(low_rank, torch.zeros_like(shape))[0].any()


def test_rounding_is_mended_and_an_indefinite_matrix_refused():
    ones = torch.ones(2, 3, 3)
    factor = stable_cholesky(ones)
    torch.testing.assert_close(factor @ factor.transpose(1, 2), ones, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="indefinite"):
        stable_cholesky(torch.tensor([[1.0, 3.0], [3.0, 1.0]]))


def test_divergence_is_zero_from_itself_and_positive_from_others():
    location, _, shape, low_rank = problem()
    first = SkewNormal(location[0], as_dense(low_rank).correlation, shape[4])
    second = SkewNormal(location[1], 2 * as_dense(low_rank).correlation, -shape[4])
    assert abs(divergence(first, first)) < 1e-12
    assert divergence(first, second) > 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_integral_of_a_constant(dtype):
    zero = torch.zeros(3, dtype=dtype)
    slants = torch.tensor([0.0, 5.0, 1e6], dtype=dtype)
    torch.testing.assert_close(expected_log_ndtr(zero, zero, slants), zero, rtol=0, atol=1e-6)
