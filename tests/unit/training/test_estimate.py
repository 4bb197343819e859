from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from libs.training.classification_data import ClassificationData
from libs.training.config import ImageTrainingConfig
from libs.training.estimate import estimate_training, measure_step

Open = Callable[[ImageTrainingConfig], ClassificationData]


def test_an_estimate_counts_steps_parameters_and_bytes(tiny_step: Any, open_bars: Open) -> None:
    config = ImageTrainingConfig(epochs=3, batch_size=12)
    module = tiny_step()
    module.thrown_away = nn.Linear(10, 10)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    estimate = estimate_training(module, open_bars(config), config, "cpu", seed=0)
    served = sum(p.numel() for p in module.classifier.parameters())
    assert estimate.served_parameters == served
    assert estimate.trained_parameters == served + 110
    assert estimate.steps == 3 * 7
    assert 0 < estimate.step_s < 5
    assert estimate.total_s >= estimate.steps * estimate.step_s
    state_bytes = sum(value.nbytes for value in module.state_dict().values())
    assert estimate.memory_bytes > 4 * state_bytes  # weights, gradients, momentum, best weights; then activations
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_max_steps_bounds_the_estimate(tiny_step: Any, open_bars: Open) -> None:
    config = ImageTrainingConfig(epochs=100, batch_size=12, max_steps=5)
    assert estimate_training(tiny_step(), open_bars(config), config, "cpu", seed=0).steps == 5


def test_activation_memory_grows_with_the_batch_and_shrinks_with_micro_batches(tiny_step: Any) -> None:
    pictures, labels = torch.zeros(32, 1, 8, 8), torch.zeros(32, dtype=torch.int64)

    def kept(count: int, accumulate: int = 1) -> int:
        config = ImageTrainingConfig(batch_size=32, accumulate=accumulate)
        return measure_step(tiny_step(), (pictures[:count], labels[:count]), config, "cpu").activation_bytes

    assert 2 < kept(32) / kept(8) <= 4
    assert kept(32, accumulate=4) < kept(32) / 2
