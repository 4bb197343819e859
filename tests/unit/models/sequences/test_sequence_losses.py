import math

import pytest
import torch
from torch.nn import functional as F

from libs.models.sequences import losses
from libs.models.sequences.losses import gbce_loss, sampled_bce_loss, softmax_loss, uniform_negatives


def problem():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    items = torch.randn(10, 4, generator=generator, dtype=torch.float64)
    return features, items, torch.tensor([1, 2, 3, 9, 5, 1])


def test_softmax_is_over_the_items_alone():
    features, items, positives = problem()
    expected = F.cross_entropy(features @ items[1:].T, positives - 1)
    torch.testing.assert_close(softmax_loss(features, items, positives), expected)


@pytest.mark.parametrize("most_scores", [1, 25, 1 << 19])
def test_softmax_in_blocks_has_the_gradients_of_the_whole(most_scores, monkeypatch):
    monkeypatch.setitem(losses._MOST_SCORES, "cpu", most_scores)
    features, items, positives = problem()
    inputs = [features.requires_grad_(), items.requires_grad_()]
    assert torch.autograd.gradcheck(lambda f, i: softmax_loss(f, i, positives), inputs)
    expected = F.cross_entropy(features @ items[1:].T, positives - 1)
    ours, theirs = (torch.autograd.grad(3 * loss, inputs) for loss in (softmax_loss(*inputs, positives), expected))
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their)


@pytest.mark.parametrize("count", [1, 3])
def test_bce_by_hand(count):
    features, items, positives = problem()
    negatives = uniform_negatives(positives, 9, count, torch.Generator().manual_seed(1))
    scores = features @ items.T
    rows = torch.arange(6)
    wrong = F.logsigmoid(-scores.gather(1, negatives)).mean(1)
    expected = -(F.logsigmoid(scores[rows, positives]) + wrong).mean()
    torch.testing.assert_close(sampled_bce_loss(features, items, positives, negatives), expected)


@pytest.mark.parametrize(("calibration", "power"), [(0.0, 1.0), (1.0, 3 / 8), (0.75, 0.25 + 0.75 * 3 / 8)])
def test_gbce_by_hand(calibration, power):
    features, items, positives = problem()
    negatives = uniform_negatives(positives, 9, 3, torch.Generator().manual_seed(1))
    scores = features @ items.T
    rows = torch.arange(6)
    positive = power * F.logsigmoid(scores[rows, positives])
    negative = F.logsigmoid(-scores.gather(1, negatives)).sum(1)
    expected = -((positive + negative) / 4).mean()
    torch.testing.assert_close(gbce_loss(features, items, positives, negatives, calibration), expected)


def test_negatives_are_every_item_but_the_positive():
    positives = torch.tensor([1, 4, 5]).repeat(2000)
    negatives = uniform_negatives(positives, 5, 2, torch.Generator().manual_seed(0))
    assert not (negatives == positives.unsqueeze(1)).any()
    for positive in (1, 4, 5):
        drawn = negatives[positives == positive].flatten()
        counts = torch.bincount(drawn, minlength=6)
        assert counts[0] == counts[positive] == 0
        others = counts[[i for i in range(1, 6) if i != positive]].double()
        assert ((others - 1000).abs() < 6 * math.sqrt(750)).all()


def test_16_bit_scores_lose_nothing_to_the_loss():
    features, items, positives = problem()
    loss = softmax_loss(features.bfloat16(), items.bfloat16(), positives)
    assert loss.dtype == torch.float32
