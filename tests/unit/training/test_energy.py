"""Energy and mean of maps: the hand-written gradients against autograd's."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from libs.training.energy import channel_energy, energy_and_mean

FORMATS = [torch.contiguous_format, torch.channels_last]
SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))


def map_of(shape, memory_format):
    feature = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return feature.to(memory_format=memory_format).requires_grad_()


@pytest.mark.parametrize("memory_format", FORMATS)
@given(shape=SHAPES)
@settings(max_examples=10)
def test_both_pass_gradcheck(memory_format, shape):
    feature = map_of(shape, memory_format)
    energy, mean = energy_and_mean(feature)
    torch.testing.assert_close(energy, feature.square().mean(1))
    torch.testing.assert_close(mean, feature.mean((2, 3)))
    torch.testing.assert_close(channel_energy(feature), energy)
    assert gradcheck(channel_energy, (feature,))
    assert gradcheck(energy_and_mean, (feature,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_maps_are_summed_in_float32_and_kept_in_sixteen(dtype):
    feature = torch.full((2, 3, 4, 4), 400.0, dtype=dtype, requires_grad=True)  # 400^2 is more than float16 holds
    kept: list[torch.dtype] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t.dtype), t)[1], lambda t: t):
        energy, mean = energy_and_mean(feature)
    assert kept == [dtype]
    assert energy.dtype == mean.dtype == torch.float32
    assert torch.allclose(energy, torch.full_like(energy, 160_000.0))
    (energy.sum() * 1e-3).backward()
    assert feature.grad.dtype == dtype
