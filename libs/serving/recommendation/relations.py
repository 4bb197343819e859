"""What a model's graphs take besides a history: which of its items go together, as of the one who asks.

Made of the tables that go with the bundle (`libs.data.events.relations`), in serving as in training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from numpy.typing import NDArray

from libs.data.errors import DataError
from libs.data.events.relations import USERS_FILE, RelationTables, open_tables
from libs.serving.bundle import NextItemBundle, TensorSpec
from libs.serving.errors import LoadError
from libs.serving.recommendation.catalogue import Numbers
from libs.serving.recommendation.neighbours import Counts

HISTORY_INPUTS = ("items", "lengths")
_MADE = frozenset({"users", "factors", "shape", "kernel"})


@dataclass(frozen=True, slots=True)
class Relations:
    """The tables of a model, and whom it knows.

    Attributes:
        names: of the inputs that are made here.
        users: number of each training user by id, from 1.
    """

    tables: RelationTables
    names: Sequence[str]
    users: Mapping[str, int]

    def inputs_of(self, items: Numbers, users: Numbers) -> dict[str, NDArray[Any]]:
        """The further inputs for items [N, n], right-padded with 0, and users [N], 0 for unknown."""
        return self.tables.inputs_of(items, users, self.names)

    def users_together(self, ones: Numbers, others: Numbers) -> Counts:
        """Training users who had both, [len(ones), len(others)]."""
        return self.tables.cooccurrence.together(ones[:, None], others)


def read_relations(folder: Path, bundle: NextItemBundle) -> Relations | None:
    """The tables of a bundle whose graphs take more than histories; None for others.

    Raises:
        LoadError: an input is none that can be made, or the tables cannot be read or are another model's.
    """
    further = {spec.name: spec for spec in bundle.inputs if spec.name not in HISTORY_INPUTS}
    if not further:
        return None
    if unknown := further.keys() - _MADE:
        raise LoadError(f"the model takes {', '.join(sorted(unknown))}, which this version of Octavo cannot make")
    try:
        tables = open_tables(folder)
        ids = pl.read_parquet(folder / USERS_FILE, columns=["id"])["id"].cast(pl.String)
    except (DataError, OSError, pl.exceptions.PolarsError) as error:
        raise LoadError(f"the tables of items that go together cannot be read: {error}") from error
    _check_sizes(tables, further, bundle)
    return Relations(tables, list(further), {user: number for number, user in enumerate(ids.to_list(), 1)})


def _check_sizes(tables: RelationTables, further: Mapping[str, TensorSpec], bundle: NextItemBundle) -> None:
    items, columns = tables.factors.shape[1] - 1, tables.factors.shape[2]
    if items != bundle.items:
        raise LoadError(f"the tables of items that go together are of {items} items, the model of {bundle.items}")
    if "factors" in further and further["factors"].shape[-1] != columns:
        raise LoadError(f"the factors have {columns} columns; the model takes {further['factors'].shape[-1]}")
