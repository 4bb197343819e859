"""What RKSA learns on Amazon Games next to SASRec, in the paper's protocol: leave-last-out, 100 sampled candidates.

    python -m benchmarks.recommendation.learning_games --data FOLDER --runs FOLDER --seeds 0,1,2 --cpu-minutes 60

FOLDER of the data holds `Video.txt`, `user item` a line in time order, as SASRec's public pre-processing makes it. Of
every user the last event is for testing, the one before for validation. Figures over 100 sampled items draw them as
SASRec's public code does, with repetition and anything but the user's training items; the full ranking, without seen
items, stands beside them, and weights are chosen by its validation NDCG@10.

SASRec, in whose published figures (HR@10 .737, NDCG@10 .539 in RKSA's paper) this protocol is to be recognised before
RKSA is judged, and RKSA: length 50, width 50, 2 blocks, dropout 0.5, BCE against one sampled item, Adam 1e-3, batches
of 128 bucketed by length. Each run stops when its CPU minutes, all sittings together, are used up; with more of them
it goes on from there. One thread. `--trials 3` first tries three settings for each of them (`attention.settings_of`),
with the same CPU minutes for every trial, and goes on with those that the first seed's validation split prefers.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from benchmarks.recommendation.attention import CONFIGS, build, settings_of
from benchmarks.recommendation.learning import CHECKPOINT_EVERY_S, FULL, Trial, choose, compare, save, train
from libs.data.events.splits import leave_last_out
from libs.data.events.store import EventStore

PUBLISHED = "published, 100 sampled candidates, HR@10 / NDCG@10: SASRec .7373 / .5385, RKSA .7551 / .5495"
SAMPLED = ("test/hr@10_sampled100_reference", "test/ndcg@10_sampled100_reference")
SETTINGS = settings_of(dropout=0.5, other_dropout=0.2)


def load(path: Path, users: int | None = None) -> EventStore:
    """The events; items keep their numbers."""
    rows = np.loadtxt(path, dtype=np.int64)
    if users is not None:
        rows = rows[rows[:, 0] <= users]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows[:, 0])[1:])]).astype(np.int64)
    items, times = rows[:, 1].astype(np.int32), np.arange(len(rows), dtype=np.int64)
    return EventStore(offsets, items, times, leave_last_out(offsets), int(items.max()))


def trial(variant: str, setting: str, seed: int, epochs: int) -> Trial:
    """What a variant is."""
    config = CONFIGS[variant].model_validate(
        {
            "epochs": epochs,
            "patience_epochs": 50,
            "width": 50,
            "max_length": 50,
            "objective": "bce",
            "sampled_candidates": 100,
            "sampling": "reference",
            "evaluate_every_epochs": 10,
            "checkpoint_every_s": CHECKPOINT_EVERY_S,
            **SETTINGS[variant][setting],
        }
    )
    return Trial(variant, setting, seed, config, build)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="folder of checkpoints and results")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--variants", default=",".join(CONFIGS))
    parser.add_argument(
        "--trials", type=int, default=1, help="settings tried for each variant on the first seed, at most 3"
    )
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--cpu-minutes", type=float, help="of each run")
    parser.add_argument("--users", type=int, help="only the first so many, to try the script")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    events = load(options.data / "Video.txt", options.users)
    print(f"{events.num_users} users, {events.num_items} items, {len(events.items)} events, torch {torch.__version__}")
    print(PUBLISHED)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    variants = options.variants.split(",")
    trials = [
        trial(variant, setting, seeds[0], options.epochs)
        for variant in variants
        for setting in list(SETTINGS[variant])[: options.trials]
    ]
    chosen, tried = choose(trials, events, options.runs, options.cpu_minutes)
    results = [
        train(trial(variant, chosen[variant], seed, options.epochs), events, options.runs, options.cpu_minutes)
        for seed in seeds
        for variant in variants
    ]
    compare(results, options.runs, "RKSA", "SASRec", (*FULL, *SAMPLED))
    save([*tried, *results], options.out)


if __name__ == "__main__":
    main()
