"""What RKSA learns on MovieLens-1M next to SASRec, by full ranking.

    python -m benchmarks.recommendation.learning_ml1m --data FOLDER --runs FOLDER --seeds 0,1,2 --cpu-minutes 60

FOLDER of the data holds `train_input.txt`, `val_input.txt`, `val_output.txt`, `test_output.txt`, a user a line, in the
layout of gSASRec's public code: the last event of each of 6,040 users is for testing, of 512 of them the last but one
for validation. The file of test histories is not there, so that of the other 5,528 users the event just before the last
is missing. Two splits (`--split`):

    leave-last-out: of what is known of each user without a gap, the last event is for testing, the last but one for
        validation. Of the 5,528 users the last event but two is then the last one.
    given: that of the files. Figures of the 5,528 users are of the item after next, and far lower than published ones;
        those of the 512, whose histories are whole, are printed apart, and are few.

SASRec and RKSA, length 200, width 64, 2 blocks, dropout 0.2, Adam 1e-3, batches of 128 bucketed by length; softmax over
all items, or BCE against one sampled item. Weights are those with the best validation NDCG@10. Each run stops when its
CPU minutes, all sittings together, are used up; with more of them it goes on from there. One thread. `--trials 3` first
tries three settings for each of them (`attention.settings_of`), with the same CPU minutes for every trial, and goes on
with those that the first seed's validation split prefers.
"""

from pathlib import Path

import numpy as np
import torch

from benchmarks.recommendation.attention import CONFIGS, attention_parser, build, settings_of, wanted_settings
from benchmarks.recommendation.learning import CHECKPOINT_EVERY_S, FULL, Result, Trial, compare, save, study
from libs.data.events.splits import leave_last_out
from libs.data.events.store import EventStore

PUBLISHED = "published, gSASRec's repository, 6,040 users: SASRec with BCE .2392 / .1259, gSASRec .3003 / .1726"
LENGTH = 200
SETTINGS = settings_of(dropout=0.2, other_dropout=0.5)
VARIANTS = ("SASRec softmax", "RKSA softmax", "SASRec BCE", "RKSA BCE")


def read_lines(path: Path) -> list[list[int]]:
    """Items of each line."""
    return [[int(item) for item in line.split()] for line in path.read_text().splitlines()]


def load(folder: Path, users: int | None = None, split: str = "leave-last-out") -> tuple[EventStore, np.ndarray]:
    """Events, and of which users no event is missing.

    In the given split the event between the training part and the validation event, given as history only, is put into
    training.
    """
    names = ("train_input", "val_input", "val_output", "test_output")
    training, histories, validation, testing = (read_lines(folder / f"{name}.txt") for name in names)
    known = {tuple(history[:-1]): (history[-1], held[0]) for history, held in zip(histories, validation, strict=True)}
    sequences, given_ends, whole = [], [], []
    rows = 0
    for items, (held,) in list(zip(training, testing, strict=True))[:users]:
        before = known.get(tuple(items))
        middle, held_val = ([before[0]], [before[1]]) if before is not None else ([], [])
        trained = [*items, *middle]
        last = [] if before is None and split == "leave-last-out" else [held]
        sequences.append([*trained, *held_val, *last])
        given_ends.append((rows + len(trained), rows + len(trained) + len(held_val)))
        whole.append(before is not None)
        rows += len(sequences[-1])
    offsets = np.concatenate([[0], np.cumsum([len(sequence) for sequence in sequences])]).astype(np.int64)
    items = np.concatenate([np.array(sequence, np.int32) for sequence in sequences])
    times, num_items = np.arange(rows, dtype=np.int64), max(max(sequence) for sequence in training)
    splits = leave_last_out(offsets) if split == "leave-last-out" else np.array(given_ends, np.int64)
    return EventStore(offsets, items, times, splits, num_items), np.array(whole)


def trial(variant: str, setting: str, seed: int, epochs: int) -> Trial:
    """What a variant is."""
    kind, objective = variant.split()
    config = CONFIGS[kind].model_validate(
        {
            "epochs": epochs,
            "patience_epochs": 20,
            "max_length": LENGTH,
            "objective": objective.lower(),
            "also_seen": True,
            "evaluate_every_epochs": 2,
            "checkpoint_every_s": CHECKPOINT_EVERY_S,
            **SETTINGS[kind][setting],
        }
    )
    return Trial(variant, setting, seed, config, build)


def of_whole_histories(results: list[Result], whole: np.ndarray, runs: Path) -> None:
    """Figures of the users of whom nothing is missing."""
    for result in results:
        saved = torch.load(runs / result.folder / "test_ranks.pt")
        ranks = saved["ranks"][torch.from_numpy(whole)[saved["users"]]]
        hr, ndcg = (ranks <= 10).double(), torch.where(ranks <= 10, 1 / torch.log2(1 + ranks), 0.0)
        print(
            f"{result.variant} seed {result.seed}: {len(ranks)} users with whole histories, HR@10 {hr.mean():.4f} "
            f"± {1.96 * hr.std() / len(hr) ** 0.5:.4f}, NDCG@10 {ndcg.mean():.4f}"
        )


def main() -> None:
    parser = attention_parser(__doc__, VARIANTS, epochs=200)
    parser.add_argument("--split", choices=("leave-last-out", "given"), default="leave-last-out")
    options = parser.parse_args()
    print(PUBLISHED)
    events, whole = load(options.data, options.users, options.split)
    results, tried = study(options, events, trial, lambda one: wanted_settings(options, SETTINGS[one.split()[0]]))
    if options.split == "given":
        of_whole_histories(results, whole, options.runs)
    for objective in ("softmax", "BCE"):
        compare(results, options.runs, f"RKSA {objective}", f"SASRec {objective}", FULL)
    save([*tried, *results], options.out)


if __name__ == "__main__":
    main()
