"""Which items training users had beside an item."""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from libs.serving.bundle import NextItemBundle
from libs.serving.errors import LoadError
from libs.serving.recommendation.catalogue import Numbers

NEIGHBOURS_FILE = "neighbours.npz"

Counts = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The items met beside an item by most users, most first; 0 where there are fewer.

    Attributes:
        items: [I + 1, k].
        users: how many users had both, [I + 1, k].
    """

    items: Counts
    users: Counts

    def users_together(self, ones: Numbers, others: Numbers) -> Counts:
        """Users who had both, as far as either row tells, [len(ones), len(others)]; 0 where neither does."""
        together = [np.maximum(self._counts(one, others), self._counts_in(others, one)) for one in ones]
        return np.array(together, np.int32).reshape(len(ones), len(others))

    def _counts(self, row: np.int64, wanted: Numbers) -> Counts:
        """What one row says about items, [len(wanted)]."""
        counts: Counts = np.where(self.items[row] == wanted[:, None], self.users[row], 0).max(axis=1, initial=0)
        return counts

    def _counts_in(self, rows: Numbers, wanted: np.int64) -> Counts:
        """What rows say about one item, [len(rows)]."""
        counts: Counts = np.where(self.items[rows] == wanted, self.users[rows], 0).max(axis=1, initial=0)
        return counts


def read_neighbours(folder: Path, bundle: NextItemBundle) -> Neighbours:
    """Read `neighbours.npz`.

    Raises:
        LoadError: it cannot be read, or names items that do not exist.
    """
    try:
        with np.load(folder / NEIGHBOURS_FILE, allow_pickle=False) as arrays:
            items, users = arrays["items"], arrays["users"]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise LoadError(f"{NEIGHBOURS_FILE} cannot be read: {error}") from error
    if items.dtype != np.int32 or users.dtype != np.int32 or items.shape != users.shape or items.ndim != 2:
        raise LoadError(f"{NEIGHBOURS_FILE} must hold `items` and `users`, int32 of one shape [I + 1, k]")
    if len(items) != bundle.items + 1 or (items.size and not 0 <= items.min() <= items.max() <= bundle.items):
        raise LoadError(f"{NEIGHBOURS_FILE} does not fit the {bundle.items} items of the bundle")
    return Neighbours(items, users)
