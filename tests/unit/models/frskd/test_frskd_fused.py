"""The hand-written gradients against autograd's."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from libs.models.frskd.fused import weighted_sum

FORMATS = [torch.contiguous_format, torch.channels_last]
SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))


def maps_of(shape, count, memory_format, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(count)]
    return [m.to(dtype).to(memory_format=memory_format).requires_grad_() for m in maps]


@pytest.mark.parametrize("memory_format", FORMATS)
@given(shape=SHAPES, count=st.integers(1, 3))
@settings(max_examples=10)
def test_weighted_sum_passes_gradcheck(memory_format, shape, count):
    weights = torch.rand(count, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda w, *maps: weighted_sum(w, maps), (weights, *maps_of(shape, count, memory_format)))


def test_weighted_sum_rounds_like_the_plain_expression():
    weights = torch.rand(3)
    maps = maps_of((2, 4, 8, 8), 3, torch.contiguous_format, torch.float32)
    expected = weights[0] * maps[0] + weights[1] * maps[1] + weights[2] * maps[2]
    assert torch.equal(weighted_sum(weights, tuple(maps)), expected)


@pytest.mark.parametrize("formats", [(FORMATS[0], FORMATS[1]), (FORMATS[1], FORMATS[1])])
def test_gradient_may_come_in_another_memory_format(formats):
    (feature,), (upstream,) = (maps_of((2, 4, 6, 5), 1, f, torch.float32) for f in formats)
    weights = torch.rand(1, requires_grad=True)
    weighted_sum(weights, (feature,)).backward(upstream.detach())
    torch.testing.assert_close(weights.grad, (upstream * feature).sum().detach().reshape(1))


def test_sixteen_bit_maps_keep_their_type_and_the_weights_theirs():
    weights = torch.rand(2, requires_grad=True)
    maps = maps_of((2, 3, 8, 8), 2, torch.contiguous_format, torch.bfloat16)
    fused = weighted_sum(weights, tuple(maps))
    assert fused.dtype == torch.bfloat16
    fused.backward(torch.ones_like(fused))
    assert weights.grad.dtype == torch.float32
    expected = torch.stack([m.detach().float().sum() for m in maps])
    torch.testing.assert_close(weights.grad, expected, rtol=1e-2, atol=1e-2)
    assert all(m.grad.dtype == torch.bfloat16 for m in maps)


def test_maps_without_gradient_need_none():
    weights = torch.rand(2, requires_grad=True)
    maps = maps_of((1, 2, 3, 3), 2, torch.contiguous_format, torch.float32)
    weighted_sum(weights, (maps[0].detach(), maps[1])).sum().backward()
    assert maps[0].grad is None
    assert maps[1].grad is not None
