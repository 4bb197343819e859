"""Loader processes end with the process they work for."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil

from libs.data.write import write_arrays_dataset

PROGRAM = """
import sys
from pathlib import Path
from libs.data import resident
from libs.data.images import open_images
from libs.data.loading import training_batches
from libs.data.preprocess import default_recipe
from libs.training.config import ImageTrainingConfig
if __name__ == "__main__":
    resident.RESIDENT_LIMIT_BYTES = 0
    split = open_images(Path(sys.argv[1])).split("train")
    config = ImageTrainingConfig(batch_size=2, workers=2, augment="crop")
    batches = training_batches(split, default_recipe(split.manifest), config, seed=0, epoch=0)
    next(batches)
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_no_loader_process_stays_when_the_training_is_killed(tmp_path: Path) -> None:
    write_arrays_dataset(
        tmp_path / "set", np.zeros((200, 8, 8, 3), np.uint8), np.arange(200) % 2, ["a", "b"], ["train"] * 200
    )
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py"), str(tmp_path / "set")]
    repository = Path(__file__).parents[3]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": str(repository)}
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
        children = psutil.Process(program.pid).children(recursive=True)
        assert len(children) >= 3  # the fork server and two loaders
        program.kill()
        _, alive = psutil.wait_procs(children, timeout=60)
        for process in alive:
            process.kill()
        assert not alive
