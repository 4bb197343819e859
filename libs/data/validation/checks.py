"""Is it enough, is it balanced, and is anything there twice?"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from libs.data.config import ValidationConfig
from libs.data.duplicates import SimilarPairs, equal_groups, similar_across_splits
from libs.data.images.index import SPLITS
from libs.data.validation.entries import Collected, Entry
from libs.data.validation.problems import Problems

LEAST_PICTURES = 10
_IMBALANCE = 10
_EXAMPLES = 20


def check_amount(collected: Collected, config: ValidationConfig, problems: Problems) -> None:
    """Broken share, number of pictures, number of classes, empty classes."""
    entries, classes = collected.entries, collected.classes
    total = len(entries) + collected.broken
    if collected.broken > config.max_broken_fraction * total:
        problems.error(
            "too-many-broken",
            f"{collected.broken} of {total} pictures cannot be read, more than the allowed "
            f"{config.max_broken_fraction:.0%}; repair them, or raise max_broken_fraction to leave them out.",
        )
    least = LEAST_PICTURES if classes else 1
    if len(entries) < least and (entries or not problems.fatal):
        problems.error(
            "too-few-pictures",
            f"The upload has {len(entries)} readable pictures; at least {least} are needed"
            + (", some dozens of each class to learn anything." if classes else "."),
        )
    if len(classes) == 1:
        problems.error(
            "one-class",
            f"All pictures are of one class, {classes[0]!r}; a classifier needs two or more. "
            "Choose the format `pictures` if these are pictures without labels.",
        )
    counts = Counter(entry.label for entry in entries)
    for label, name in enumerate(classes):
        if not counts[label]:
            problems.error("empty-class", f"The class {name!r} has no readable picture; add some or take it out.")


def check_balance(collected: Collected, problems: Problems) -> None:
    """Class sizes, and classes that a split lacks. Splits are decided by now."""
    held = Counter((entry.split, entry.label) for entry in collected.entries)
    used = [split for split in SPLITS if any(entry.split == split for entry in collected.entries)]
    if "train" not in used:
        problems.error("no-training-split", "No pictures are left for training; add a train folder.")
        return
    for label, name in enumerate(collected.classes):
        if not held["train", label]:
            problems.error("class-not-in-train", f"The class {name!r} has no training picture; move some there.")
        lacking = [split for split in used[1:] if not held[split, label]]
        if lacking:
            problems.warn("class-not-in-split", f"The class {name!r} has no picture in {' and '.join(lacking)}.")
    sizes = [held["train", label] for label in range(len(collected.classes))]
    if sizes and max(sizes) > _IMBALANCE * max(min(sizes), 1):
        problems.warn(
            "imbalance",
            f"The largest class has {max(sizes)} training pictures, the smallest {min(sizes)}; "
            "consider class_weights=balanced and judge by balanced accuracy.",
        )


def check_equal(entries: list[Entry], classes: list[str], problems: Problems) -> dict[str, Any]:
    """Equal pictures within and across splits, and equal pictures with different labels."""
    groups = equal_groups(entry.look.sha256 for entry in entries)
    across = [group for group in groups if len({entries[i].split for i in group}) > 1]
    conflicting = [group for group in groups if len({entries[i].label for i in group}) > 1]
    for group in across:
        places = ", ".join(f"{entries[i].name!r} ({entries[i].split})" for i in group[:_EXAMPLES])
        problems.warn(
            "duplicate-across-splits", f"Equal pictures in different splits: {places}.", **_place(entries, group)
        )
    for group in conflicting:
        places = ", ".join(f"{entries[i].name!r} is {_label(classes, entries[i])}" for i in group[:_EXAMPLES])
        problems.warn(
            "conflicting-labels", f"Equal pictures with different labels: {places}.", **_place(entries, group)
        )
    return {
        "groups": len(groups),
        "superfluous_pictures": sum(len(group) - 1 for group in groups),
        "groups_across_splits": len(across),
        "groups_with_conflicting_labels": len(conflicting),
        "examples": [[entries[i].name for i in group[:_EXAMPLES]] for group in groups[:_EXAMPLES]],
    }


def check_similar(entries: list[Entry], same: Callable[[int, int], bool], problems: Problems) -> dict[str, Any]:
    """Nearly equal pictures in different splits."""
    found: SimilarPairs = similar_across_splits(
        np.array([entry.look.fingerprint for entry in entries], dtype=np.uint64),
        np.array([SPLITS.index(entry.split or "train") for entry in entries], dtype=np.int8),
        [entry.look.sha256 for entry in entries],
        same,
    )
    for left, right in found.pairs:
        problems.warn(
            "near-duplicate-across-splits",
            f"{entries[left].name!r} ({entries[left].split}) and {entries[right].name!r} ({entries[right].split}) "
            "look the same; the figures of the second split may be too good.",
            **_place(entries, [left]),
        )
    examples = [[entries[i].name for i in pair] for pair in found.pairs[:_EXAMPLES]]
    return {"checked": True, "complete": found.complete, "pairs": len(found.pairs), "examples": examples}


def _label(classes: list[str], entry: Entry) -> str:
    return repr(classes[entry.label]) if entry.label >= 0 else "without label"


def _place(entries: list[Entry], group: list[int]) -> dict[str, Any]:
    """Where the first of a group is."""
    entry = entries[group[0]]
    if entry.file is not None:
        return {"file": entry.name}
    column, _, row = entry.name.rstrip("]").partition("[")
    return {"column": column, "row": int(row)}
