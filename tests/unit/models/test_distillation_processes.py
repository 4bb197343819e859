"""FRSKD and AFD in two processes on gloo against one, on the same global batches."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from libs.data.write import write_arrays_dataset
from tests.support import distillation_ranks
from tests.support.ranks import run_two_ranks


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 noisy 8x8 pictures of 3 classes."""
    folder = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(3).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    write_arrays_dataset(folder, noise, np.arange(60) % 3, ["a", "b", "c"])
    return folder


@pytest.fixture(scope="module")
def together(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Mapping[str, Any]]:
    """The weights of every variant in each of two processes."""
    folder = tmp_path_factory.mktemp("together")
    return run_two_ranks(folder, "-m", distillation_ranks.__name__, str(pictures), str(folder))


@pytest.mark.parametrize("variant", distillation_ranks.VARIANTS)
def test_two_processes_equal_one(variant, pictures, together, tmp_path):
    alone = distillation_ranks.train(distillation_ranks.VARIANTS[variant], pictures, tmp_path)
    for rank in together:
        torch.testing.assert_close(rank[variant], dict(alone), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, together[1][variant][name]) for name, value in together[0][variant].items())
