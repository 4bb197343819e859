"""Next to RecBole 1.2.1 on ml-100k: targets and users a second, what is learnt, and what learning it costs.

Two processes take turns, each with one thread; times are CPU times. Same events in the same order, same held-out
items (checked user by user), full ranking with seen items left in, as RecBole ranks for sequential models. Same width,
blocks, dropout, learning rate and batch tokens; both with softmax over all items. RecBole trains on one prefix a row,
Octavo on every position of a window. RecBole's environment:

    python -m venv RECBOLE
    RECBOLE/bin/pip install --no-deps recbole==1.2.1
    RECBOLE/bin/pip install "numpy<2" "scipy<1.13" "pandas<2.2" torch pyyaml tqdm colorlog==4.7.2 colorama==0.4.4 \\
        scikit-learn tensorboard thop tabulate texttable psutil plotly

Speed alone, and all of it (an epoch of RecBole takes 125 to 175 CPU seconds; `--kept` keeps its fit for another run):

    OMP_NUM_THREADS=1 python -m benchmarks.recommendation.recbole --recbole-python RECBOLE/bin/python \\
        --data FOLDER/ml-100k --out benchmarks/results/recbole_speed.json
    OMP_NUM_THREADS=1 python -m benchmarks.recommendation.recbole --recbole-python RECBOLE/bin/python \\
        --data FOLDER/ml-100k --fit --cpu-minutes 25 --fit-rows 16 --kept FITS --out benchmarks/results/recbole.json

FOLDER/ml-100k holds `ml-100k.inter`, as RecBole's wheel has it in `recbole/dataset_example`.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from benchmarks.result_file import write_result
from libs.data.events.splits import leave_last_out
from libs.data.events.store import EventStore
from libs.data.events.windows import windows_of
from libs.models.gru4rec.config import Gru4recConfig
from libs.models.gru4rec.train import build_model
from libs.models.rksa.build import build_sasrec
from libs.models.rksa.config import SasrecConfig
from libs.models.sequences.config import SequenceTrainingConfig
from libs.models.sequences.evaluation import ModelScorer, RankingMeasurer
from libs.models.sequences.ranking import figures_of
from libs.models.sequences.task import SequenceTask, fit_sequences
from libs.training.local_run import LocalRun
from libs.training.precision import precision_for
from libs.training.processes import Processes
from libs.training.randomness import prepare_randomness
from libs.training.session import TrainingSession

WIDTH, BLOCKS, LENGTH, LR = 64, 2, 50, 1e-3
DROPOUT = {"SASRec": 0.2, "GRU4Rec": 0.3}
GOALS = {"training": 10.0, "evaluation": 5.0, "cpu_share": 0.25}


@dataclass(frozen=True)
class Data:
    """Events of ml-100k, and the tokens of its users and items by number (items from 1)."""

    events: EventStore
    users: list[str]
    items: list[str]

    def held_out(self, column: int) -> dict[str, str]:
        """User → held-out item: 0 of the validation split, 1 of the test split."""
        rows = self.events.ends[:, column]
        return {user: self.items[self.events.items[row] - 1] for user, row in zip(self.users, rows, strict=True)}


def read_data(folder: Path) -> Data:
    """By user and time; events of one moment in the order of the file.

    RecBole sorts by times scaled to [0, 1] as float32, which makes one moment of neighbouring seconds; so is it here,
    or a few users would have other held-out items.
    """
    frame = pl.read_csv(folder / "ml-100k.inter", separator="\t", infer_schema=False)
    frame = frame.rename({name: name.partition(":")[0] for name in frame.columns})
    seconds = pl.col("timestamp").cast(pl.Float64)
    scaled = (seconds - seconds.min()) / (seconds.max() - seconds.min())
    frame = frame.with_columns(timestamp=scaled.cast(pl.Float32)).sort("user_id", "timestamp", maintain_order=True)
    items = frame["item_id"].unique().sort()
    numbers = frame["item_id"].cast(pl.Enum(items)).to_physical().to_numpy().astype(np.int32) + 1
    counts = frame.group_by("user_id", maintain_order=True).len()
    offsets = np.concatenate([[0], np.cumsum(counts["len"].to_numpy())]).astype(np.int64)
    events = EventStore(offsets, numbers, np.arange(len(numbers)), leave_last_out(offsets), len(items))
    return Data(events, counts["user_id"].to_list(), items.to_list())


class Recbole:
    """The other process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._requests, self._answers = process.stdin, process.stdout

    def tell(self, request: Mapping[str, Any]) -> None:
        self._requests.write(json.dumps(request) + "\n")
        self._requests.flush()

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        self.tell({"do": do, **arguments})
        line = self._answers.readline()
        if not line:
            raise RuntimeError("RecBole's process ended; its messages are above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def recbole(python: Path, data: Path, model: str, options: argparse.Namespace, seed: int) -> Iterator[Recbole]:
    """RecBole in its own interpreter; isolated, or this folder's `recbole.py` would stand before the package."""
    script = Path(__file__).with_name("recbole_side.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        [python, "-I", "-W", "ignore", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if options.verbose else subprocess.DEVNULL,
        env=environment,
        text=True,
    )
    with process:
        other = Recbole(process)
        settings = settings_of(model, data, options, seed)
        other.tell({"model": model, "dataset": data.name, "settings": settings})
        try:
            yield other
        finally:
            process.kill()


def settings_of(model: str, data: Path, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """What is set against RecBole's defaults."""
    sizes: dict[str, Any] = {"hidden_size": WIDTH, "embedding_size": WIDTH, "num_layers": 1}
    if model == "SASRec":
        sizes = {"hidden_size": WIDTH, "inner_size": WIDTH, "n_layers": BLOCKS, "n_heads": 1}
        sizes |= {"hidden_dropout_prob": DROPOUT[model], "attn_dropout_prob": DROPOUT[model]}
    else:
        sizes["dropout_prob"] = DROPOUT[model]
    protocol = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
    return {
        **sizes,
        "data_path": str(data.parent),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "MAX_ITEM_LIST_LENGTH": LENGTH,
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "eval_args": protocol,
        "metrics": ["NDCG"],
        "topk": [10],
        "valid_metric": "NDCG@10",
        "metric_decimal_place": 6,
        "train_batch_size": options.batch_rows,
        "eval_batch_size": 4096,
        "learning_rate": LR,
        "epochs": options.epochs,
        "stopping_step": options.patience,
        "seed": seed,
        "use_gpu": False,
        "show_progress": False,
        "state": "WARNING",
    }


class Octavo:
    """One model of ours on the same events."""

    def __init__(self, model: str, data: Data, options: argparse.Namespace, seed: int, rows: int) -> None:
        shared: dict[str, Any] = {
            "width": WIDTH,
            "dropout": DROPOUT[model],
            "batch_size": rows,
            "lr": LR,
            "max_length": LENGTH,
            "exclude_seen": False,
            "epochs": options.epochs,
            "patience_epochs": options.patience,
            "checkpoint_every_s": 86_400,
        }
        self.config: SequenceTrainingConfig = (
            SasrecConfig(blocks=BLOCKS, **shared) if model == "SASRec" else Gru4recConfig(**shared)
        )
        self.events, self.seed = data.events, seed
        self._scratch = tempfile.TemporaryDirectory()
        run = LocalRun(Path(self._scratch.name), seed, quiet=True)
        self.model = self._fresh()
        self._task = SequenceTask(self.events, self.config, run, Processes())
        self._session = TrainingSession(
            self._task.step(self.model),
            self.config,
            torch.device("cpu"),
            Processes(),
            self.config.total_steps(self._task.steps_per_epoch),
            monitor=self.config.monitor,
        )
        self._batches = self._endless()
        self._test = RankingMeasurer(self.events, "test", self.config, "cpu")

    def _fresh(self) -> nn.Module:
        prepare_randomness(self.seed, self.config.deterministic)
        if isinstance(self.config, SasrecConfig):
            return build_sasrec(self.config, self.events)
        assert isinstance(self.config, Gru4recConfig)
        return build_model(self.config, self.events.num_items)

    def _endless(self) -> Iterator[tuple[Tensor, ...]]:
        epoch = 0
        while True:
            yield from self._task.batches(epoch, 0)
            epoch += 1

    def train(self, batches: int) -> dict[str, float]:
        """Some batches of windows; each position with a next item is a target."""
        began, targets = time.process_time(), 0
        for _ in range(batches):
            batch = next(self._batches)
            self._session.optimise(*batch)
            targets += int((batch[1] != 0).sum())
        return {"targets": targets, "cpu_s": time.process_time() - began}

    def evaluate(self) -> dict[str, float]:
        """The test users over the full ranking, with the weights of now."""
        began = time.process_time()
        scorer = ModelScorer(self.model.eval(), precision_for("off", torch.device("cpu")), "cpu")
        ranks = self._test.ranks(scorer)
        return {"users": len(ranks), "cpu_s": time.process_time() - began, "ndcg": figures_of(ranks, (10,))["ndcg@10"]}

    def fit(self) -> dict[str, Any]:
        """From fresh weights until our early stopping ends it, then the best weights on the test users."""
        with tempfile.TemporaryDirectory() as folder:
            run = _Watched(Path(folder), self.seed)
            fitted = fit_sequences(self._fresh(), self.events, self.config, run)
        assert fitted.test is not None
        test = figures_of(fitted.test.ranks, (10,))["ndcg@10"]
        return {"course": run.course, "val": max(value for _, value in run.course), "test": test}


class _Watched(LocalRun):
    """A run that notes when each validation figure came."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed, quiet=True)
        self.course: list[tuple[float, float]] = []
        self._began = time.process_time()

    def metric(self, name: str, value: float, step: int) -> None:
        """Keep the course of NDCG@10."""
        if name == "val/ndcg@10":
            self.course.append((time.process_time() - self._began, value))


def check_same(facts: Mapping[str, Any], data: Data) -> dict[str, int]:
    """Both hold out the same item of the same users, among the same number of items, and train on as many targets."""
    ours = {
        "users": data.events.num_users,
        "items": data.events.num_items,
        "train_targets": windows_of(data.events, "train", LENGTH).num_targets,
    }
    theirs = {name: facts[name] for name in ours}
    if ours != theirs:
        raise SystemExit(f"the data differ: Octavo has {ours}, RecBole {theirs}")
    for column, split in enumerate(("val", "test")):
        if facts[split] != data.held_out(column):
            raise SystemExit(f"the held-out items of {split} differ")
    return ours


def speeds(theirs: Recbole, ours: Octavo, rounds: int, batches: int) -> dict[str, Any]:
    """Medians over rounds in which both take turns; the first round warms up."""
    found: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        measured = {
            "recbole_targets_per_s": _rate(theirs.ask("train", batches=batches), "targets"),
            "octavo_targets_per_s": _rate(ours.train(batches), "targets"),
            "recbole_users_per_s": _rate(theirs.ask("evaluate"), "users"),
            "octavo_users_per_s": _rate(ours.evaluate(), "users"),
        }
        for name, value in measured.items() if number else ():
            found.setdefault(name, []).append(value)
    medians = {name: statistics.median(values) for name, values in found.items()}
    return {
        **medians,
        "training_ratio": medians["octavo_targets_per_s"] / medians["recbole_targets_per_s"],
        "evaluation_ratio": medians["octavo_users_per_s"] / medians["recbole_users_per_s"],
    }


def _rate(measured: Mapping[str, float], what: str) -> float:
    return measured[what] / measured["cpu_s"]


def learning(theirs: Recbole, ours: Octavo, kept: Path | None, cpu_s: float) -> dict[str, Any]:
    """Both trained to the end of their early stopping or budget; CPU time until RecBole's best validation figure.

    Args:
        kept: file of RecBole's fit: taken from there if it is there, else written.
        cpu_s: RecBole's fit ends with the epoch in which it has had so much.
    """
    if kept is not None and kept.exists():
        other = json.loads(kept.read_text())
    else:
        other = theirs.ask("fit", cpu_s=cpu_s)
        if kept is not None:
            kept.write_text(json.dumps(other) + "\n")
    mine = ours.fit()
    wanted = other["val"]
    cpu_s = {
        name: _reached(course, wanted) for name, course in (("recbole", other["course"]), ("octavo", mine["course"]))
    }
    share = None if cpu_s["octavo"] is None or not cpu_s["recbole"] else cpu_s["octavo"] / cpu_s["recbole"]
    return {"recbole": other, "octavo": mine, "cpu_s_to_recboles_best_val": cpu_s, "cpu_share": share}


def _reached(course: list[tuple[float, float]], wanted: float) -> float | None:
    """When a course first has `wanted`, up to the digits that RecBole reports."""
    return next((cpu_s for cpu_s, value in course if value >= wanted - 5e-7), None)


def compare(model: str, data: Data, options: argparse.Namespace) -> dict[str, Any]:
    """One model: speed once, learning for each seed."""
    found: dict[str, Any] = {"model": model, "learning": []}
    for number, seed in enumerate(options.seeds):
        with recbole(options.recbole_python, options.data, model, options, seed) as theirs:
            facts = theirs.ask("facts")
            found["data"] = check_same(facts, data)
            ours = Octavo(model, data, options, seed, options.batch_rows)
            ours_parameters = sum(parameter.numel() for parameter in ours.model.parameters())
            found["parameters"] = {"recbole": facts["parameters"], "octavo": ours_parameters}
            found["torch"] = {"recbole": facts["torch"], "octavo": torch.__version__}
            if not number:
                found["speed"] = speeds(theirs, ours, options.rounds, options.batches)
                print(model, json.dumps(found["speed"], indent=2), flush=True)
            if not options.fit:
                break
            kept = options.kept and options.kept / f"{model}-{options.batch_rows}-{seed}.json"
            learner = Octavo(model, data, options, seed, options.fit_rows or options.batch_rows)
            learnt = {"seed": seed, **learning(theirs, learner, kept, options.cpu_minutes * 60)}
            found["learning"].append(learnt)
            print_learnt(model, learnt)
    return found


def print_learnt(model: str, learnt: Mapping[str, Any]) -> None:
    for name in ("recbole", "octavo"):
        side = learnt[name]
        epochs, cpu_s = len(side["course"]), side["course"][-1][0]
        print(
            f"{model} seed {learnt['seed']} {name:8} {epochs:3} epochs {cpu_s:7.0f} CPU s  "
            f"best val NDCG@10 {side['val']:.4f}  test {side['test']:.4f}",
            flush=True,
        )
    print(
        f"  CPU s to RecBole's best val: {learnt['cpu_s_to_recboles_best_val']}, share {learnt['cpu_share']}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recbole-python", type=Path, required=True, help="interpreter of RecBole's own environment")
    parser.add_argument("--data", type=Path, required=True, help="folder ml-100k, with ml-100k.inter")
    parser.add_argument("--models", default="SASRec,GRU4Rec")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, default=4, help="optimiser steps of each side in a round")
    parser.add_argument("--batch-rows", type=int, default=128, help="rows of 50 tokens in a batch, of both sides")
    parser.add_argument(
        "--fit-rows", type=int, help="rows of ours in a batch when it is fitted; each of its positions is a target"
    )
    parser.add_argument("--fit", action="store_true", help="train both until they stop early")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--patience", type=int, default=10)
    parser.add_argument("--cpu-minutes", type=float, default=math.inf, help="budget of one fit of RecBole")
    parser.add_argument("--kept", type=Path, help="folder to keep RecBole's fits in, and to take them from")
    parser.add_argument("--seeds", type=lambda text: [int(one) for one in text.split(",")], default=[0])
    parser.add_argument("--verbose", action="store_true", help="show what RecBole prints")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.data, options.recbole_python = options.data.resolve(), options.recbole_python.absolute()
    torch.set_num_threads(1)
    data = read_data(options.data)
    models = [compare(model, data, options) for model in options.models.split(",")]
    shared = {"width": WIDTH, "blocks": BLOCKS, "max_length": LENGTH, "lr": LR, "batch_rows": options.batch_rows}
    shared["fit_rows"] = options.fit_rows or options.batch_rows
    result = {"settings": shared, "dropout": DROPOUT, "goals": GOALS, "rounds": options.rounds, "models": models}
    write_result(result, options.out)


if __name__ == "__main__":
    main()
