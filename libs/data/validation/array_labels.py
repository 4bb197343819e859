"""Labels and label names of an npz."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from libs.data.validation.array_names import ArrayGroup, classes_name
from libs.data.validation.npz import ArrayError, NpzFile
from libs.data.validation.problems import Problems

MOST_CLASSES = 100_000
_LONGEST_NAME = 200


def read_labels(
    npz: NpzFile, groups: list[ArrayGroup], counts: list[int], problems: Problems
) -> tuple[list[str], list[NDArray[np.int64]]]:
    """Read labels and label names.

    Args:
        npz: the file.
        groups: which arrays belong together.
        counts: pictures of each group.
        problems: gets what is wrong, with array and row.

    Returns:
        Label names (`0`, `1`, … where the npz gives none) and int64 labels of each group; a label that is wrong
        is -1. Without label arrays: no names, all -1.
    """
    raw = [_raw_labels(npz, group, count, problems) for group, count in zip(groups, counts, strict=True)]
    names = _given_classes(npz, problems)
    if not all(values is not None for values in raw) or not raw:
        return names or [], [np.full(count, -1, np.int64) for count in counts]
    labels = [values for values in raw if values is not None]
    if any(values.dtype.kind in "US" for values in labels):
        return _from_strings(groups, labels, names, problems)
    highest = max((int(values.max()) for values in labels if len(values)), default=-1)
    if names is None and highest >= MOST_CLASSES:
        problems.error("label-range", f"The highest label is {highest}; at most {MOST_CLASSES:,} classes are allowed.")
        return [], [np.full(count, -1, np.int64) for count in counts]
    known = names if names is not None else [str(k) for k in range(highest + 1)]
    return known, [_in_range(group, values, known, problems) for group, values in zip(groups, labels, strict=True)]


def _raw_labels(npz: NpzFile, group: ArrayGroup, count: int, problems: Problems) -> NDArray[Any] | None:
    if group.y is None:
        return None
    try:
        values = npz.load(npz.header(group.y))
    except ArrayError as error:
        problems.error(error.code, f"{error}.", column=group.y)
        return None
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        hint = "; one-hot labels: save y.argmax(axis=1)" if values.ndim == 2 else ""
        problems.error(
            "label-shape", f"array {group.y!r} has shape {values.shape}, expected [N]{hint}.", column=group.y
        )
        return None
    if len(values) != count:
        message = f"array {group.y!r} has {len(values)} labels, but {group.x!r} has {count} pictures."
        problems.error("label-count", message, column=group.y, row=min(len(values), count))
        return None
    if values.dtype.kind == "f":
        problems.error(
            "label-dtype", f"array {group.y!r} has dtype {values.dtype}; save y.astype('int64').", column=group.y
        )
        return None
    return values


def _given_classes(npz: NpzFile, problems: Problems) -> list[str] | None:
    name = classes_name(npz.names)
    if name is None:
        return None
    try:
        values = npz.load(npz.header(name))
        names = [value.decode() if isinstance(value, bytes) else str(value) for value in values.ravel().tolist()]
    except (ArrayError, UnicodeDecodeError) as error:
        problems.error("classes", f"The label names cannot be read: {error}.", column=name)
        return None
    for row, label in enumerate(names):
        if not label.strip() or len(label) > _LONGEST_NAME:
            problems.error(
                "classes", f"label name {label[:20]!r} is empty or longer than {_LONGEST_NAME}.", column=name, row=row
            )
    if len(set(names)) != len(names) or len(names) > MOST_CLASSES:
        problems.error("classes", f"array {name!r} must hold at most {MOST_CLASSES:,} different names.", column=name)
    return names


def _from_strings(
    groups: list[ArrayGroup], labels: list[NDArray[Any]], names: list[str] | None, problems: Problems
) -> tuple[list[str], list[NDArray[np.int64]]]:
    texts = [np.char.decode(v, "utf-8", "replace") if v.dtype.kind == "S" else v.astype(np.str_) for v in labels]
    known = names if names is not None else sorted({str(text) for values in texts for text in np.unique(values)})
    if len(known) > MOST_CLASSES:
        problems.error("label-range", f"There are {len(known):,} different labels, at most {MOST_CLASSES:,} may be.")
    position = {name: k for k, name in enumerate(known)}
    numbers = []
    for group, values in zip(groups, texts, strict=True):
        numbers.append(np.array([position.get(str(value), -1) for value in values], dtype=np.int64))
        for row in np.flatnonzero(numbers[-1] < 0):
            message = f"{group.y}[{row}] is {str(values[row])!r}, which is not among the classes."
            problems.error("label-range", message, column=group.y, row=int(row))
    return known, numbers


def _in_range(group: ArrayGroup, values: NDArray[Any], classes: list[str], problems: Problems) -> NDArray[np.int64]:
    wrong = (values < 0) | (values >= len(classes))
    for row in np.flatnonzero(wrong):
        message = f"{group.y}[{row}] is {values[row]}; labels must be 0 to {len(classes) - 1}."
        problems.error("label-range", message, column=group.y, row=int(row))
    return np.where(wrong, -1, values).astype(np.int64)
