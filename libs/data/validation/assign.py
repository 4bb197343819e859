"""Deciding the split of pictures whose upload names none."""

import numpy as np

from libs.data.config import ValidationConfig
from libs.data.duplicates import equal_groups
from libs.data.images.index import SPLITS
from libs.data.manifest import Split
from libs.data.splits import stratified_split
from libs.data.validation.entries import Entry


def assign_splits(entries: list[Entry], config: ValidationConfig, *, labelled: bool) -> dict[str, str]:
    """Give every entry a split: given ones stay, missing ones are cut from the training pictures.

    Equal pictures that are dealt out stay together, so none is trained on and tested on. Pictures without
    labels all become training pictures: there is nothing to measure on them.

    Returns:
        Split → `given` or `made`.
    """
    given = {entry.split for entry in entries if entry.split is not None}
    pool = [entry for entry in entries if entry.split in (None, "train")]
    if labelled and pool:
        _deal(pool, given, config)
    for entry in entries:
        entry.split = entry.split or "train"
    used = {entry.split for entry in entries}
    return {split: "given" if split in given else "made" for split in SPLITS if split in used}


def _deal(pool: list[Entry], given: set[Split], config: ValidationConfig) -> None:
    val = 0.0 if "val" in given else config.val_fraction
    test = 0.0 if "test" in given else config.test_fraction
    labels = np.array([entry.label for entry in pool], dtype=np.int64)
    fractions: dict[Split, float] = {"train": 1.0 - val - test, "val": val, "test": test}
    dealt = stratified_split(labels, fractions, config.split_seed)
    for group in equal_groups(entry.look.sha256 for entry in pool):
        for position in group[1:]:
            dealt[position] = dealt[group[0]]
    for entry, split in zip(pool, dealt, strict=True):
        entry.split = split
