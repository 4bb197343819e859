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

from pathlib import Path

import numpy as np

from benchmarks.recommendation.attention import CONFIGS, attention_parser, build, settings_of, wanted_settings
from benchmarks.recommendation.learning import CHECKPOINT_EVERY_S, FULL, Trial, compare, save, study
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
    options = attention_parser(__doc__, CONFIGS, epochs=400).parse_args()
    print(PUBLISHED)
    events = load(options.data / "Video.txt", options.users)
    results, tried = study(options, events, trial, lambda variant: wanted_settings(options, SETTINGS[variant]))
    compare(results, options.runs, "RKSA", "SASRec", (*FULL, *SAMPLED))
    save([*tried, *results], options.out)


if __name__ == "__main__":
    main()
