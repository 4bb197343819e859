"""The items of a model: ids and their numbers, how often they were met, what is known about them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from libs.data.manifest import MOST_NEW_ITEMS, NEW_ITEMS_FILE, ItemFeature
from libs.registry.errors import nearest_names
from libs.serving.bundle import NextItemBundle
from libs.serving.errors import InputProblem, LoadError, RequestError

ITEMS_FILE = "items.parquet"
_DTYPES = {"number": pl.Float64, "category": pl.String, "text": pl.String}
_NEAREST_AMONG = 2_000

Numbers = NDArray[np.int64]


class Catalogue:
    """Item ids by number, from 1, and back.

    The table is a dict and a list that share their strings: 1 million ids of 13 characters take 104 MB, and 50
    look-ups 3 us. Sorted polars strings with a binary search take 54 MB and 160 us, sorted hashes 47 MB and 1,300 us
    (measured, CPython 3.11, polars 2.1); beside 256 MB of vectors the dict's speed is worth its memory.

    Attributes:
        training_count: events in training by number, [I + 1]; 0 for padding.
        features: one column a feature, rows by number, without padding.
    """

    def __init__(self, ids: list[str], training_count: Numbers, features: pl.DataFrame) -> None:
        self._ids = ["", *ids]
        self._numbers = {item: number for number, item in enumerate(ids, 1)}
        self.training_count = np.concatenate([np.zeros(1, np.int64), training_count])
        self.features = features

    def __len__(self) -> int:
        return len(self._numbers)

    def known(self, ids: Iterable[str]) -> list[int]:
        """The numbers of the ids that are known, in their order."""
        get = self._numbers.get
        return [number for number in map(get, ids) if number is not None]

    def number(self, item_id: str, pointer: str) -> int:
        """The number of one id.

        Raises:
            RequestError: it is unknown; `pointer` says where it stood.
        """
        number = self._numbers.get(item_id)
        if number is None:
            raise RequestError(InputProblem(pointer, f"no item {item_id[:64]!r} is known.{self._hint(item_id)}"))
        return number

    def id(self, number: int) -> str:
        """The id of an item."""
        return self._ids[number]

    def _hint(self, item_id: str) -> str:
        # Among the most frequent items: comparing with a million ids would hold a core for a minute.
        names = nearest_names(item_id[:64], self._ids[1 : _NEAREST_AMONG + 1])
        return f" Did you mean {' or '.join(repr(name) for name in names)}?" if names else ""


def read_catalogue(folder: Path, bundle: NextItemBundle) -> Catalogue:
    """Read `items.parquet`.

    Raises:
        LoadError: it cannot be read, or it does not hold the bundle's items and features.
    """
    try:
        frame = pl.read_parquet(folder / ITEMS_FILE)
        ids = frame["id"].cast(pl.String)
        order = frame["index"].cast(pl.Int64).to_numpy()
        counts = frame["training_count"].cast(pl.Int64).to_numpy()
        columns = [_column(frame, feature) for feature in bundle.item_features]
    except (OSError, pl.exceptions.PolarsError) as error:
        raise LoadError(f"{ITEMS_FILE} cannot be read: {error}") from error
    if not np.array_equal(order, np.arange(1, bundle.items + 1)):
        raise LoadError(f"{ITEMS_FILE} does not number its {len(order)} items from 1 to {bundle.items}")
    if ids.null_count() or ids.n_unique() != bundle.items:
        raise LoadError(f"{ITEMS_FILE} has missing or repeated ids")
    if (counts < 0).any():
        raise LoadError(f"{ITEMS_FILE} counts fewer than 0 events")
    return Catalogue(ids.to_list(), counts, pl.DataFrame(columns))


def read_new_items(folder: Path, bundle: NextItemBundle) -> pl.DataFrame:
    """`id` and features of the items that a bundle describes and the model does not know; no rows if there are none.

    Raises:
        LoadError: `new_items.parquet` is there and cannot be read, or holds too many items or one of them twice.
    """
    file = folder / NEW_ITEMS_FILE
    if not file.is_file():
        types = {feature.name: _DTYPES[feature.type] for feature in bundle.item_features}
        return pl.DataFrame(schema={"id": pl.String, **types})
    try:
        frame = pl.read_parquet(file)
        ids = frame["id"].cast(pl.String)
        columns = [_column(frame, feature) for feature in bundle.item_features]
    except (OSError, pl.exceptions.PolarsError) as error:
        raise LoadError(f"{NEW_ITEMS_FILE} cannot be read: {error}") from error
    if len(frame) > MOST_NEW_ITEMS or ids.null_count() or ids.n_unique() != len(frame):
        raise LoadError(f"{NEW_ITEMS_FILE} has more than {MOST_NEW_ITEMS:,} items, or missing or repeated ids")
    return pl.DataFrame([ids, *columns])


def _column(frame: pl.DataFrame, feature: ItemFeature) -> pl.Series:
    """A feature in the type that filters compare; NaN is missing."""
    column = frame[feature.name].cast(_DTYPES[feature.type])
    return column.fill_nan(None) if feature.type == "number" else column
