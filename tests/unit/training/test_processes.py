"""Two processes on gloo against one, on the same global batches.

The network has no batch norm: there each process would normalise by its own part of the batch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from libs.training.classification import fit_classifier
from libs.training.classification_data import open_classification_data
from libs.training.config import ImageTrainingConfig
from libs.training.local_run import LocalRun
from libs.training.randomness import prepare_randomness
from tests.support.ranks import ROOT, run_two_ranks

PROGRAM = Path(__file__).parent / "rank_program.py"
CONFIG = ImageTrainingConfig(
    epochs=2, batch_size=12, accumulate=2, lr=0.05, checkpoint="last", clip_grad_norm=1.0, checkpoint_every_s=86_400
)


@pytest.fixture(scope="module")
def together(bars: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Mapping[str, Any]]:
    """What each of two processes left."""
    folder = tmp_path_factory.mktemp("together")
    path = f"{ROOT}:{PROGRAM.parent}"
    return run_two_ranks(folder, str(PROGRAM), str(bars), str(folder), CONFIG.model_dump_json(), PYTHONPATH=path)


def test_two_processes_equal_one(bars: Path, together: list[Mapping[str, Any]], tiny_step: Any, tmp_path: Path) -> None:
    prepare_randomness(5, deterministic=True)
    alone = tiny_step()
    run = LocalRun(tmp_path, seed=5, quiet=True)
    fitted = fit_classifier(alone, open_classification_data(bars, CONFIG), CONFIG, run)
    assert fitted.val is not None
    for rank in together:
        torch.testing.assert_close(rank["whole"]["weights"], dict(alone.state_dict()), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(rank["whole"]["val_logits"], fitted.val.logits, rtol=1e-4, atol=1e-5)
    expected = {(name, step): value for name, value, step in run.metrics if name != "train/images_per_s"}
    figures = {(name, step): value for name, step, value in together[0]["whole"]["figures"]}
    assert figures == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_only_the_main_process_reports(together: list[Mapping[str, Any]]) -> None:
    main, other = together
    assert len(main["whole"]["figures"]) > 50
    assert other["whole"]["figures"] == []


def test_stopped_and_resumed_together_is_bitwise_the_same(together: list[Mapping[str, Any]]) -> None:
    for rank in together:
        whole, resumed = rank["whole"]["weights"], rank["resumed"]["weights"]
        assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []
