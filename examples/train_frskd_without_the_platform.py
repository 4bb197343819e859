"""Train, calibrate and export a digit classifier with FRSKD, in a script: no server, no queue, no database.

    python -m examples.train_frskd_without_the_platform [FOLDER]

Takes about half a minute on one core. Interrupted with Ctrl-C and started again on the same FOLDER, it goes on from its
newest checkpoint.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from libs.data.write import write_arrays_dataset
from libs.models.frskd.config import FrskdConfig
from libs.models.frskd.train import train
from libs.training.local_run import LocalRun
from libs.training.run import Inputs


def main(folder: Path) -> None:
    x, y = load_digits(return_X_y=True)
    pictures = np.round(x.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # [N, H, W]
    write_arrays_dataset(folder / "data", pictures, y.astype(np.int64), [str(digit) for digit in range(10)])

    torch.set_num_threads(1)  # pictures this small gain nothing from more
    config = FrskdConfig(model="resnet8", epochs=8, alpha=1.0, beta=5.0, checkpoint_every_s=5)
    with LocalRun(folder / "run", seed=0) as run:
        outcome = train(config, Inputs(datasets={"train": folder / "data"}), run)

    print(f"test accuracy {outcome.metrics['test/accuracy']:.1%}, NLL {outcome.metrics['test/nll_calibrated']:.3f}")
    print(f"a training step cost {outcome.details['cost_factor']:.1f} x that of the classifier alone")
    print(f"model  {outcome.bundle}\nreport {outcome.report}/report.html")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="frskd-digits-")))
