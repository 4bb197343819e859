"""What is known about items: a table of their ids and any columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from libs.data.errors import DataError
from libs.data.events.reading import Table, check_readable, text_of
from libs.data.manifest import ItemFeature
from libs.data.validation.problems import Problems
from libs.data.validation.watch import Watch

_ROW = "\0row"
"""Of the file, from 0; no column of a text file is called so."""
RESERVED = ("index", "id", "training_count", _ROW)
_MOST_FEATURES = 64
_MOST_CATEGORIES = 10_000
_LONGEST_CATEGORY = 64
_SHOWN_OF_WORD = 40
_BETWEEN_VALUES = "|"
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
        problems: gets duplicates, NaN, missing values and words among numbers.
        watch: progress and stop.

    Raises:
        DataError: no rows, too many columns, a reserved name, a column of lists or the like, or more than 2 GB of text.
    """
    item = table.roles["item"]
    names = [name for name in table.columns if name != item]
    _check_names(table.name, names)
    rows, frame = _rows_of_known(table, [item, *names], known, watch)
    if not rows:
        raise DataError(f"{table.name!r} has no rows; leave it out, or describe some items.")
    unique = frame.filter(frame[item].is_first_distinct())
    if twice := len(frame) - len(unique):
        problems.warn(
            "duplicate-item",
            f"{twice} rows of {table.name!r} describe an item again and are left out.",
            file=table.name,
        )
    places = unique[_ROW]
    typed = [_typed(unique[name], places, table, problems) for name in names]
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


def _rows_of_known(table: Table, columns: list[str], known: pl.Series, watch: Watch) -> tuple[int, pl.DataFrame]:
    """How many rows a table has, and those of known items with their place in the file as `_ROW`.

    Args:
        columns: the item's first.
    """
    wanted = known.implode()
    parts: list[pl.DataFrame] = []
    rows, size_bytes = 0, 0
    for first, block in table.blocks(columns, watch.tick):
        item = text_of(block[columns[0]])
        part = block.with_columns(item, pl.int_range(first, first + len(block)).alias(_ROW)).filter(item.is_in(wanted))
        rows += len(block)
        size_bytes += int(part.estimated_size())
        if size_bytes > _LARGEST_BYTES:
            raise DataError(f"{table.name!r} describes items by more than 2 GB; leave out what no model needs.")
        parts.append(part)
    return rows, pl.concat(parts) if parts else pl.DataFrame()


def _check_names(file: str, names: Sequence[str]) -> None:
    if len(names) > _MOST_FEATURES:
        raise DataError(f"{file!r} has {len(names)} item features; at most {_MOST_FEATURES} are read.")
    for name in names:
        if name in RESERVED:
            raise DataError(f"{file!r} has a feature called {name!r}, which Octavo needs itself; rename the column.")


def _typed(
    column: pl.Series, rows: pl.Series, table: Table, problems: Problems
) -> tuple[pl.Series, Literal["number", "category", "text"]]:
    """A column as numbers if all its values are, else as text; NaN and infinity become missing.

    Args:
        rows: of the file, where the values stand.
    """
    check_readable(column)
    if column.dtype.is_numeric():
        return _finite(column, rows, table, problems), "number"
    text = text_of(column)
    numbers = text.cast(pl.Float64, strict=False)
    if text.null_count() < len(text) and numbers.null_count() == text.null_count():
        return _finite(numbers, rows, table, problems), "number"
    longest = text.str.len_chars().max()
    few = text.n_unique() <= min(_MOST_CATEGORIES, max(2, len(text) // 2))
    is_category = few and isinstance(longest, int) and longest <= _LONGEST_CATEGORY
    kind: Literal["category", "text"] = "category" if is_category else "text"
    _warn_of_words(text, numbers, kind, rows, table, problems)
    return text, kind


def _warn_of_words(
    text: pl.Series, numbers: pl.Series, kind: str, rows: pl.Series, table: Table, problems: Problems
) -> None:
    """Say so where most values are numbers and the others make words of all of them; lists (`17|21`) are meant so."""
    words = text.is_not_null() & numbers.is_null()
    count, given = int(words.sum()), len(text) - text.null_count()
    if not 0 < count < given / 2 or text.str.contains(_BETWEEN_VALUES, literal=True).any():
        return
    at = words.arg_max()
    assert at is not None
    row, word = int(rows[at]), str(text[at])
    problems.warn(
        "words-among-numbers",
        f"The item feature {text.name!r} of {table.name!r} is read as {kind}: {count} of {given} values are no "
        f"numbers, the first in {table.place(row)} ({word[:_SHOWN_OF_WORD]!r}). Filters such as {text.name}<=10 are "
        "refused then. Write a number there, or leave the cell empty, which counts as missing.",
        file=table.name,
        row=row,
        column=text.name,
    )


def _finite(numbers: pl.Series, rows: pl.Series, table: Table, problems: Problems) -> pl.Series:
    values = numbers.cast(pl.Float64)
    odd = ~values.is_finite().fill_null(value=True)
    at = odd.arg_max()
    if at is not None and odd[at]:
        row = int(rows[at])
        problems.warn(
            "not-finite",
            f"{odd.sum()} items of {table.name!r} have NaN or infinity as {numbers.name!r}, the first in "
            f"{table.place(row)}; these count as missing.",
            file=table.name,
            row=row,
            column=numbers.name,
        )
    return values.set(odd, None)
