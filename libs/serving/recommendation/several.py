"""Features that hold several values in one text, `Action|Comedy`: which items have which.

A text is looked at once for all items that share it, as long as few differ; the texts are prepared when a feature is
first asked for so, as `|Action|Comedy|`, in which a value is found with its bars.
"""

import threading
from collections.abc import Sequence
from functools import reduce
from typing import Literal

import polars as pl

SEPARATOR = "|"
PartsOperator = Literal["has", "has_all", "has_not"]
_ITEMS_A_TEXT = 4
"""On average; with fewer every item's text is looked at, as finding the items of a text would cost more."""


def evenly_barred(text: pl.Expr) -> pl.Expr:
    """Texts without space around their bars."""
    return text.str.replace_all(r"\s*\|\s*", SEPARATOR)


class SeveralValues:
    """The features of a catalogue by their parts; may be used from any thread."""

    def __init__(self, frame: pl.DataFrame) -> None:
        """Of the text columns of `frame`."""
        self._frame = frame
        self._prepared: dict[str, pl.DataFrame] = {}
        self._lock = threading.Lock()

    def passing(self, name: str, operator: PartsOperator, values: Sequence[str]) -> pl.Expr:
        """Whether an item of the frame has any, all or none of the values; missing ones have none."""
        texts = self._texts(name)
        padded = pl.col("padded")
        barred = [f"{SEPARATOR}{value}{SEPARATOR}" for value in values]
        if operator == "has_all":
            each = (padded.str.contains(one, literal=True) for one in barred)
            found = reduce(pl.Expr.and_, each, padded.is_not_null())
        else:
            found = padded.str.contains_any(pl.Series(barred, dtype=pl.String).implode()).fill_null(value=False)
        if texts.height == self._frame.height:
            has = pl.lit(texts.select(found.alias("has"))["has"])
        else:
            has = pl.col(name).is_in(texts.filter(found)["text"].implode()).fill_null(value=False)
        return ~has if operator == "has_not" else has

    def _texts(self, name: str) -> pl.DataFrame:
        """Columns `text` and `padded`: of the different texts, or of every item in its order."""
        with self._lock:
            if name not in self._prepared:
                column, different = self._frame[name], self._frame[name].unique()
                few = different if _ITEMS_A_TEXT * len(different) <= len(column) else column
                padded = pl.lit(SEPARATOR) + evenly_barred(pl.col("text")) + SEPARATOR
                self._prepared[name] = pl.DataFrame({"text": few}).with_columns(padded.alias("padded"))
            return self._prepared[name]
