"""Which arrays of an npz belong together."""

import re
from dataclasses import dataclass

from libs.data.manifest import Split
from libs.data.validation.layout import SPLIT_FOLDERS
from libs.data.validation.problems import Problems

_SPLIT = "train|val|valid|validation|test"
_NAME = re.compile(rf"(?:(?P<before>{_SPLIT})_)?(?P<role>x|images|y|labels)(?:_(?P<after>{_SPLIT}))?")
_CLASSES = ("classes", "class_names", "label_names")
EXPECTED = "x and y, or x_train, y_train, x_test, y_test (x_val, y_val), and optionally classes"


@dataclass(frozen=True, slots=True)
class ArrayGroup:
    """The arrays of one split: names of the pictures and of the labels, if there are any."""

    split: Split | None
    x: str
    y: str | None


def array_groups(names: list[str], problems: Problems) -> list[ArrayGroup]:
    """Pair pictures with labels, in the order train, val, test; notes what cannot be paired."""
    found: dict[tuple[Split | None, str], str] = {}
    for name in names:
        match = _NAME.fullmatch(name.lower())
        if match is None or (match["before"] and match["after"]):
            if name not in _CLASSES:
                problems.warn("unknown-array", f"array {name!r} is ignored; expected {EXPECTED}.", column=name)
            continue
        word = match["before"] or match["after"]
        key = (SPLIT_FOLDERS[word] if word else None, "x" if match["role"] in ("x", "images") else "y")
        if key in found:
            problems.error("array-twice", f"arrays {found[key]!r} and {name!r} mean the same; keep one.", column=name)
        found[key] = name
    return _paired(found, problems)


def classes_name(names: list[str]) -> str | None:
    """The array that holds the label names."""
    return next((name for name in _CLASSES if name in names), None)


def _paired(found: dict[tuple[Split | None, str], str], problems: Problems) -> list[ArrayGroup]:
    order: tuple[Split | None, ...] = (None, "train", "val", "test")
    groups = [ArrayGroup(split, found[split, "x"], found.get((split, "y"))) for split in order if (split, "x") in found]
    for (split, role), name in found.items():
        if role == "y" and (split, "x") not in found:
            problems.error("labels-without-pictures", f"array {name!r} has labels, but no pictures belong to it.")
    if not groups:
        problems.error("no-arrays", f"The npz has no pictures; expected the arrays {EXPECTED}.")
    if len(groups) > 1 and groups[0].split is None:
        problems.error("mixed-arrays", f"The npz has {groups[0].x!r} and also arrays of splits; keep one kind.")
    if len({group.y is None for group in groups}) > 1:
        without = ", ".join(group.x for group in groups if group.y is None)
        problems.error("labels-missing", f"The arrays {without} have no labels, others have.")
    return groups
