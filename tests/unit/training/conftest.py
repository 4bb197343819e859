"""Tiny data and networks for the training pieces."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from libs.data.write import write_arrays_dataset
from libs.training.classification_data import ClassificationData, open_classification_data
from libs.training.config import ImageTrainingConfig
from libs.training.objective import CrossEntropy, StepOutput


@pytest.fixture(autouse=True)
def _one_thread_and_free_kernels():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    torch.set_deterministic_debug_mode("default")


class TinyStep(nn.Module):
    """A two-layer network with group norm: nothing in it depends on how a batch is cut."""

    def __init__(self, classes: int = 3, dropout: float = 0.0) -> None:
        super().__init__()
        self.classifier = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1),
            nn.GroupNorm(2, 8),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(8 * 4 * 4, classes),
        )
        self.criterion = CrossEntropy()

    def forward(self, pictures: Tensor, targets: Tensor) -> StepOutput:
        logits = self.classifier(pictures)
        return StepOutput({"ce_classifier": self.criterion(logits, targets)}, {"ce_classifier": 1.0}, logits)


def make_bars(count: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Noisy 8x8 pictures with a bright row whose place is the class."""
    rng = np.random.default_rng(3)
    labels = np.arange(count) % classes
    pictures = rng.integers(0, 120, (count, 8, 8), dtype=np.uint8)
    for picture, label in zip(pictures, labels, strict=True):
        picture[2 * label + 1] += 100
    return pictures, labels.astype(np.int64)


@pytest.fixture(scope="session")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 pictures of 3 classes: 84 to train, 12 to validate, 24 to test."""
    folder = tmp_path_factory.mktemp("bars")
    write_arrays_dataset(folder, *make_bars(120), ["top", "middle", "bottom"])
    return folder


@pytest.fixture
def tiny_step() -> Callable[..., TinyStep]:
    """Builds the same small step module each time."""

    def build(**options: float) -> TinyStep:
        torch.manual_seed(5)
        return TinyStep(**options)

    return build


@pytest.fixture
def open_bars(bars: Path) -> Callable[[ImageTrainingConfig], ClassificationData]:
    return lambda config: open_classification_data(bars, config)
