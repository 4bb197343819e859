"""What HCRNN learns on CiteULike, against NARM and GRU4Rec, in their own protocol: whole users held out, full ranking.

    python -m benchmarks.recommendation.learning_citeulike --data FOLDER --runs FOLDER --seeds 0,1,2

FOLDER of the data holds `train.txt`, `valid.txt`, `test.txt` (tab separated: index, ItemId, Time, SessionId, item_idx,
sess_idx). Every prefix of a test user is a case, seen items stay candidates. All models: one recipe, width 50, Adam
2e-3, each method's own dropout, at most 100 epochs, patience 6 on the validation MRR@20; the test split is read once,
with the weights that validation chose. `--tune` tries the same three settings for every method on the first seed and
goes on with the one that validation prefers. One thread; times are CPU times of this process, checkpoints in RUNS.
"""

import csv
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from benchmarks.recommendation.learning import CHECKPOINT_EVERY_S, Result, Trial, compare, save, study, study_parser
from libs.data.events.store import EventStore
from libs.models.hcrnn.model import HcrnnModel
from libs.models.hcrnn.network import HCRNN
from libs.models.sequences.config import SequenceTrainingConfig
from libs.models.sequences.recurrent import NARM, GRU4Rec

WIDTH, TOPICS = 50, 16
GATE_MRR = 5.7
MRR = "test/mrr@20"
SHOWN = ("hr@5", "hr@10", "hr@20", "mrr@20")
RECIPE = "its own dropout"
SETTINGS: dict[str, dict[str, Any]] = {
    RECIPE: {},
    "dropout 0.25": {"dropout": 0.25},
    "dropout 0.5": {"dropout": 0.5},
    "dropout 0.25, lr 1e-3": {"dropout": 0.25, "lr": 1e-3},
}


def hcrnn(items: int, version: int = 3, attention: str = "single", dropout: float | None = None) -> nn.Module:
    shares = {} if dropout is None else {"input_dropout": dropout, "output_dropout": dropout}
    network = HCRNN(items, WIDTH, WIDTH, TOPICS, version=version, attention=attention, **shares)  # type: ignore[arg-type]
    return HcrnnModel(network)


def narm(items: int, dropout: float | None = None) -> nn.Module:
    shares = {} if dropout is None else {"dropout": dropout, "output_dropout": dropout}
    return NARM(items, WIDTH, **shares)


def gru4rec(items: int, tied: bool = True, dropout: float | None = None) -> nn.Module:
    return GRU4Rec(items, WIDTH, tied=tied, **({} if dropout is None else {"dropout": dropout}))


VARIANTS: Mapping[str, Callable[..., nn.Module]] = {
    "HCRNN-3": hcrnn,
    "HCRNN-3 bi": partial(hcrnn, attention="bi"),
    "NARM": narm,
    "GRU4Rec untied": partial(gru4rec, tied=False),
    "GRU4Rec tied": gru4rec,
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


def trial(variant: str, setting: str, seed: int, epochs: int) -> Trial:
    """What a variant is."""
    changes = SETTINGS[setting]
    config = SequenceTrainingConfig(
        epochs=epochs,
        batch_size=64,
        lr=changes.get("lr", 2e-3),
        max_length=40,
        exclude_seen=False,
        monitor="mrr@20",
        patience_epochs=6,
        checkpoint_every_s=CHECKPOINT_EVERY_S,
    )

    def build(_: SequenceTrainingConfig, events: EventStore, __: int) -> nn.Module:
        return VARIANTS[variant](events.num_items, dropout=changes.get("dropout"))

    return Trial(variant, setting, seed, config, build)


def summary(results: list[Result], runs: Path) -> None:
    """Means, and the comparison by seed that the goal names."""
    by = {(result.variant, result.seed): 100 * result.figures[MRR] for result in results}
    for variant in dict.fromkeys(result.variant for result in results):
        values = [value for (name, _), value in by.items() if name == variant]
        spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
        print(f"{variant:16} MRR@20 {np.mean(values):.2f} +- {spread:.2f} over {len(values)} seeds")
    seeds = sorted({result.seed for result in results})
    for other in ("NARM", "GRU4Rec untied", "GRU4Rec tied"):
        pairs = [(by["HCRNN-3", s], by[other, s]) for s in seeds if ("HCRNN-3", s) in by and (other, s) in by]
        print(f"HCRNN-3 above {other} in {sum(a > b for a, b in pairs)} of {len(pairs)} paired seeds")
        compare(results, runs, "HCRNN-3", other, (MRR,))
    mine = [value for (name, _), value in by.items() if name == "HCRNN-3"]
    if mine:
        print(
            f"HCRNN-3 mean {np.mean(mine):.2f}, at least {GATE_MRR}: {'met' if np.mean(mine) >= GATE_MRR else 'MISSED'}"
        )


def main() -> None:
    parser = study_parser(__doc__, VARIANTS, epochs=100)
    parser.add_argument("--tune", action="store_true", help="three settings for every variant, chosen by validation")
    parser.add_argument("--setting", choices=SETTINGS, help="this one for every variant, in place of its own dropout")
    options = parser.parse_args()
    settings = [name for name in SETTINGS if (name != RECIPE) == options.tune]
    if options.setting is not None:
        settings = [options.setting]
    results, tried = study(options, load(options.data), trial, lambda _: settings, SHOWN)
    summary(results, options.runs)
    save([*tried, *results], options.out)


if __name__ == "__main__":
    main()
