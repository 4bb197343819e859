"""What is known about items: a table of their ids and any columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from libs.data.errors import DataError
from libs.data.events.reading import Table, check_readable, text_of
from libs.data.manifest import MOST_NEW_ITEMS, ItemFeature
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
_LARGEST_NEW_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class ItemFeatures:
    """Features of items.

    Attributes:
        frame: `id` and a column a feature; ids are unique.
        new: the same of items without a number, by id: they have no events, or all of theirs were filtered out. A model
            may be asked about them.
        features: the columns and what they are.
        report: JSON values only.
    """

    frame: pl.DataFrame
    new: pl.DataFrame
    features: list[ItemFeature]
    report: dict[str, Any]


def read_features(table: Table, known: pl.Series, problems: Problems, watch: Watch) -> ItemFeatures:
    """Read the features of the items that have a number; what is wrong with these becomes problems.

    Of other items, without events or with none that the filters left, the first rows are kept, up to 100,000 or about
    256 MB; what a column is they do not decide.

    Args:
        table: with a column of items.
        known: ids of the items that have a number.
        problems: gets duplicates, NaN, missing values and words among numbers.
        watch: progress and stop.

    Raises:
        DataError: no rows, too many columns, a reserved name, a column of lists or the like, or more than 2 GB of text.
    """
    item = table.roles["item"]
    names = [name for name in table.columns if name != item]
    _check_names(table.name, names)
    rows, frame, others = _rows(table, [item, *names], known, watch)
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
    new = _new(others, item, typed)
    counts = {"items": len(unique), "items_without": len(known) - len(unique), "new_items": len(new)}
    report = {"file": table.name, "rows": rows, **counts}
    if report["items_without"]:
        problems.warn(
            "item-without-features",
            f"{report['items_without']} of {len(known)} items that have a number have no row in {table.name!r}.",
            file=table.name,
        )
    columns = [unique[item].alias("id"), *(column for column, _ in typed)]
    features = [ItemFeature(name=column.name, type=kind) for column, kind in typed]
    return ItemFeatures(pl.DataFrame(columns), new, features, report)


def _rows(table: Table, columns: list[str], known: pl.Series, watch: Watch) -> tuple[int, pl.DataFrame, pl.DataFrame]:
    """How many rows a table has, those of known items with their place in the file as `_ROW`, and the first of others.

    Args:
        columns: the item's first.
    """
    wanted = known.implode()
    parts: list[pl.DataFrame] = []
    others: list[pl.DataFrame] = []
    rows, size_bytes, left, left_bytes = 0, 0, MOST_NEW_ITEMS, _LARGEST_NEW_BYTES
    for first, block in table.blocks(columns, watch.tick):
        item = text_of(block[columns[0]])
        numbered = block.with_columns(item, pl.int_range(first, first + len(block)).alias(_ROW))
        part = numbered.filter(item.is_in(wanted))
        if left > 0 and left_bytes > 0:
            other = numbered.filter(~item.is_in(wanted)).head(left)  # a row without an id is neither
            left, left_bytes = left - len(other), left_bytes - int(other.estimated_size())
            others.append(other)
        rows += len(block)
        size_bytes += int(part.estimated_size())
        if size_bytes > _LARGEST_BYTES:
            raise DataError(f"{table.name!r} describes items by more than 2 GB; leave out what no model needs.")
        parts.append(part)
    if not parts:
        return 0, pl.DataFrame(), pl.DataFrame()
    return rows, pl.concat(parts), pl.concat(others)


def _new(others: pl.DataFrame, item: str, typed: Sequence[tuple[pl.Series, str]]) -> pl.DataFrame:
    """The features of items without a number, each column read as those of the others are."""
    rows = others.filter(others[item].is_first_distinct())
    columns = []
    for known, kind in typed:
        column = rows[known.name]
        if kind == "number":
            numbers = (column if column.dtype.is_numeric() else text_of(column)).cast(pl.Float64, strict=False)
            columns.append(numbers.set(~numbers.is_finite().fill_null(value=True), None))
        else:
            columns.append(text_of(column))
    return pl.DataFrame([rows[item].alias("id"), *columns]).sort("id")


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
