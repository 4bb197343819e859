"""Ids of users and items as people know them, and the numbers models know them by."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from libs.data.events.store import Longs


@dataclass(frozen=True, slots=True)
class IdMap:
    """Looks ids up in `users.parquet` or `items.parquet`: each question scans the file, nothing is kept between them.

    For questions in batches; a service that answers single ones holds `all_ids` of the items itself.

    Attributes:
        path: of the file.
        first: the number of its first row.
    """

    path: Path
    first: int

    def numbers(self, ids: Sequence[str]) -> Longs:
        """The number of each id, -1 for ids that are not known; [len(ids)]."""
        asked = pl.Series("id", list(ids), pl.String)
        found = self._scan().filter(pl.col("id").is_in(asked.unique().implode())).select("id", "index").collect()
        joined = asked.to_frame().join(found, on="id", how="left", maintain_order="left")
        return joined["index"].cast(pl.Int64).fill_null(-1).to_numpy().astype(np.int64)

    def ids(self, numbers: Sequence[int] | Longs) -> list[str]:
        """The id of each number.

        Raises:
            IndexError: there is no such number.
        """
        asked = pl.Series("index", np.asarray(numbers, np.int64))
        found = self._scan().filter(pl.col("index").is_in(asked.unique().implode())).select("index", "id").collect()
        joined = asked.to_frame().join(
            found.with_columns(pl.col("index").cast(pl.Int64)), on="index", how="left", maintain_order="left"
        )
        if joined["id"].null_count():
            wrong = joined.filter(pl.col("id").is_null())["index"][0]
            raise IndexError(f"There is no number {wrong} in {self.path.name}.")
        return joined["id"].to_list()

    def all_ids(self) -> list[str]:
        """Every id by its number, without padding: for a model's own list of items."""
        return self._scan().select("id").collect()["id"].to_list()

    def features(self, columns: Sequence[str]) -> pl.DataFrame:
        """Some columns of all rows, in the order of numbers."""
        return self._scan().select(columns).collect()

    def _scan(self) -> pl.LazyFrame:
        return pl.scan_parquet(self.path, glob=False)
