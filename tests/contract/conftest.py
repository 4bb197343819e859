"""Data and tiny settings for the contract that every method of the catalog keeps."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from libs.data.manifest import DataKind
from libs.data.write import write_arrays_dataset
from libs.models.catalog import Method
from tests.support.events import events_folder, walks


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of one method side by side: each worker of a parallel run trains few of the methods."""
    places = [place for place, item in enumerate(items) if _method_of(item)]
    ordered = sorted((items[place] for place in places), key=_method_of)
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


def _method_of(item: pytest.Item) -> str:
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    method = parameters.get("method")
    return method.name if isinstance(method, Method) and item.path.is_relative_to(Path(__file__).parent) else ""


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
