"""Events for measurements of speed and memory, written straight as the arrays of `libs.data.events.store`.

Popular items by a Zipf law, users alike but for their length; there is nothing to learn from them.
"""

from pathlib import Path

import numpy as np
import polars as pl

from libs.data.events.build import Built
from libs.data.events.dataset import EventData, open_event_data, write_event_data
from libs.data.events.splits import leave_last_out
from libs.data.events.store import open_events
from libs.data.events.vocabulary import Cold, Vocabulary
from libs.data.manifest import EventSplit

_ROWS_AT_A_TIME = 1 << 22
_BEGIN_US = 1_600_000_000_000_000


def generate_event_data(folder: Path, events: int, items: int, events_per_user: int = 20, seed: int = 0) -> EventData:
    """A data set of about `events` events; users have half to one and a half times `events_per_user` of them.

    Memory does not grow with the events: they are drawn in pieces, into files.
    """
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    half = events_per_user // 2
    lengths = random.integers(half, 3 * half + 1, max(1, events // events_per_user))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    np.save(folder / "offsets.npy", offsets)
    np.save(folder / "ends.npy", leave_last_out(offsets))
    _draw(folder, int(offsets[-1]), items, random)
    store = open_events(folder, items)
    users = pl.select(pl.format("u{}", pl.int_range(len(lengths)))).to_series().alias("id")
    ids = pl.select(pl.format("i{}", pl.int_range(1, items + 1))).to_series().alias("id")
    vocabulary = Vocabulary(np.arange(items + 1, dtype=np.int32), ids, store.training_counts()[1:])
    built = Built(store, users, vocabulary, EventSplit(protocol="leave-last-out"), {}, Cold(0, {}, {}))
    write_event_data(folder, built, None, {})
    return open_event_data(folder)


def _draw(folder: Path, rows: int, items: int, random: np.random.Generator) -> None:
    weights = np.cumsum(1 / np.arange(1, items + 1))
    drawn = np.lib.format.open_memmap(folder / "items.npy", "w+", np.int32, (rows,))
    times = np.lib.format.open_memmap(folder / "times.npy", "w+", np.int64, (rows,))
    for begin in range(0, rows, _ROWS_AT_A_TIME):
        end = min(begin + _ROWS_AT_A_TIME, rows)
        drawn[begin:end] = 1 + np.searchsorted(weights, random.random(end - begin) * weights[-1])
        times[begin:end] = _BEGIN_US + 1_000_000 * np.arange(begin, end)
    drawn.flush()
    times.flush()
