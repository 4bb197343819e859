import pytest
import torch
from torch import nn

from libs.training.averaging import averaged_copy


def test_the_average_follows_with_growing_inertia() -> None:
    module = nn.Linear(1, 1, bias=False)
    average = averaged_copy(module, decay=0.5)
    expected = None
    for update, value in enumerate([1.0, 2.0, 4.0, 8.0]):
        with torch.no_grad():
            module.weight.fill_(value)
        average.update_parameters(module)
        keep = min(0.5, (1 + update) / (10 + update))
        expected = value if expected is None else keep * expected + (1 - keep) * value
        assert average.module.weight.item() == pytest.approx(expected)


def test_batch_norm_statistics_are_averaged_and_counters_copied() -> None:
    module = nn.BatchNorm1d(2)
    average = averaged_copy(module, decay=0.9)
    for _ in range(3):
        module(torch.randn(8, 2))
        average.update_parameters(module)
    assert average.module.num_batches_tracked == 3
    assert not torch.equal(average.module.running_mean, module.running_mean)
    assert average.module.running_mean.abs().sum() > 0
