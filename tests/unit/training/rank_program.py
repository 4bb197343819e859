"""What each process of `test_processes` runs: `rank_program.py DATA FOLDER CONFIG_JSON`.

A whole run, and one that is stopped and resumed; each process leaves `rank{R}.pt`.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from conftest import TinyStep

from libs.training.classification import fit_classifier
from libs.training.classification_data import open_classification_data
from libs.training.config import ImageTrainingConfig
from libs.training.local_run import LocalRun
from libs.training.processes import join_processes
from libs.training.randomness import prepare_randomness
from libs.training.run import Stopped, StopReason

STOP_AT = 9


class StoppingRun(LocalRun):
    """Asks to pause when it is asked for the `stop_at`-th time."""

    stop_at = -1

    def stop_reason(self) -> StopReason | None:
        self.stop_at -= 1
        return "pause" if self.stop_at == 0 else None


def train(data: Path, folder: Path, config: ImageTrainingConfig, stop_at: int = -1) -> dict[str, Any]:
    """Weights, reported figures and validation logits of one run."""
    prepare_randomness(5, deterministic=True)
    module = TinyStep()
    run = StoppingRun(folder, seed=5, quiet=True)
    run.stop_at = stop_at
    fitted = fit_classifier(module, open_classification_data(data, config), config, run)
    assert fitted.val is not None
    figures = [(name, step, value) for name, value, step in run.metrics if name != "train/images_per_s"]
    return {"weights": module.state_dict(), "figures": figures, "val_logits": fitted.val.logits}


def main(data: Path, folder: Path, config: ImageTrainingConfig) -> None:
    torch.set_num_threads(1)
    rank = join_processes("cpu").rank
    whole = train(data, folder / "whole", config)
    try:
        train(data, folder / "stopped", config, STOP_AT)
    except Stopped:
        resumed = train(data, folder / "stopped", config)
        torch.save({"whole": whole, "resumed": resumed}, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), ImageTrainingConfig.model_validate_json(sys.argv[3]))
