"""Averages of the attention over pictures."""

import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from libs.models.afd.links import links_of
from libs.training.taps import Tap

TEACHERS = [Tap("a", 4, 8, 8), Tap("b", 4, 4, 4)]
STUDENTS = [Tap("c", 2, 8, 8), Tap("d", 2, 6, 6), Tap("e", 2, 4, 4)]


def test_links_are_averages_over_the_pictures_and_no_batch_is_kept() -> None:
    alpha = torch.randn(10, 2, 3, generator=torch.Generator().manual_seed(0)).softmax(2)
    kept: list[weakref.ref[Tensor]] = []

    def batches() -> Iterator[Tensor]:
        for start in range(0, 10, 2):
            assert [one() for one in kept[:-1]] == [None] * len(kept[:-1])
            batch = alpha[start : start + 2].clone()
            kept.append(weakref.ref(batch))
            yield batch

    links = links_of(batches(), TEACHERS, STUDENTS, "val")
    assert (links.pictures, links.split) == (10, "val")
    alpha = alpha.double()
    torch.testing.assert_close(links.attention, alpha.mean(0))
    entropies = torch.distributions.Categorical(alpha).entropy()
    torch.testing.assert_close(links.entropy, entropies.mean(0) / torch.tensor(3.0).double().log())
    assert links.same_size == pytest.approx(float((alpha.mean(0)[0, 0] + alpha.mean(0)[1, 2]) / 2))
    assert links.even_share == pytest.approx(1 / 3)
