"""Train GRU4Rec on Amazon Games, shortly: its bundle is the learned table and the encoder that `ann.py` measures with.

FILE holds a user and an item a line, users together, oldest first (31,013 users, 23,715 items). Softmax over all
items, width 64, 3 epochs, one thread. Run:

    OMP_NUM_THREADS=1 python -m benchmarks.recommendation.games_bundle FILE FOLDER

and the bundle is FOLDER/bundle.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

from libs.data.config import EventOptions, ValidationConfig
from libs.data.validate import run as validate
from libs.models.gru4rec.config import Gru4recConfig
from libs.models.gru4rec.train import train
from libs.training.local_run import LocalRun
from libs.training.run import Inputs


def write_csv(lines: Path, upload: Path) -> None:
    """An upload: the order of the lines is the order in time."""
    with lines.open() as read, upload.open("w") as written:
        written.write("user_id,item_id,timestamp\n")
        for second, line in enumerate(read):
            user, item = line.split()
            written.write(f"{user},{item},{1_000_000_000 + second}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = Gru4recConfig(width=64, epochs=options.epochs, checkpoint_every_s=86_400)
    with tempfile.TemporaryDirectory() as name:
        upload = Path(name) / "upload"
        write_csv(options.file, upload)
        upload.with_suffix(".name").write_text("events.csv", encoding="utf-8")
        validation = ValidationConfig(kind="events", events=EventOptions())
        data = validate(validation, Inputs(datasets={"upload": Path(name)}), LocalRun(Path(name) / "data", quiet=True))
        assert data.dataset is not None, data.details
        began = time.process_time()
        outcome = train(config, Inputs(datasets={"train": data.dataset}), LocalRun(options.folder, quiet=True))
    figures = {figure: outcome.metrics[f"test/{figure}"] for figure in ("hr@20", "mrr@20")}
    print(json.dumps({"epochs": options.epochs, "cpu_s": time.process_time() - began, **figures}))


if __name__ == "__main__":
    main()
