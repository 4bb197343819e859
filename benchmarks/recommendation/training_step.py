"""What a training step of SASRec and of RKSA costs at the sizes of the learning scripts.

    python -m benchmarks.recommendation.training_step --data FOLDER [--sets games,ml-1m] [--steps 20] [--profile]

FOLDER holds `amazon-games/Video.txt` and `ml-1m/*.txt`. CPU time of this process, one thread, after a first step; the
batches are the first of a shuffled epoch. What is counted and factorised before RKSA's first step is printed apart.
"""

import argparse
import tempfile
import time
from itertools import islice
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.recommendation import learning_games, learning_ml1m
from benchmarks.recommendation.learning import Trial
from libs.data.events.store import EventStore
from libs.models.sequences.task import SequenceTask
from libs.training.local_run import LocalRun
from libs.training.processes import Processes
from libs.training.randomness import prepare_randomness
from libs.training.session import TrainingSession


def measure(name: str, trial: Trial, events: EventStore, steps: int, *, profiled: bool) -> None:
    """Print CPU milliseconds a step and targets a second."""
    prepare_randomness(trial.seed, trial.config.deterministic)
    started = time.process_time()
    model = trial.build(trial.config, events, trial.seed)
    built_s = time.process_time() - started
    with tempfile.TemporaryDirectory() as folder:
        task = SequenceTask(events, trial.config, LocalRun(Path(folder), trial.seed, quiet=True), Processes())
    session = TrainingSession(
        task.step(model), trial.config, torch.device("cpu"), Processes(), steps + 1, monitor=trial.config.monitor
    )
    first, *batches = islice(task.batches(0, 0), steps + 1)
    session.optimise(*first)

    def run() -> float:
        begun = time.process_time()
        for batch in batches:
            session.optimise(*batch)
        return time.process_time() - begun

    spent = run()
    targets = sum(int((batch[1] != 0).sum()) for batch in batches)
    print(
        f"{name:8} {trial.variant:16} {1e3 * spent / steps:6.0f} CPU ms a step, {targets / spent:7.0f} targets/s, "
        f"{task.steps_per_epoch} steps an epoch; made in {built_s:.0f} CPU s",
        flush=True,
    )
    if profiled:
        with profile(activities=[ProfilerActivity.CPU]) as found:
            run()
        print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=25))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", default="games,ml-1m")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.sets.split(","):
        if name == "games":
            events = learning_games.load(options.data / "amazon-games" / "Video.txt")
            trials = [learning_games.trial(kind, "dropout 0.5", 0, 1) for kind in ("SASRec", "RKSA")]
        else:
            events, _ = learning_ml1m.load(options.data / "ml-1m")
            trials = [learning_ml1m.trial(f"{kind} softmax", "dropout 0.2", 0, 1) for kind in ("SASRec", "RKSA")]
        for trial in trials:
            measure(name, trial, events, options.steps, profiled=options.profile)


if __name__ == "__main__":
    main()
