"""FRSKD in two processes on gloo against one, on the same global batches."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from libs.data.write import write_arrays_dataset
from tests.support import frskd_ranks

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 noisy 8x8 pictures of 3 classes."""
    folder = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(3).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    write_arrays_dataset(folder, noise, np.arange(60) % 3, ["a", "b", "c"])
    return folder


@pytest.fixture(scope="module")
def together(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, torch.Tensor]]]:
    """The weights of every variant in each of two processes."""
    folder = tmp_path_factory.mktemp("together")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    finished = subprocess.run(
        [sys.executable, *launcher, frskd_ranks.__name__, str(pictures), str(folder)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("variant", frskd_ranks.VARIANTS)
def test_two_processes_equal_one(variant, pictures, together, tmp_path):
    alone = frskd_ranks.train(frskd_ranks.VARIANTS[variant], pictures, tmp_path)
    for rank in together:
        torch.testing.assert_close(rank[variant], dict(alone), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, together[1][variant][name]) for name, value in together[0][variant].items())
