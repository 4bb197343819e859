"""Memory of training on very many events: generated, with a sampled objective, one process.

The parent writes the events straight as a data set (12 bytes each on disk); each stage is a fresh process, whose peak
of resident memory is told. What is mapped from files counts as resident while it is read, so the anonymous part, which
a machine cannot give back, is told beside it. Stages: `train` is a few hundred steps as a training does them, without
measuring; `finish` is what follows every training: baselines, ranking, neighbours. Run:

    OMP_NUM_THREADS=1 python -m benchmarks.recommendation.training_memory --events 100000000 --items 1000000 \\
        --steps 300 --folder SCRATCH --out benchmarks/results/training_memory.json

Small, to try it: `--events 200000 --items 20000 --steps 20`.
"""

import argparse
import json
import multiprocessing
import re
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.recommendation.generated import generate_event_data
from benchmarks.result_file import write_result

GOAL_BYTES = 8 * 10**9


class AnonymousPeak:
    """The most memory that no file backs, looked at twenty times a second."""

    def __init__(self) -> None:
        self.kib = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "AnonymousPeak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
            self.kib = max(self.kib, int(found[1]) if found else 0)


def train(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Some optimiser steps of GRU4Rec or SASRec with binary cross-entropy."""
    import torch

    from libs.data.events.dataset import open_event_data
    from libs.models.sequences.task import SequenceTask
    from libs.training.local_run import LocalRun
    from libs.training.processes import Processes
    from libs.training.randomness import prepare_randomness
    from libs.training.session import TrainingSession

    torch.set_num_threads(1)
    data = open_event_data(folder / "events")
    model, config = _model(data, options)
    prepare_randomness(0, config.deterministic)
    with tempfile.TemporaryDirectory() as scratch:
        task = SequenceTask(data.events, config, LocalRun(Path(scratch), quiet=True), Processes())
    total = config.total_steps(task.steps_per_epoch)
    session = TrainingSession(task.step(model), config, torch.device("cpu"), Processes(), total, monitor=config.monitor)
    cpu_s, targets = [], 0
    for number, batch in enumerate(task.batches(0, 0)):
        if number >= options.steps:
            break
        began = time.process_time()
        session.optimise(*batch)
        cpu_s.append(time.process_time() - began)
        targets += int((batch[1] != 0).sum())
    return {
        "step_cpu_ms": 1e3 * statistics.median(cpu_s),
        "steps": len(cpu_s),
        "targets_per_cpu_s": targets / sum(cpu_s),
    }


def _model(data: Any, options: argparse.Namespace) -> Any:
    from libs.models.gru4rec.config import Gru4recConfig
    from libs.models.gru4rec.train import build_model
    from libs.models.rksa.build import build_sasrec
    from libs.models.rksa.config import SasrecConfig

    shared: dict[str, Any] = {"width": 64, "objective": "bce", "batch_size": options.batch_size, "epochs": 1}
    if options.model == "gru4rec":
        config = Gru4recConfig(**shared)
        return build_model(config, data.manifest.items), config
    sasrec = SasrecConfig(**shared)
    return build_sasrec(sasrec, data.events), sasrec


def finish(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What runs after every training: each part with its seconds of CPU."""
    import torch

    from libs.data.events.dataset import open_event_data
    from libs.models.sequences.baselines import item_neighbours, measure_baselines
    from libs.models.sequences.evaluation import ModelScorer, RankingMeasurer
    from libs.models.sequences.neighbours import neighbours_of
    from libs.training.precision import precision_for

    torch.set_num_threads(1)
    data = open_event_data(folder / "events")
    model, config = _model(data, options)
    scorer = ModelScorer(model.eval(), precision_for("off", torch.device("cpu")), "cpu")
    parts: dict[str, Callable[[], object]] = {
        "measure_val": lambda: RankingMeasurer(data.events, "val", config, "cpu").ranks(scorer),
        "measure_test": lambda: RankingMeasurer(data.events, "test", config, "cpu")(scorer),
        "neighbours": lambda: neighbours_of(data.events),
        "item_knn": lambda: item_neighbours(data.events),
        "baselines": lambda: measure_baselines(data.events, config, "test", "cpu"),
    }
    found = {}
    for name in options.parts or parts:
        began = time.process_time()
        parts[name]()
        found[name] = time.process_time() - began
        print(f"{name}: {found[name]:.1f} CPU s", flush=True)
    return {"cpu_s": found}


STAGES = {"train": train, "finish": finish}


def _stage(name: str, folder: Path, options: argparse.Namespace, answer: Any) -> None:
    with AnonymousPeak() as anonymous:
        found = STAGES[name](folder, options)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer.put({**found, "peak_rss_bytes": peak_kib << 10, "peak_anonymous_bytes": anonymous.kib << 10})


def in_process(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """A stage in a fresh process."""
    context = multiprocessing.get_context("spawn")
    answer = context.SimpleQueue()
    child = context.Process(target=_stage, args=(name, folder, options, answer))
    child.start()
    child.join()
    if child.exitcode:
        raise SystemExit(f"the stage {name} ended with {child.exitcode}")
    found: dict[str, Any] = answer.get()
    return found


@contextmanager
def scratch_folder(given: Path | None) -> Iterator[Path]:
    """A folder that is gone afterwards, in `given` or where the system keeps such."""
    with tempfile.TemporaryDirectory(dir=given) as folder:
        yield Path(folder)


def main() -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000_000)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--events-per-user", type=int, default=50)
    parser.add_argument("--model", choices=["gru4rec", "sasrec"], default="gru4rec")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--stages", default="train,finish")
    parser.add_argument("--parts", type=lambda text: text.split(","), help="of finish: some of them")
    parser.add_argument("--folder", type=Path, help="for 12 bytes an event; else the system's")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with scratch_folder(options.folder) as folder:
        data = generate_event_data(folder / "events", options.events, options.items, options.events_per_user)
        manifest = data.manifest
        result: dict[str, Any] = {"events": manifest.events, "users": manifest.users, "items": manifest.items}
        result |= {"model": options.model, "width": 64, "batch_size": options.batch_size, "goal_bytes": GOAL_BYTES}
        for name in options.stages.split(","):
            result[name] = in_process(name, folder, options)
            print(name, json.dumps(result[name]), flush=True)
    print(json.dumps(result, indent=2))
    write_result(result, options.out)


if __name__ == "__main__":
    main()
