"""What is known about items: a table of their ids and any columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from libs.data.errors import DataError
from libs.data.events.reading import Table
from libs.data.manifest import ItemFeature
from libs.data.validation.problems import Problems
from libs.data.validation.watch import Watch

RESERVED = ("index", "id", "training_count")
_MOST_FEATURES = 64
_MOST_CATEGORIES = 10_000
_LONGEST_CATEGORY = 64
_LARGEST_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class ItemFeatures:
    """Features of items.

    Attributes:
        frame: `id` and a column a feature; ids are unique.
        features: the columns and what they are.
        report: JSON values only.
    """

    frame: pl.DataFrame
    features: list[ItemFeature]
    report: dict[str, Any]


def read_features(table: Table, known: pl.Series, problems: Problems, watch: Watch) -> ItemFeatures:
    """Read the features of the items that have a number; what is wrong becomes problems.

    Args:
        table: with a column of items.
        known: ids of the items that matter; other rows are counted and left out.
        problems: gets duplicates, NaN and missing values.
        watch: progress and stop.

    Raises:
        DataError: no rows, too many columns, a reserved name, a nested column, or more than 2 GB of text.
    """
    item = table.roles["item"]
    names = [name for name in table.columns if name != item]
    _check_names(table.name, names)
    wanted = known.implode()
    parts: list[pl.DataFrame] = []
    rows, size_bytes = 0, 0
    for _, block in table.blocks([item, *names], watch.tick):
        part = block.with_columns(pl.col(item).cast(pl.String).str.strip_chars()).filter(pl.col(item).is_in(wanted))
        rows += len(block)
        size_bytes += int(part.estimated_size())
        if size_bytes > _LARGEST_BYTES:
            raise DataError(f"{table.name!r} describes items by more than 2 GB; leave out what no model needs.")
        parts.append(part)
    if not rows:
        raise DataError(f"{table.name!r} has no rows; leave it out, or describe some items.")
    frame = pl.concat(parts)
    unique = frame.unique(item, keep="first", maintain_order=True)
    if twice := len(frame) - len(unique):
        problems.warn(
            "duplicate-item",
            f"{twice} rows of {table.name!r} describe an item again and are left out.",
            file=table.name,
        )
    typed = [_typed(unique[name], table.name, problems) for name in names]
    report = {"file": table.name, "rows": rows, "items": len(unique), "items_without": len(known) - len(unique)}
    if report["items_without"]:
        problems.warn(
            "item-without-features",
            f"{report['items_without']} of {len(known)} items with events have no row in {table.name!r}.",
            file=table.name,
        )
    columns = [unique[item].alias("id"), *(column for column, _ in typed)]
    features = [ItemFeature(name=column.name, type=kind) for column, kind in typed]
    return ItemFeatures(pl.DataFrame(columns), features, report)


def _check_names(file: str, names: Sequence[str]) -> None:
    if len(names) > _MOST_FEATURES:
        raise DataError(f"{file!r} has {len(names)} item features; at most {_MOST_FEATURES} are read.")
    for name in names:
        if name in RESERVED:
            raise DataError(f"{file!r} has a feature called {name!r}, which Octavo needs itself; rename the column.")


def _typed(column: pl.Series, file: str, problems: Problems) -> tuple[pl.Series, Literal["number", "category", "text"]]:
    """A column as numbers if all its values are, else as text; NaN and infinity become missing."""
    if column.dtype.is_nested() or column.dtype == pl.Binary:
        raise DataError(f"The item feature {column.name!r} holds {column.dtype}; expected text or numbers.")
    if column.dtype.is_numeric():
        return _finite(column, file, problems), "number"
    text = column.cast(pl.String).str.strip_chars()
    text = text.set(text == "", None)
    numbers = text.cast(pl.Float64, strict=False)
    if text.null_count() < len(text) and numbers.null_count() == text.null_count():
        return _finite(numbers, file, problems), "number"
    longest = text.str.len_chars().max()
    few = text.n_unique() <= min(_MOST_CATEGORIES, max(2, len(text) // 2))
    is_category = few and isinstance(longest, int) and longest <= _LONGEST_CATEGORY
    return text, "category" if is_category else "text"


def _finite(numbers: pl.Series, file: str, problems: Problems) -> pl.Series:
    values = numbers.cast(pl.Float64)
    odd = ~values.is_finite().fill_null(value=True)
    if count := int(odd.sum()):
        problems.warn(
            "not-finite",
            f"{count} items of {file!r} have NaN or infinity as {numbers.name!r}; these count as missing.",
            file=file,
            column=numbers.name,
        )
    return values.set(odd, None)
