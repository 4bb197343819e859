"""Data and tiny settings for the contract that every method of the catalog keeps."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from libs.data.write import write_arrays_dataset
from libs.models.catalog import DataKind
from tests.support.events import events_folder, walks


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    torch.set_deterministic_debug_mode("default")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 of scikit-learn's digits, 8x8 grey, as a validated data set."""
    x, y = load_digits(return_X_y=True)
    pictures = np.round(x.reshape(-1, 8, 8)[:300] * (255 / 16)).astype(np.uint8)
    folder = tmp_path_factory.mktemp("digits")
    write_arrays_dataset(folder, pictures, y[:300].astype(np.int64), [f"digit {k}" for k in range(10)])
    return folder


@pytest.fixture(scope="session")
def data_of(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[DataKind, Path]:
    """A validated data set of every kind; a training epoch of 6 batches with the tiny settings."""
    return {"images": digits, "events": events_folder(tmp_path_factory.mktemp("events"), walks(users=96, items=12))}
