"""The losses, against their formulas."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.models.frskd.objective import (
    attention_distance,
    attention_map,
    automatic_beta,
    feature_loss,
    fit_distance,
)
from libs.training.distillation import kd_loss


def test_kd_equals_the_formula_in_float64():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 5, 7, dtype=torch.float64)
    p, q = (teacher / 3).softmax(1), (student / 3).softmax(1)
    expected = 9 / 5 * (p * (p.log() - q.log())).sum()
    assert abs(float(kd_loss(student, teacher, 3.0) - expected)) < 1e-12


def test_kd_of_pixels_is_the_mean_over_pictures_and_pixels():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 5, 3, 4, dtype=torch.float64)
    flat = [z.permute(0, 2, 3, 1).reshape(-1, 5) for z in (student, teacher)]
    torch.testing.assert_close(kd_loss(student, teacher, 1.0), kd_loss(flat[0], flat[1], 1.0))


@given(seed=st.integers(0, 1000), temperature=st.floats(0.5, 8))
@settings(max_examples=25)
def test_kd_is_not_negative_and_zero_at_equality(seed, temperature):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, 4, 6, generator=generator)
    assert kd_loss(student, teacher, temperature) > -1e-6
    assert abs(float(kd_loss(teacher, teacher, temperature))) < 1e-6


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6), st.integers(1, 6)),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25)
def test_attention_map_is_the_normalised_mean_energy(shape, seed):
    feature = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    energy = feature.square().mean(1).flatten(1)
    expected = energy / energy.square().sum(1, keepdim=True).sqrt()
    torch.testing.assert_close(attention_map(feature), expected)
    torch.testing.assert_close(attention_map(feature.to(memory_format=torch.channels_last)), expected)


def test_all_zero_map_is_finite_forward_and_backward():
    student = torch.zeros(2, 3, 4, 4, requires_grad=True)
    distance = attention_distance(student, torch.rand(2, 5, 4, 4)).sum()
    distance.backward()
    assert torch.isfinite(distance)
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_sum_mode_is_the_paper_mode_times_positions():
    student, teacher = torch.rand(2, 3, 4, 6), torch.rand(2, 8, 4, 6)
    torch.testing.assert_close(
        attention_distance(student, teacher, "sum"), 24 * attention_distance(student, teacher, "paper")
    )


def test_feature_loss_adds_the_levels():
    students, teachers = [torch.rand(2, 3, s, s) for s in (4, 2)], [torch.rand(2, 5, s, s) for s in (4, 2)]
    expected = sum(attention_distance(s, t).mean() for s, t in zip(students, teachers, strict=True))
    torch.testing.assert_close(feature_loss(students, teachers), expected)


def test_teacher_side_gets_no_gradient():
    student, teacher = (torch.rand(2, 3, 4, 4, requires_grad=True) for _ in range(2))
    (attention_distance(student, teacher).sum() + fit_distance(student, teacher).sum()).backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_fit_distance_is_the_mean_squared_error():
    fitted, teacher = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(fit_distance(fitted, teacher).mean(), torch.nn.functional.mse_loss(fitted, teacher))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_inputs_are_computed_in_float32(dtype):
    feature = torch.full((1, 2, 3, 3), 400.0).to(dtype)  # 400^2 does not fit into a half
    assert attention_map(feature).dtype == torch.float32
    torch.testing.assert_close(attention_map(feature), torch.full((1, 9), 1 / 3))
    assert kd_loss(torch.rand(2, 3).to(dtype), torch.rand(2, 3).to(dtype), 4.0).dtype == torch.float32


@pytest.mark.parametrize(
    ("size", "mode", "beta"),
    [((32, 32), "paper", 100), ((8, 8), "paper", 6.25), ((32, 64), "paper", 200), ((8, 8), "sum", 0.4)],
)
def test_automatic_beta_grows_with_the_area(size, mode, beta):
    assert automatic_beta(size, mode) == beta
