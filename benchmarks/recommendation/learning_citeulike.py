"""What HCRNN learns on CiteULike, against NARM and GRU4Rec, in their own protocol: whole users held out, full ranking.

    python -m benchmarks.recommendation.learning_citeulike --data FOLDER --seeds 0,1,2

FOLDER holds `train.txt`, `valid.txt`, `test.txt` (tab separated: index, ItemId, Time, SessionId, item_idx, sess_idx).
Every prefix of a test user is a case, seen items stay candidates. All models: one recipe, width 50, Adam 2e-3, at most
100 epochs, patience 6 on the validation MRR@20, no tuning on either side; the test split is read once, with the
weights that validation chose. One thread; times are CPU times of this process.
"""

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from libs.data.events.store import EventStore
from libs.models.hcrnn.model import HcrnnModel
from libs.models.hcrnn.network import HCRNN
from libs.models.sequences.config import SequenceTrainingConfig
from libs.models.sequences.ranking import figures_of
from libs.models.sequences.recurrent import NARM, GRU4Rec
from libs.models.sequences.task import fit_sequences
from libs.training.local_run import LocalRun
from libs.training.randomness import prepare_randomness

WIDTH, TOPICS = 50, 16
GATE_MRR = 5.7


@dataclass(frozen=True)
class Row:
    """One training run; figures in %."""

    variant: str
    seed: int
    epochs: int
    chosen_epoch: int
    cpu_s: float
    val_mrr20: float
    recall5: float
    recall10: float
    recall20: float
    mrr20: float


def hcrnn(num_items: int, version: int = 3, attention: str = "single") -> nn.Module:
    network = HCRNN(num_items, WIDTH, WIDTH, TOPICS, version=version, attention=attention)  # type: ignore[arg-type]
    return HcrnnModel(network)


VARIANTS: dict[str, Callable[[int], nn.Module]] = {
    "HCRNN-3": hcrnn,
    "HCRNN-3 bi": lambda items: hcrnn(items, attention="bi"),
    "NARM": lambda items: NARM(items, WIDTH),
    "GRU4Rec untied": lambda items: GRU4Rec(items, WIDTH, tied=False),
    "GRU4Rec tied": lambda items: GRU4Rec(items, WIDTH),
}


def read_split(path: Path) -> list[list[int]]:
    """Item ids of each user, in the order of the file."""
    sequences: dict[str, list[int]] = {}
    with path.open(newline="") as stream:
        rows = csv.reader(stream, delimiter="\t")
        next(rows)
        for row in rows:
            sequences.setdefault(row[3], []).append(int(row[4]))
    return list(sequences.values())


def load(folder: Path) -> EventStore:
    """All users in one store; the split of a user's file decides what its events are for."""
    splits = [read_split(folder / f"{name}.txt") for name in ("train", "valid", "test")]
    sequences = [sequence for split in splits for sequence in split]
    kinds = np.repeat([0, 1, 2], [len(split) for split in splits])
    offsets = np.concatenate([[0], np.cumsum([len(sequence) for sequence in sequences])]).astype(np.int64)
    items = np.concatenate([np.array(sequence, np.int32) for sequence in sequences])
    first, last = offsets[:-1], offsets[1:]
    ends = np.stack([np.where(kinds == 0, last, first), np.where(kinds == 2, first, last)], axis=1)
    return EventStore(offsets, items, np.arange(len(items), dtype=np.int64), ends, int(items.max()))


def train(variant: str, events: EventStore, seed: int, epochs: int) -> Row:
    config = SequenceTrainingConfig(
        epochs=epochs,
        batch_size=64,
        lr=2e-3,
        max_length=40,
        exclude_seen=False,
        monitor="mrr@20",
        patience_epochs=6,
        checkpoint_every_s=86_400,
    )
    prepare_randomness(seed, config.deterministic)
    model = VARIANTS[variant](events.num_items)
    project = model.network.project if isinstance(model, HcrnnModel) else None
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        fitted = fit_sequences(model, events, config, LocalRun(Path(folder), seed, quiet=True), project)
        cpu_s = time.process_time() - started
    assert fitted.val is not None
    assert fitted.test is not None
    test = figures_of(fitted.test.ranks)
    row = Row(
        variant,
        seed,
        fitted.epochs,
        fitted.chosen_epoch,
        cpu_s,
        100 * figures_of(fitted.val.ranks)["mrr@20"],
        *(100 * test[name] for name in ("hr@5", "hr@10", "hr@20", "mrr@20")),
    )
    print(
        f"{variant:16} seed {seed}  best epoch {row.chosen_epoch:3} of {row.epochs:3}  {cpu_s:7.0f} CPU s  "
        f"R@5 {row.recall5:5.2f}  R@10 {row.recall10:5.2f}  R@20 {row.recall20:5.2f}  MRR@20 {row.mrr20:.2f}",
        flush=True,
    )
    return row


def summary(rows: list[Row]) -> None:
    """Means, and the comparison by seed that the goal names."""
    by = {(row.variant, row.seed): row.mrr20 for row in rows}
    for variant in dict.fromkeys(row.variant for row in rows):
        values = [row.mrr20 for row in rows if row.variant == variant]
        spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
        print(f"{variant:16} MRR@20 {np.mean(values):.2f} +- {spread:.2f} over {len(values)} seeds")
    seeds = sorted({row.seed for row in rows})
    for other in ("NARM", "GRU4Rec untied"):
        pairs = [(by["HCRNN-3", s], by[other, s]) for s in seeds if ("HCRNN-3", s) in by and (other, s) in by]
        print(f"HCRNN-3 above {other} in {sum(a > b for a, b in pairs)} of {len(pairs)} paired seeds")
    mine = [row.mrr20 for row in rows if row.variant == "HCRNN-3"]
    if mine:
        print(
            f"HCRNN-3 mean {np.mean(mine):.2f}, at least {GATE_MRR}: {'met' if np.mean(mine) >= GATE_MRR else 'MISSED'}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    events = load(options.data)
    print(f"{events.num_users} users, {events.num_items} items, {len(events.items)} events, torch {torch.__version__}")
    rows = []
    for seed in options.seeds.split(","):
        rows += [train(variant, events, int(seed), options.epochs) for variant in options.variants.split(",")]
    summary(rows)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
