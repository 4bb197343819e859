"""Mixup and CutMix."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.training.mixing import MixedTargets, cut_box, cutmix, mixup


def batch():
    pictures = torch.rand(6, 3, 8, 10, generator=torch.Generator().manual_seed(0))
    return pictures, torch.arange(6)


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_same_seed_same_result_and_inputs_untouched(mix):
    pictures, labels = batch()
    before = pictures.clone()
    first, second = (mix(pictures, labels, 1.0, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1].y_b, second[1].y_b)
    assert first[1].lam == second[1].lam
    assert torch.equal(pictures, before)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25)
def test_mixup_blends_with_the_partner(seed):
    pictures, labels = batch()
    mixed, targets = mixup(pictures, labels, 0.2, torch.Generator().manual_seed(seed))
    assert 0 <= targets.lam <= 1
    expected = targets.lam * pictures + (1 - targets.lam) * pictures[targets.y_b]
    torch.testing.assert_close(mixed, expected)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25)
def test_cutmix_lam_is_the_share_of_pixels_left(seed):
    pictures, labels = batch()
    mixed, targets = cutmix(pictures, labels, 1.0, torch.Generator().manual_seed(seed))
    for row, partner in enumerate(targets.y_b.tolist()):
        if partner == row:
            continue
        kept = (mixed[row] == pictures[row]).all(0)
        pasted = (mixed[row] == pictures[partner]).all(0)
        assert bool((kept ^ pasted).all())
        assert abs(float(kept.float().mean()) - targets.lam) < 1e-6


@given(height=st.integers(1, 40), width=st.integers(1, 40), lam=st.floats(0, 1), seed=st.integers(0, 1000))
@settings(max_examples=50)
def test_box_lies_inside_and_is_not_larger_than_asked(height, width, lam, seed):
    top, bottom, left, right = cut_box(height, width, lam, torch.Generator().manual_seed(seed))
    assert 0 <= top <= bottom <= height
    assert 0 <= left <= right <= width
    assert (bottom - top) * (right - left) <= (1 - lam) * height * width + 1e-6


def test_distributions_put_lam_on_the_first_class():
    targets = MixedTargets(torch.tensor([0, 1]), torch.tensor([2, 1]), 0.75)
    torch.testing.assert_close(targets.distributions(3), torch.tensor([[0.75, 0, 0.25], [0, 1, 0]]))
